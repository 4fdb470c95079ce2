"""The example of docs/costs.md: what plan.py --recommend prints, without records of this machine."""

import io
import os
from contextlib import redirect_stdout

from experiments.documentation.data import fenced
from experiments.planning import recommend

WORDS = "--recommend --task segment --image 512 --object 12px --memory 24 --hours 100 --gpu 4090"
NO_RUNS = os.devnull  # a results folder without runs


def answer() -> list[str]:
    """The lines of the answer."""
    text = io.StringIO()
    with redirect_stdout(text):
        recommend.main([*WORDS.split(), "--results", NO_RUNS])
    return fenced(text.getvalue().replace(NO_RUNS, "results").splitlines())
