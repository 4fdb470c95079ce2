"""What a finished run says of test images: in batches, on the run's device, what it would say of each alone."""

import json
from dataclasses import replace
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine import predict
from scaling.engine.predict import Place, draw_predictions, export_detections, place_of
from scaling.errors import ConfigError
from scaling.runs.record import WEIGHTS
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from tests.coco_folder import recipe_of, write_folder, write_split


def in_float64(task):
    """A task whose numbers do not hang on what else is in a batch but in the last bits of float64."""

    def made(*given):
        module = task(*given).double()
        module.backbone.register_forward_pre_hook(lambda _, given: (given[0].double(), *given[1:]))
        module.batches = []
        module.backbone.register_forward_hook(lambda _, given, __: module.batches.append(len(given[0])))
        tasks.append(module)
        return module

    tasks = []
    return made, tasks


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a run whose weights are as they were drawn."""
    monkeypatch.setattr(predict, "restore", lambda *given: None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / WEIGHTS).touch()
    return tmp_path / "run"


def place(images):
    return Place(torch.device("cpu"), "32-true", images, num_workers=0)


@pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
def test_detections_and_pictures_are_those_of_one_image_at_a_time(run, tmp_path, monkeypatch):
    paste = torch.nn.functional.grid_sample  # mmdet does it by a grid in float32
    monkeypatch.setattr(torch.nn.functional, "grid_sample", lambda m, grid, **how: paste(m, grid.to(m.dtype), **how))
    root = write_folder(tmp_path / "data")
    write_split(root, "val2017", ((40, 60), (33, 50), (40, 60), (70, 40), (40, 60)))
    config = edit(recipe_of(root), backbone="adventurer_pico", head_channels=8, pos_embed="sincos", patch_size=16)
    found = []
    for images in (1, 3):
        task, made = in_float64(DetectionTask)
        export_detections(config, run, task, place(images), lambda event: None)
        draw_predictions(config, run, 4, task, place(images), lambda event: None)
        assert [module.batches for module in made] == ([[1] * 5, [1] * 4] if images == 1 else [[3, 1, 1], [3, 1]])
        files = [run / f"detections_{kind}.json" for kind in ("bbox", "segm")]
        found.append([*(json.loads(path.read_text()) for path in files), shown(run)])
        for path in (*files, *(run / "predictions").iterdir()):
            path.unlink()
    (boxes, masks, pictures), (their_boxes, their_masks, their_pictures) = found
    assert len(boxes) > 100
    assert [one["image_id"] for one in boxes] == sorted(one["image_id"] for one in boxes)
    for one, other in zip(boxes, their_boxes, strict=True):
        assert one.pop("bbox") == pytest.approx(other.pop("bbox"), rel=1e-9, abs=1e-9)
        assert one == pytest.approx(other, rel=1e-9)
    assert [one["segmentation"] for one in masks] == [one["segmentation"] for one in their_masks]
    assert len(pictures) == 4
    assert pictures == their_pictures


def shown(run):
    return {path.name: np.asarray(Image.open(path)).tobytes() for path in (run / "predictions").iterdir()}


@pytest.mark.skipif(find_spec("mmseg") is None, reason="needs the extra dense")
def test_pictures_of_scenes_are_those_of_one_image_at_a_time(run):
    data = {"dataset": "shapes", "num_classes": 4, "num_train": 8, "num_val": 7, "global_batch_size": 8}
    config = make_config(task="segment", backbone="deit_nano", img_size=16, patch_size=8, epochs=1, **data)
    found = []
    for images in (1, 4):
        task, made = in_float64(SegmentationTask)
        draw_predictions(config, run, 6, task, place(images), lambda event: None)
        assert made[0].batches == ([1] * 6 if images == 1 else [4, 2])
        found.append(shown(run))
        for path in (run / "predictions").iterdir():
            path.unlink()
    assert len(found[0]) == 6
    assert found[0] == found[1]


class Asked(torch.nn.Linear):
    """A task that looks where it is and what it is asked about."""

    def __init__(self, *given):
        super().__init__(2, 2)

    def draw_predictions(self, batch):
        assert self.weight.device == batch.pixels.device == torch.device("meta")
        assert not torch.is_grad_enabled()
        assert not self.training
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")
        return [Image.new("RGB", (8, 8))] * len(batch.pixels)


class RunLockedError(torch.autocast):
    """Torch has no autocast for the device that stands in for a GPU here."""

    def __init__(self, kind, *how, **more):
        assert kind == "meta"
        super().__init__("cpu", *how, **more)


def test_images_and_weights_are_on_the_runs_device_and_in_its_precision(run, tiny, monkeypatch):
    monkeypatch.setattr("torch.autocast", RunLockedError)
    draw_predictions(tiny, run, 5, Asked, Place(torch.device("meta"), "bf16-mixed", 2, 0), lambda event: None)
    assert len(shown(run)) == 5
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(("images", "wanted"), [(6, "--micro-batch-size 3"), (1, "--accelerator cpu")])
def test_too_many_images_for_the_memory_are_told_with_what_would_do(run, tiny, monkeypatch, images, wanted):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Asked, "draw_predictions", full)
    with pytest.raises(ConfigError, match=rf"{images} image\(s\) at a time are too many .* {wanted}$"):
        draw_predictions(tiny, run, 6, Asked, place(images), lambda event: None)


def test_the_place_is_the_runs_first_device_its_precision_and_its_micro_batch(tiny, monkeypatch):
    record = SimpleNamespace(machine={"micro_batch": 12})
    here = RuntimeConfig(accelerator="cpu", num_workers=3)
    assert place_of(tiny, here, record) == (torch.device("cpu"), "32-true", 12, 3)
    assert place_of(tiny, replace(here, micro_batch_size=2), record).images == 2
    monkeypatch.setattr("scaling.engine.predict.uses_cuda", lambda accelerator: True)
    monkeypatch.setattr("scaling.engine.trainer.uses_cuda", lambda accelerator: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    assert place_of(tiny, replace(here, devices="2,3"), record)[:2] == (torch.device("cuda", 2), "bf16-mixed")
    assert place_of(tiny, replace(here, devices="4"), record).device == torch.device("cuda", 0)
