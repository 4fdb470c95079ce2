"""Predictions of a finished run on test images, from the weights that it left: pictures, and detections as COCO
results. Images pass through the model as in the run's evaluation: in its batches, on its kind of device, in its
precision.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from PIL import Image

from scaling.config.experiment import ExperimentConfig
from scaling.config.runtime import RuntimeConfig
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule, default_workers
from scaling.data.detection import DetectionDataset
from scaling.engine.environment import uses_cuda
from scaling.engine.trainer import precision_of
from scaling.engine.warm_start import restore
from scaling.errors import ConfigError
from scaling.runs.atomic_files import write_atomically
from scaling.runs.events import Event, Report
from scaling.runs.record import PREDICTIONS, WEIGHTS, RunRecord
from scaling.tasks.base import TaskModule
from scaling.tasks.detection import DetectionTask
from scaling.tasks.visualize import write_pictures

Predicted = TypeVar("Predicted")
DETECTIONS = {kind: f"detections_{kind}.json" for kind in ("bbox", "segm")}  # files there, by COCO's kinds


class Place(NamedTuple):
    """Device, precision and batch size of predictions."""

    device: torch.device
    precision: str  # Lightning's: 32-true, or bf16-mixed
    images: int  # at a time
    num_workers: int  # processes that read and decode


def place_of(config: ExperimentConfig, settings: RuntimeConfig, record: RunRecord) -> Place:
    """The Place of a finished run's predictions: the first device, with the micro-batch of the run."""
    first = int(settings.devices.split(",")[0]) if "," in settings.devices else 0
    device = torch.device("cuda", first) if uses_cuda(settings.accelerator) else torch.device("cpu")
    images = settings.micro_batch_size or int(cast(int, record.machine.get("micro_batch", 1)))
    num_workers = default_workers() if settings.num_workers is None else settings.num_workers
    return Place(device, precision_of(config.precision, settings.accelerator), images, num_workers)


def draw_predictions(
    config: ExperimentConfig, folder: Path, count: int, task: type[TaskModule], place: Place, report: Report
) -> None:
    """Write folder/predictions/000.png and on: the first `count` test images, or all, with their labels and the
    predictions of the reported weights. Does nothing where they exist. Raises ConfigError where the weights are
    gone."""
    there = len(list((folder / PREDICTIONS).glob("*.png")))
    if there >= count:
        return
    data, module = _restored(config, folder, task, place)
    pictures = chain.from_iterable(_predicted(module.draw_predictions, data, count, place))
    paths = write_pictures(pictures, folder / PREDICTIONS)
    report(Event("note", text=f"{len(paths)} predictions of {folder.name}: {folder / PREDICTIONS}"))


def logged_pictures(
    config: ExperimentConfig, folder: Path, count: int, task: type[TaskModule], place: Place
) -> list[Image.Image]:
    """What loggers are given of the first `count` test images, with the predictions of the reported weights. Raises
    ConfigError where the weights are gone."""
    data, module = _restored(config, folder, task, place)
    return list(chain.from_iterable(_predicted(module.logged_pictures, data, count, place)))


def export_detections(
    config: ExperimentConfig, folder: Path, task: type[TaskModule], place: Place, report: Report
) -> None:
    """Write folder/detections_bbox.json and detections_segm.json, COCO results of boxes and of masks: the detections
    of the reported weights on all test images, with the data's own ids of images and categories. Does nothing where
    both exist. Raises ConfigError where the weights are gone."""
    paths = {kind: folder / name for kind, name in DETECTIONS.items()}
    if all(path.exists() for path in paths.values()):
        return
    data, module = _restored(config, folder, task, place)
    detector, test_set = cast(DetectionTask, module), cast(DetectionDataset, data.test_set)
    found: dict[str, list[dict[str, object]]] = {kind: [] for kind in paths}
    results = partial(detector.to_coco_results, categories=test_set.categories)
    for of_batch in _predicted(results, data, len(test_set), place):
        for kind, listed in of_batch.items():
            found[kind] += listed
    for kind, path in paths.items():
        write_atomically(path, json.dumps(found[kind], separators=(",", ":")) + "\n")
    there = " and ".join(map(str, paths.values()))
    report(Event("note", text=f"{len(found['bbox'])} detections of {folder.name}: {there}"))


def _restored(
    config: ExperimentConfig, folder: Path, task: type[TaskModule], place: Place
) -> tuple[ImageDataModule, TaskModule]:
    """The run's data, and its task with the reported weights."""
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f"run {folder.name} has no {WEIGHTS} any more: no predictions without it")
    data = ImageDataModule(config, place.num_workers, folder.parent)
    data.setup()
    module = task(config, data.total_steps, data.names)
    restore(module, config, folder)
    return data, module.to(place.device).eval()


def _predicted(
    predict: Callable[[Batch], Predicted], data: ImageDataModule, count: int, place: Place
) -> Iterator[Predicted]:
    """Results of a task's method on the first test images that can be read, batch by batch. Raises ConfigError where
    the device's memory is too small."""
    mixed = place.precision == "bf16-mixed"
    for batch in data.first_test_images(count, place.images):
        if not len(batch):
            continue
        try:
            with torch.no_grad(), torch.autocast(place.device.type, torch.bfloat16, mixed, cache_enabled=False):
                found = predict(move_data_to_device(batch, place.device))
        except torch.OutOfMemoryError as e:  # the run may have been made on another device
            fewer = (
                f"fewer: --micro-batch-size {place.images // 2}" if place.images > 1 else "another: --accelerator cpu"
            )
            raise ConfigError(
                f"{place.images} image(s) at a time are too many for this device's memory; take {fewer}"
            ) from e
        yield found
