"""Exported detections: COCO's own tools give by them, on the data's own file, the numbers of the run's record."""

import contextlib
import io
import json
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from scaling.config.edit import edit
from scaling.data import detection
from scaling.data.open_sets import open_sets
from scaling.engine import predict as predictions
from scaling.engine.predict import Place, export_detections
from scaling.rng import SampleKey
from scaling.runs.record import WEIGHTS
from scaling.tasks.coco_metric import AveragePrecision, decoded
from scaling.tasks.detection import DetectionTask
from tests.coco_folder import CATEGORIES, json_path, recipe_of, run_lengths, write_folder, write_split

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
PLACE = Place(torch.device("cpu"), "32-true", images=3, num_workers=0)
TOOLS = [("pycocotools.coco", "pycocotools.cocoeval", "COCOeval"), ("faster_coco_eval",) * 2 + ("COCOeval_faster",)]
SIZES = ((200, 260), (260, 200), (200, 260), (180, 180), (200, 260), (200, 260), (200, 260))


def crosses(rng, size, n):
    """Masks of two bars each, as long as their boxes and of three quarters of their area."""
    masks = np.zeros((n, *size), np.uint8)
    for mask_HW, side in zip(masks, rng.choice([12, 36, 60, 100, 130, 150], n), strict=True):
        height, width = (min(int(side * rng.uniform(0.9, 1.1)), full - 8) for full in size)
        y, x = (int(rng.integers(0, full - long)) for full, long in zip(size, (height, width), strict=True))
        mask_HW[y + height // 4 : y + 3 * height // 4, x : x + width] = 1
        mask_HW[y : y + height, x + width // 4 : x + 3 * width // 4] = 1
    return masks


def write(root):
    """Test images with small, medium and large objects, a crowd among them."""
    write_folder(root)
    write_split(root, "val2017", SIZES, empty=range(len(SIZES)))
    data, rng = json.loads(json_path(root, "val2017").read_text()), np.random.default_rng(0)
    for image in data["images"]:
        for number, mask_hw in enumerate(crosses(rng, (image["height"], image["width"]), 6)):
            run = coco_mask.encode(np.asfortranarray(mask_hw))
            about = {"id": len(data["annotations"]) + 1, "image_id": image["id"], "iscrowd": int(number == 5)}
            region = run_lengths(mask_hw, text=number != 5)
            box, area = [float(side) for side in coco_mask.toBbox(run)], float(coco_mask.area(run))
            category = CATEGORIES[int(rng.integers(3))]["id"]
            data["annotations"].append(
                {**about, "category_id": category, "bbox": box, "area": area, "segmentation": region}
            )
    json_path(root, "val2017").write_text(json.dumps(data))
    return root


def guess(truth):
    """The objects of an image, moved by a pixel or some, with others of no object, in no order of certainty."""
    rng, size = np.random.default_rng(truth.image_id), tuple(truth.size)
    moved = [
        np.roll(mask_HW, rng.integers(-4, 5, 2), (0, 1)) if rng.random() < 0.8 else mask_HW
        for mask_HW in decoded(truth.masks, size).numpy()
    ]
    masks = np.concatenate([np.stack(moved), crosses(rng, size, 4)])
    boxes = [coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask_HW))) for mask_HW in masks]
    corner, side = np.stack(boxes)[:, :2], np.stack(boxes)[:, 2:]
    boxes_N4 = np.concatenate([corner, corner + side], 1) + rng.normal(0, 0.4, (len(masks), 4))
    return {
        "boxes": torch.tensor(boxes_N4, dtype=torch.float32),
        "scores": torch.tensor(rng.integers(1, 20, len(masks)) / 20, dtype=torch.float32),  # some are equal
        "labels": torch.tensor(np.concatenate([truth.label_n, rng.integers(0, 3, 4)])),
        "masks": torch.from_numpy(masks).bool(),
    }


class Guess(DetectionTask):
    def predict(self, batch):
        return [guess(truth) for truth in batch.targets.truth]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The data's folder, the run's, and the average precisions that go into its record."""
    root, run = (tmp_path_factory.mktemp(name) for name in ("data", "run"))
    config = edit(recipe_of(write(root)), head_channels=8, backbone="adventurer_pico", pos_embed="sincos")
    (run / WEIGHTS).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "restore", lambda *given: None)
        export_detections(config, run, Guess, PLACE, lambda event: None)
    sets = open_sets(detection.DetectionSource(), config)
    metric = AveragePrecision(sets.names)
    for number in range(len(sets.test)):
        (truth,) = sets.test.get_batch([SampleKey(0, number)]).targets.truth
        metric.update(guess(truth), truth)
    return root, run, metric.compute()


def counted(tool, root, path, kind):
    """COCO's summary of a file of results: AP, AP50, AP75, small, medium, large."""
    if find_spec(tool[0].split(".")[0]) is None:
        pytest.skip("needs faster-coco-eval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = import_module(tool[0]).COCO(str(json_path(root, "val2017")))
        counting = getattr(import_module(tool[1]), tool[2])(truth, truth.loadRes(str(path)), kind)
        counting.evaluate()
        counting.accumulate()
        counting.summarize()
    return [float(value) for value in counting.stats[:6]]


@pytest.mark.parametrize("tool", TOOLS, ids=["pycocotools", "faster-coco-eval"])
@pytest.mark.parametrize(("ours", "kind"), [("box", "bbox"), ("mask", "segm")])
def test_cocos_tools_give_the_records_numbers(exported, tool, ours, kind):
    root, run, record = exported
    keys = [f"{ours}_ap{what}" for what in ("", "50", "75", "s", "m", "l")]
    wanted = [record[key] / 100 for key in keys]
    assert counted(tool, root, run / f"detections_{kind}.json", kind) == pytest.approx(wanted, abs=1e-6)
    assert all(0.05 < value < 0.95 for value in wanted)


def test_boxes_and_masks_in_one_file_would_give_other_numbers_of_small_and_large(exported, tmp_path):
    """Why there are two: the case here can tell."""
    root, run, record = exported
    kinds = [json.loads((run / f"detections_{kind}.json").read_text()) for kind in ("bbox", "segm")]
    path = tmp_path / "both.json"
    path.write_text(json.dumps([{**box, **mask} for box, mask in zip(*kinds, strict=True)]))
    got = counted(TOOLS[0], root, path, "segm")
    assert got[0] == pytest.approx(record["mask_ap"] / 100, abs=1e-6)
    wanted = [record[f"mask_ap{size}"] / 100 for size in "sml"]
    assert max(abs(a - b) for a, b in zip(got[3:], wanted, strict=True)) > 0.01


def test_each_file_has_its_kind_alone_under_the_datas_own_numbers(exported):
    _root, run, _record = exported
    boxes, masks = (json.loads((run / f"detections_{kind}.json").read_text()) for kind in ("bbox", "segm"))
    about = {"image_id", "category_id", "score"}
    assert {frozenset(one) for one in boxes} == {frozenset(about | {"bbox"})}
    assert {frozenset(one) for one in masks} == {frozenset(about | {"segmentation"})}
    assert [{k: one[k] for k in about} for one in boxes] == [{k: one[k] for k in about} for one in masks]
    assert {one["image_id"] for one in boxes} == {100 + 3 * i for i in range(len(SIZES))}
    assert {one["category_id"] for one in boxes} == {c["id"] for c in CATEGORIES}
