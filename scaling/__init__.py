"""Patch-size scaling laws: models, data, training and records.

    import scaling
    trained = scaling.load("results/RUN")  # the model of a finished run (scaling/inference)

Importing this package imports no torch; `load` does, when it is called.
"""

import sys
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from scaling.inference import Trained


def load(source: str | PathLike[str], device: "str | torch.device" = "cpu") -> "Trained":
    """A trained model in eval mode, with the preprocessing of its images and the names of its classes. source: the
    folder of a finished run, its weights.pt, a .safetensors file of experiments/export.py, or a Hub repository (its
    folder, or hf:OWNER/NAME). Raises ConfigError."""
    from scaling.inference import load as load_trained

    return load_trained(source, device)


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
