"""Patch-size scaling laws: models, data, training and records."""

import sys
from pathlib import Path


def _refuse_another_checkout() -> None:
    """End a program of another checkout than this one, with a line: an environment into which one checkout is installed
    would run that checkout's code for the programs of every other, such as a git worktree, and nobody would notice."""
    here, program = Path(__file__).resolve().parents[1], getattr(sys.modules["__main__"], "__file__", None)
    if program is None:
        return
    folder = Path(program).resolve().parent
    checkout = folder.parent
    if folder.name in ("experiments", "analysis", "notebooks") and checkout != here and (checkout / "scaling").is_dir():
        print(
            f"error: {program} would run the code of {here}, which is installed in this environment; "
            f"`make setup` in {checkout} makes one for it, PYTHONPATH={checkout} takes its code",
            file=sys.stderr,
        )
        raise SystemExit(2)


_refuse_another_checkout()
