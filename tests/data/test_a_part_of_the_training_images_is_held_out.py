"""val_split: training images that are evaluated on the way and never trained on; the test images are for the end."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.paper.comparison import paper_model
from experiments.planning import cost_estimate
from experiments.recipes import imagenet
from scaling.config.canonical import canonical
from scaling.config.edit import edit, make_config
from scaling.config.flat import to_flat
from scaling.costs.hardware import CARDS
from scaling.data.held_out import is_held_out, parted
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from scaling.runs.record import RunRecord
from tests.coco_folder import CATEGORIES, write_split
from tests.data.test_segmentation_data import blocks, write
from tests.pictures import prepared

SEGMENT = {"task": "segment", "img_size": 16, "global_batch_size": 2, "backbone": "adventurer_nano"}
DETECT = {
    "task": "detect",
    "head": "cascade_mask_rcnn",
    "img_size": 32,
    "global_batch_size": 1,
    "backbone": "adventurer_nano",
}


@settings(max_examples=30, deadline=None)
@given(st.sets(st.text(max_size=8), max_size=30), st.floats(0, 0.999), st.floats(0, 0.999))
def test_an_image_is_held_out_by_its_name_alone(names, share, other):
    low, high = sorted((share, other))
    for name in names:
        assert is_held_out(name, share) == is_held_out(name, share)
        assert is_held_out(name, high) or not is_held_out(name, low)
        assert not is_held_out(name, 0.0)


def test_of_many_images_the_share_is_held_out():
    names = [f"cat/{number}.jpg" for number in range(10_000)]
    for share in (0.01, 0.1, 0.5):
        kept, out = parted(names, np.arange(10_000), share)
        assert abs(len(out) / 10_000 - share) < 4 * (share / 10_000) ** 0.5
        assert np.array_equal(np.sort(np.concatenate([kept, out])), np.arange(10_000))


def test_these_images_are_held_out_today_and_for_ever():
    """Pinned: another hash would mix what runs that people have were trained on with what they were judged by."""
    assert [n for n in range(40) if is_held_out(str(n), 0.3)] == PINNED


PINNED = [0, 1, 9, 13, 14, 15, 17, 18, 19, 21, 24, 26, 34, 37, 38]


@pytest.mark.parametrize(("share", "said"), [(0.999, "all of the 6 .* smaller"), (1e-9, "none of the 6 .* larger")])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(share, said):
    with pytest.raises(ConfigError, match=said):
        parted([str(n) for n in range(6)], np.arange(6), share)


def noise(name):
    """A picture as no other."""
    pixels = np.random.default_rng(list(name.encode())).integers(0, 256, (20, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def roads(tmp_path):
    """A recipe of every road to images, with a third of the training images held out."""
    for folder in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "pets" / folder).mkdir(parents=True)
        for n in range(12 if folder.startswith("train") else 2):
            (tmp_path / "pets" / folder / f"{n}.png").write_bytes(noise(f"{folder}{n}"))
    for n in range(12):
        write(tmp_path / "scenes", "train", f"n{n}", blocks(n))
    write(tmp_path / "scenes", "test", "t", blocks(99))
    write_split(tmp_path / "boxes", "train", ((40, 60),) * 12)
    write_split(tmp_path / "boxes", "val", ((40, 60),))
    pets = make_config(
        dataset="folder",
        data_root=str(tmp_path / "pets"),
        img_size=16,
        patch_size=8,
        num_classes=2,
        global_batch_size=4,
        val_split=0.3,
    )
    embedded = {
        "dataset": "shapes",
        "num_train": 24,
        "num_val": 3,
        "num_classes": 3,
        "val_split": 0.3,
        "patch_size": 8,
    }
    return {
        "files": pets,
        "files on disk": edit(pets, augment="resized_crop"),
        "scenes": make_config(
            **SEGMENT, dataset="folder", data_root=str(tmp_path / "scenes"), patch_size=8, num_classes=4, val_split=0.3
        ),
        "objects": make_config(
            **DETECT,
            dataset="folder",
            data_root=str(tmp_path / "boxes"),
            patch_size=8,
            num_classes=len(CATEGORIES),
            val_split=0.3,
        ),
        "shapes": make_config(**embedded, img_size=16, global_batch_size=4),
        "shapes segmented": make_config(**{**embedded, **SEGMENT, "num_classes": 4}),
        "shapes detected": make_config(**{**embedded, **DETECT}),
    }


def seen(data, of):
    """The pixels of all images of a set, as they are evaluated or, without augmentation, trained on."""
    batches = [data.get_batch([SampleKey(0, i)]) for i in range(len(of))]
    return [batch.pixels.numpy().tobytes() for batch in batches]


def test_what_is_held_out_is_not_trained_on_and_evaluated_on_the_way_whatever_the_road(roads):
    for road, config in roads.items():
        data, whole = prepared(config), prepared(edit(config, val_split=0.0))
        assert whole.held_out is None, road
        n = len(whole.train_set)
        assert 0 < len(data.held_out) < n, road
        assert len(data.train_set) + len(data.held_out) == n, road
        assert f"{len(data.held_out)} of {n} training images are held out" in data.lines[-1], road
        on_the_way = [image for batch in data.val_dataloader() for image in batch.pixels.numpy()]
        assert len(on_the_way) == len(data.held_out), road
        tested = sum(len(batch.pixels) for batch in data.test_dataloader())
        assert tested == len(whole.test_set) == len(data.test_set), road
        if config.task.augment == "none" and config.task.kind != "detect":
            parts = seen(data.train_set, data.train_set), seen(data.held_out, data.held_out)
            assert not set(parts[0]) & set(parts[1]), road
            if config.task.kind == "classify":
                assert sorted([*parts[0], *parts[1]]) == sorted(seen(whole.train_set, whole.train_set)), road


def test_the_same_images_are_held_out_for_every_patch_and_seed_and_when_others_are_added(roads, tmp_path):
    config = roads["files"]
    held = seen((data := prepared(config)).held_out, data.held_out)
    other = prepared(edit(config, patch_size=4, seed=7))
    assert seen(other.held_out, other.held_out) == held
    for n in range(30, 36):
        (tmp_path / "pets" / "train" / "cat" / f"{n}.png").write_bytes(noise(str(n)))
    more = prepared(config)
    assert set(held) <= set(seen(more.held_out, more.held_out))


def test_unreadable_images_that_are_held_out_are_counted_apart(roads, tmp_path):
    config = edit(roads["files"], on_bad_image="skip")
    bad = next(name for n in range(12) if is_held_out(name := f"cat/{n}.png", 0.3))
    (tmp_path / "pets" / "train" / bad).write_bytes(b"no image")
    assert prepared(config).skipped == {"skipped_val": 1.0}


def test_a_class_that_is_held_out_altogether_is_named(roads, tmp_path):
    """Keras #10458 and its likes split without looking at what is left."""
    train = tmp_path / "pets" / "train"
    (train / "owl").mkdir()
    (tmp_path / "pets" / "test" / "owl").mkdir()
    (tmp_path / "pets" / "test" / "owl" / "0.png").write_bytes(noise("owl"))
    out = next(n for n in range(99) if is_held_out(f"owl/{n}.png", 0.3))
    (train / "owl" / f"{out}.png").write_bytes(noise("owl too"))
    config = edit(roads["files"], num_classes=3)
    named = "1 of 3 classes have no training images: 2 (owl)"
    assert named in prepared(config).lines
    assert named not in prepared(edit(config, val_split=0.0)).lines
    kept = next(n for n in range(99) if not is_held_out(f"owl/{n}.png", 0.3))
    (train / "owl" / f"{kept}.png").write_bytes(noise("owl three"))
    assert named not in prepared(config).lines


def test_a_class_of_pixels_that_is_held_out_altogether_is_named(roads, tmp_path):
    config = roads["scenes"]
    out = [n for n in range(12) if is_held_out(f"n{n}.png", 0.3)]
    for n in range(12):
        write(tmp_path / "scenes", "train", f"n{n}", blocks(n) if n in out else np.minimum(blocks(n), 2))
    assert any(line.startswith("1 of 4 classes ") for line in prepared(config).lines)
    assert not any(line.startswith("1 of 4 classes ") for line in prepared(edit(config, val_split=0.0)).lines)


def test_a_run_is_judged_on_the_way_by_what_is_held_out_and_at_the_end_by_the_test_images(trained, tiny):
    config = edit(tiny, val_split=0.3, val_interval=1)
    folder = trained(config) / config.run_id
    record = RunRecord.load(folder)
    rows = list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))
    on_the_way = [row for row in rows if row["val_loss"]]
    assert [bool(row["test_loss"]) for row in on_the_way] == [False, False, True]
    assert float(rows[-1]["val_loss"]) == record.metrics["val_loss"] != record.test_loss == float(rows[-1]["test_loss"])
    assert {"val_loss", "val_top1", "val_top5"} <= set(record.metrics)
    said = (folder / "log.txt").read_text()
    assert said.count("held-out loss") == 2
    assert " test loss" not in said


def test_without_it_runs_have_the_names_and_the_curves_that_they_had(trained, tiny):
    assert "val_split" not in canonical(tiny)
    assert edit(tiny, val_split=0.1).run_id != tiny.run_id
    header = (trained(tiny) / tiny.run_id / "curve.csv").read_text().splitlines()[0]
    assert header.startswith("step,epoch,lr,train_loss,test_loss,seconds,test_images,test_loss_se,top1,grad_norm,")
    for wrong in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="val_split"):
            edit(tiny, val_split=wrong)


def test_a_run_on_a_part_of_imagenet_stands_beside_no_published_number():
    whole = imagenet.deit_base(8, 128)
    assert paper_model({**to_flat(whole), "metrics": {}}) == "DeiT-Base"
    assert paper_model(to_flat(edit(whole, val_split=0.05))) == ""


def test_a_plan_counts_the_images_that_are_evaluated_on_the_way(tiny):
    on = cost_estimate.Device(CARDS["a100"])
    plain, held = (edit(tiny, epochs=10, num_train=1000, val_split=share) for share in (0.0, 0.2))
    hours = {}
    for every in (0, 1):
        for run in (plain, held):
            hours[every, run.data.val_split] = cost_estimate.forecast(edit(run, val_interval=every or None), on).hours
    # of an image, forward and backward
    a_pass = cost_estimate.forecast(edit(plain, epochs=1, num_val=3), on).hours / 1001  # of an image, forward and back
    assert hours[0, 0.0] - hours[0, 0.2] == pytest.approx(a_pass * (10 * 200 - 200 / 3), rel=1e-6)
    assert hours[1, 0.2] - hours[0, 0.2] == pytest.approx(a_pass * 9 * 200 / 3, rel=1e-6)
    assert hours[1, 0.0] - hours[0, 0.0] == pytest.approx(a_pass * 9 * (tiny.data.num_val or 0) / 3, rel=1e-6)
