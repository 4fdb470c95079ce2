"""What the server of tests/served.py imports beside the programs, once instead of in every command that asks for it."""

from contextlib import suppress

import analysis.report.law_report
import analysis.report.sweep_table
import analysis.studies.study_report  # noqa: F401
from scaling.errors import ConfigError
from scaling.heads.openmmlab import ready

with suppress(ConfigError):  # the extra dense is not installed
    ready()
