"""COCO's average precision: the numbers of pycocotools on COCO's own files, however images are shared out."""

import multiprocessing
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import distributed

from scaling.config.edit import make_config
from scaling.data.batch import GroundTruth
from scaling.errors import ConfigError
from scaling.tasks import coco_metric
from scaling.tasks.coco_metric import AveragePrecision
from scaling.tasks.detection import DetectionTask

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")


def made(images=12, seed=0, ids=None):
    """Images with random objects, crowds among them, and detections that are near them, or nowhere."""
    from pycocotools import mask as coco

    rng, sets = np.random.default_rng(seed), []
    y, x = np.mgrid[:120, :150]

    def masks(boxes):
        centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        return [((x - c[0]) / h[0]) ** 2 + ((y - c[1]) / h[1]) ** 2 <= 1 for c, h in zip(centre, half, strict=True)]

    def boxes(n):
        corner = rng.integers(0, 70, (n, 2))
        return np.concatenate([corner, corner + rng.integers(4, 50 if rng.random() < 0.5 else 20, (n, 2))], 1)

    for number in range(images):
        n = int(rng.integers(0, 6)) if number else 0
        own, labels = boxes(n).astype(float), rng.integers(0, 4, n)
        moved = own + rng.integers(-3, 4, (n, 4)) * (rng.random((n, 1)) < 0.7)
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        said = np.concatenate([moved, boxes(5)]).clip(0, 120)
        guess = np.concatenate([labels, rng.integers(0, 4, 5)])
        own_masks, said_masks = masks(own), masks(said)
        truth = GroundTruth(
            image_id=number if ids is None else ids[number],
            size=(120, 150),
            boxes_n4=torch.tensor(own, dtype=torch.float32).view(-1, 4),
            label_n=torch.tensor(labels),
            crowd_n=torch.tensor(rng.random(n) < 0.15),
            area_n=torch.tensor([float(m.sum()) for m in own_masks]),
            masks=[coco.encode(np.asfortranarray(m, np.uint8)) for m in own_masks],
        )
        found = {
            "boxes": torch.tensor(said, dtype=torch.float32),
            "scores": torch.tensor(rng.integers(1, 20, len(said)) / 20, dtype=torch.float32),  # some are equal
            "labels": torch.tensor(guess),
            "masks": torch.from_numpy(np.stack(said_masks)),
        }
        sets.append((found, truth))
    return sets


def counted(sets, names="abcde"):
    metric = AveragePrecision(names)
    for found, truth in sets:
        metric.update(found, truth)
    values = metric.compute()
    metric.reset()
    assert metric.compute() == {}
    return values


def by_pycocotools(sets, kind):
    """COCOeval on COCO's own files; AP by class, then its twelve numbers."""
    from pycocotools import mask as coco
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data = {"images": [], "annotations": [], "categories": [{"id": k + 1} for k in range(4)], "info": {}}
    results = []
    for found, truth in sets:
        data["images"].append({"id": truth.image_id + 1, "height": 120, "width": 150})
        for n, (x0, y0, x1, y1) in enumerate(truth.boxes_n4.tolist()):
            data["annotations"].append(
                {
                    "id": len(data["annotations"]) + 1,
                    "image_id": truth.image_id + 1,
                    "category_id": int(truth.label_n[n]) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": float(truth.area_n[n]),
                    "iscrowd": int(truth.crowd_n[n]),
                    "segmentation": truth.masks[n],
                }
            )
        for n, (x0, y0, x1, y1) in enumerate(found["boxes"].tolist()):
            one = {"image_id": truth.image_id + 1, "category_id": int(found["labels"][n]) + 1}
            run = coco.encode(np.asfortranarray(found["masks"][n].numpy(), np.uint8))
            box = {"bbox": [x0, y0, x1 - x0, y1 - y0]} if kind == "bbox" else {"segmentation": run}
            results.append({**one, **box, "score": found["scores"][n].item()})
    truths = COCO()
    truths.dataset = data
    truths.createIndex()
    counting = COCOeval(truths, truths.loadRes(results), kind)
    counting.evaluate()
    counting.accumulate()
    counting.summarize()
    return [counting.eval["precision"][:, :, k, 0, -1].mean() for k in range(4)], counting.stats


@pytest.mark.parametrize("seed", [0, 1])
def test_average_precisions_are_those_of_pycocotools_on_cocos_own_files(seed, capsys):
    sets = made(seed=seed)
    values = counted(sets)
    for kind, theirs in (("box", "bbox"), ("mask", "segm")):
        of_class, stats = by_pycocotools(sets, theirs)
        wanted = dict(zip(["", "50", "75", "s", "m", "l"], stats[:6], strict=True))
        wanted |= {f"_{name}": ap for name, ap in zip("abcd", of_class, strict=True)}
        got = {name.removeprefix(f"{kind}_ap"): value for name, value in values.items() if name.startswith(kind)}
        assert got == pytest.approx({name: 100 * ap for name, ap in wanted.items() if ap >= 0}, abs=1e-4)
        assert 10 < got[""] < 95
    assert any(truth.crowd_n.any() for _, truth in sets)


def test_what_is_just_as_it_is_has_a_precision_of_100_and_a_crowd_is_not_held_against_it():
    sets = made()
    perfect = []
    for _, truth in sets:
        masks = coco_metric.decoded(truth.masks, truth.size).bool()
        kept = ~truth.crowd_n
        found = {"boxes": truth.boxes_n4[kept], "labels": truth.label_n[kept], "masks": masks[kept]}
        perfect.append(({**found, "scores": torch.ones(int(kept.sum()))}, truth))
    values = counted(perfect)
    assert {round(value, 4) for value in values.values()} == {100.0}
    nothing = [({name: value[:0] for name, value in found.items()}, truth) for found, truth in perfect]
    assert set(counted(nothing).values()) == {0.0}


def test_an_overlap_of_exactly_a_threshold_counts_as_in_coco():
    """torchmetrics' own thresholds are float32, and its 0.6 is above 0.6."""
    mask = torch.zeros(1, 120, 150, dtype=torch.bool)
    mask[0, :10, :10] = True
    from pycocotools import mask as coco

    runs = [coco.encode(np.asfortranarray(mask[0].numpy(), np.uint8))]
    box, one = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0])
    truth = GroundTruth(0, (120, 150), box, one, one.bool(), torch.tensor([100.0]), runs)
    half = mask.clone()
    half[0, 6:] = False
    box = torch.tensor([[0.0, 0, 10, 6]])
    values = counted([({"boxes": box, "scores": torch.ones(1), "labels": torch.tensor([0]), "masks": half}, truth)])
    assert values["box_ap"] == pytest.approx(30)  # 0.5, 0.55 and 0.6 of ten
    assert values["mask_ap"] == pytest.approx(30)


@pytest.mark.parametrize("form", ["compressed", "text", "numbers"])
def test_run_lengths_are_read_in_any_of_cocos_forms(form):
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2:4] = 1
    from pycocotools import mask as coco

    packed = coco.encode(np.asfortranarray(mask))
    counts = {"compressed": packed["counts"], "text": packed["counts"].decode(), "numbers": [9, 2, 2, 2, 5]}[form]
    assert torch.equal(coco_metric.decoded([{"size": [4, 5], "counts": counts}], (4, 5))[0], torch.from_numpy(mask))
    assert coco_metric.decoded([], (4, 5)).shape == (0, 4, 5)


def test_the_order_of_images_makes_no_difference():
    sets = made()
    assert counted(sets[::-1]) == counted(sets)


def count_part(rank, meet, sets, said):
    """In a process of its own: every second image, and what the metric says of all."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    metric = AveragePrecision("abcde")
    for found, truth in sets[rank::2]:
        metric.update(found, truth)
    said.send(metric.compute())
    distributed.destroy_process_group()


def test_processes_with_unlike_numbers_of_images_count_together(tmp_path):
    """gloo on the CPU; one of them has an image more, in which torchmetrics would wait for the other. Forked: torch
    need not be loaded anew."""
    sets, fork = made(7), multiprocessing.get_context("fork")
    heard, said = zip(*(fork.Pipe(duplex=False) for _ in range(2)), strict=True)
    started = [fork.Process(target=count_part, args=(n, tmp_path / "meet", sets, said[n])) for n in range(2)]
    for process in started:
        process.start()
    try:
        assert all(pipe.poll(120) for pipe in heard)
        assert [pipe.recv() for pipe in heard] == [counted(sets)] * 2
    finally:
        for process in started:
            process.join(30)
            process.kill()


@pytest.mark.skipif(find_spec("faster_coco_eval") is None, reason="needs faster-coco-eval")
def test_faster_coco_eval_gives_the_same_numbers(monkeypatch):
    fast = counted(made())
    monkeypatch.setattr(coco_metric, "FASTER", coco_metric.COCO)
    assert fast == pytest.approx(counted(made()), abs=1e-6)


def test_without_pycocotools_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(coco_metric, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="EXTRAS=dev,dense"):
        DetectionTask.check_available(make_config())
