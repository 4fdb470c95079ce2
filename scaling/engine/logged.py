"""What a logger is given besides numbers: pictures, tables and files. And its end."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image


def log_pictures(loggers: Iterable[Logger], name: str, pictures: Sequence[Image.Image], step: int) -> None:
    """Pictures under one name, numbered from 0 where there are several."""
    names = [name] if len(pictures) == 1 else [f"{name}/{number}" for number in range(len(pictures))]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for called, picture in zip(names, pictures, strict=True):
                pixels_HWC = np.asarray(picture.convert("RGB"))
                logger.experiment.add_image(called, pixels_HWC, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, list(pictures))
        elif isinstance(logger, MLFlowLogger):
            for called, picture in zip(names, pictures, strict=True):
                logger.experiment.log_image(logger.run_id, picture, artifact_file=f"{called}.png")


def log_files(loggers: Iterable[Logger], paths: Sequence[Path]) -> None:
    """The files of a law report: PNG as pictures, Markdown as text, and with W&B and MLflow all as files."""
    pictures = {path.stem: _picture(path) for path in paths if path.suffix == ".png"}
    texts = {path.stem: path.read_text() for path in paths if path.suffix == ".md"}
    for logger in loggers:
        for name, picture in pictures.items():
            log_pictures([logger], name, [picture], 0)
        if isinstance(logger, TensorBoardLogger):
            for name, text in texts.items():
                logger.experiment.add_text(name, text, 0)
        elif isinstance(logger, WandbLogger):
            for path in paths:
                logger.experiment.save(str(path), base_path=str(path.parent), policy="now")
        elif isinstance(logger, MLFlowLogger):
            for path in paths:
                logger.experiment.log_artifact(logger.run_id, str(path))


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as file:
        return file.convert("RGB")


def close(loggers: Iterable[Logger], success: bool) -> None:
    """End them: what is pending is written, and W&B's process and threads end. success: whether the run finished."""
    for logger in loggers:
        logger.finalize("success" if success else "failed")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=0 if success else 1)
