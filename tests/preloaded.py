"""What the server of tests/served.py imports beside the programs, once instead of in every command that asks for it."""

from contextlib import suppress

import analysis.fit_laws
import analysis.studies
import analysis.sweep_tables  # noqa: F401
from scaling.heads.openmmlab import ready
from scaling.recipe import BadInput

with suppress(BadInput):  # the extra dense is not installed
    ready()
