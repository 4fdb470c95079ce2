"""What a finished run says of test images: files of detections that COCO's own tools read, and pictures."""

import json
from dataclasses import replace

import pytest

from scaling.config.edit import make_config
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.runs.record import WEIGHTS

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of four steps, and its folder."""
    config = make_config(
        task="detect",
        head="cascade_mask_rcnn",
        head_channels=8,
        dataset="shapes",
        backbone="adventurer_pico",
        img_size=64,
        patch_size=16,
        num_classes=3,
        max_objects=3,
        epochs=1,
        global_batch_size=4,
        num_train=16,
        num_val=6,
        pos_embed="sincos",
    )
    results = tmp_path_factory.mktemp("results")
    record = train(config, results, replace(CPU, save_predictions=2, export_coco=True))
    return config, results, record


def test_detections_are_read_by_pycocotools_and_name_the_datas_categories(finished):
    from pycocotools.coco import COCO

    config, results, _record = finished
    path = results / config.run_id / "detections_bbox.json"
    found = json.loads(path.read_text())
    images = [{"id": n, "width": 64, "height": 64} for n in sorted({f["image_id"] for f in found})]
    truth = COCO()
    truth.dataset = {"images": images, "annotations": [], "categories": [{"id": n} for n in range(1, 13)], "info": {}}
    truth.createIndex()
    loaded = truth.loadRes(str(path))
    assert len(loaded.getAnnIds()) == len(found) > 0
    masks = truth.loadRes(str(path.with_name("detections_segm.json")))
    for mask, one in zip(masks.loadAnns(masks.getAnnIds()[:50]), loaded.loadAnns(loaded.getAnnIds()[:50]), strict=True):
        assert 1 <= one["category_id"] == mask["category_id"] <= 12
        assert masks.annToMask(mask).shape == (64, 64)
        x, y, width, height = one["bbox"]
        assert 0 <= x <= x + width <= 64
        assert 0 <= y <= y + height <= 64


def test_pictures_are_drawn_and_nothing_is_done_twice(finished):
    config, results, _record = finished
    folder = results / config.run_id
    assert sorted(p.name for p in (folder / "predictions").iterdir()) == ["000.png", "001.png"]
    before = {p: p.stat().st_mtime_ns for p in (folder / "detections_segm.json", folder / "predictions" / "000.png")}
    train(config, results, replace(CPU, save_predictions=1, export_coco=True))
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_without_its_weights_a_run_says_why_there_are_no_predictions(finished, tmp_path):
    config, _results, record = finished
    folder = tmp_path / config.run_id
    folder.mkdir()
    record.save(folder)
    with pytest.raises(ConfigError, match=rf"has no {WEIGHTS} any more: no predictions without it"):
        train(config, tmp_path, replace(CPU, export_coco=True))


def test_the_record_has_losses_of_boxes_and_masks_whose_sum_is_the_runs(finished):
    _, _, record = finished
    parts = record.metrics["test_box_loss"] + record.metrics["test_mask_loss"]
    assert record.test_loss == pytest.approx(parts)
    assert {"box_ap", "mask_ap", "box_ap50", "mask_ap75"} <= set(record.metrics)
    assert record.tokens == 16


def test_an_image_of_too_many_tokens_is_refused_with_their_number_before_anything_is_written(call, tmp_path):
    words = ["--patch", "2", "--weights", "", "--data-root", tmp_path, "--results", tmp_path / "results"]
    done = call("experiments/run.py", "coco.adventurer_tiny", *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "patch 2 makes 268,800 tokens of an image of 800 x 1333 px, more than 262,144" in line
    assert not (tmp_path / "results").exists()
