"""What is read of COCO's JSON, and everything that can be wrong with it."""

import contextlib
import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from scaling.config.edit import edit
from scaling.data import detection
from scaling.data.open_sets import open_sets
from scaling.data.sampler import subset
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from tests.coco_folder import (
    TESTED,
    changing,
    filled,
    json_path,
    objects,
    recipe_of,
    rectangle,
    run_lengths,
    write_folder,
    write_split,
)
from tests.pictures import prepared


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path)


@pytest.fixture
def config(root):
    return recipe_of(root)


@pytest.fixture
def change(root):
    return changing(root)


def truths(config):
    return [t for batch in prepared(config).test_dataloader() for t in batch.targets.truth]


def test_the_truth_is_what_pycocotools_reads_of_the_same_file(root, config):
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(json_path(root, "val2017")))
    found = truths(config)
    assert [t.image_id for t in found] == [100, 103, 106]
    for t, size in zip(found, TESTED, strict=True):
        wanted = theirs.loadAnns(theirs.getAnnIds(t.image_id))
        assert t.size == size
        assert len(t.masks) == len(wanted) == (0 if t.image_id == 103 else 4)
        assert t.boxes_n4.shape == (len(wanted), 4)
        assert t.area_n.tolist() == [a["area"] for a in wanted]
        assert t.label_n.tolist() == [[2, 7, 90].index(a["category_id"]) for a in wanted]
        assert t.crowd_n.tolist() == [bool(a["iscrowd"]) for a in wanted]
        for box, mask, a in zip(t.boxes_n4.tolist(), t.masks, wanted, strict=True):
            x, y, width, height = a["bbox"]
            assert box == pytest.approx([x, y, x + width, y + height], abs=1e-5)
            rle = theirs.annToRLE(a)
            text = rle["counts"].encode() if isinstance(rle["counts"], str) else rle["counts"]
            assert mask == {"size": list(size), "counts": text}
            assert coco_mask.area(mask) == a["area"]
            assert np.array_equal(coco_mask.decode(mask), theirs.annToMask(a))


def test_changing_a_batchs_truth_changes_nothing_that_comes_later(config):
    test = prepared(config).test_set
    first = test.get_batch([SampleKey(0, 0)]).targets.truth[0]
    kept = {name: value.clone() for name, value in first._asdict().items() if isinstance(value, torch.Tensor)}
    for name in kept:
        getattr(first, name).zero_()
    second = test.get_batch([SampleKey(0, 0)]).targets.truth[0]
    assert all(torch.equal(getattr(second, name), value) for name, value in kept.items())


def test_ids_with_gaps_become_classes_in_their_order_and_are_kept_for_export(config):
    data = prepared(config)
    assert data.names == ("cat", "cow", "brush")
    assert data.train_set.categories == data.test_set.categories == (2, 7, 90)
    assert prepared(edit(config, class_names=("a", "b", "c"))).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("names", "folders", "taken"),
    [
        (("train", "val"), ("images/train", "images/val"), "val"),
        (("train", "val", "test"), ("train", "val", "test"), "test"),
        (("training", "validation"), ("images", "images"), "validation"),
        (("train2014", "val2014"), ("", ""), "val2014"),
        (("train_small", "valid-1"), ("train_small", "valid-1"), "valid-1"),
    ],
)
def test_images_lie_in_the_folder_that_the_json_is_called_after_or_at_their_names(tmp_path, names, folders, taken):
    for name, folder in zip(names, folders, strict=True):
        write_split(tmp_path, name, ((20, 30),) * (2 if name == taken else 3), folder=folder)
    data = prepared(edit(recipe_of(tmp_path), global_batch_size=1))
    assert (len(data.train_set), len(data.test_set)) == (3, 2)


def test_a_file_name_may_hold_folders(root, config, change):
    (root / "val2017").rename(root / "pictures")
    change(lambda d: [i.update(file_name=f"pictures/{i['file_name']}") for i in d["images"]])
    assert len(prepared(config).test_set) == 3


def test_missing_annotations_are_named_with_what_is_expected_and_two_of_a_kind_are_too_many(root, config):
    with pytest.raises(ConfigError, match="set data_root"):
        prepared(edit(config, data_root=None))
    with pytest.raises(ConfigError, match="hfds/cats has no boxes: use COCO's layout, --dataset folder"):
        prepared(edit(config, dataset="hfds/cats"))
    json_path(root, "val2017").rename(json_path(root, "value"))
    with pytest.raises(
        ConfigError, match=r"no test annotations: annotations/instances_NAME\.json .* test or val or valid"
    ):
        prepared(config)
    for name in ("val2014", "val2017"):
        json_path(root, name).write_text("{}")
    with pytest.raises(ConfigError, match=r"instances_val2014\.json and instances_val2017\.json are both for test"):
        prepared(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [{"id": 1', r"val2017\.json is not valid JSON \(.*\): it may be incomplete"),
        ("", r"val2017\.json is not valid JSON"),
        ("\xff\xfe", r"val2017\.json is not valid JSON"),
        ("[" * 100000, r"val2017\.json is not valid JSON \(.+\)"),
        ("[]", r"val2017\.json has no list of images"),
        ('{"images": [], "annotations": {}}', r"val2017\.json has no list of annotations"),
        ('{"images": [], "annotations": [], "categories": [3]}', r"val2017\.json has no list of categories"),
        ('{"images": [], "annotations": [], "categories": []}', r"val2017\.json lists no images"),
    ],
)
def test_a_damaged_json_is_refused(root, config, text, message):
    json_path(root, "val2017").write_text(text, "latin-1")
    with pytest.raises(ConfigError, match=message) as e:
        prepared(config)
    assert "\n" not in str(e.value)


def test_train_and_test_have_the_same_categories_and_the_recipe_as_many_classes(config, change):
    with pytest.raises(
        ConfigError, match=r"train2017\.json has 3 categories, the recipe 80 classes; set --num-classes"
    ):
        prepared(edit(config, num_classes=80))
    change(lambda d: d["categories"][0].update(name="ox"))
    with pytest.raises(ConfigError, match=r"different categories; only in train: 7 cow; only in test: 7 ox$"):
        prepared(config)
    change(lambda d: d["categories"].append({"id": 1, "name": "new"}), "train2017")
    with pytest.raises(ConfigError, match=r"only in train: 1 new, 7 cow; only in test: 7 ox"):
        prepared(config)


def annotation(data, number=1):
    """One of the first test image's: 1 polygons, 2 a text of run lengths, 3 a list of them, 4 the crowd."""
    return next(a for a in data["annotations"] if a["id"] == number)


WRONG = {
    "image id": (
        lambda d: [a.update(image_id=99) for a in d["annotations"][:3]],
        r"val2017\.json does not list the image_id of 3 of its 8 annotations, the first 99",
    ),
    "no image id": (lambda d: annotation(d).pop("image_id"), r"the image_id of 1 of its 8 annotations, the first None"),
    "category": (
        lambda d: annotation(d).update(category_id=3),
        r"val2017\.json does not list the category_id of 1 of its 8 annotations, the first 3",
    ),
    "image twice": (lambda d: d["images"].append(d["images"][0]), r"val2017\.json lists image 100 twice"),
    "category twice": (lambda d: d["categories"].append({"id": 7}), r"val2017\.json lists category 7 twice"),
    "no file name": (lambda d: d["images"][1].pop("file_name"), r"val2017\.json: image 103 has no file_name"),
    "no image's id": (lambda d: d["images"][1].pop("id"), r"image number 1 has the id None: an integer"),
    "no category's id": (lambda d: d["categories"][1].update(id="x"), r"category has the id 'x': an integer"),
    "no height": (lambda d: d["images"][1].update(height=0), r"image 103 has the height 0: an integer from 1"),
    "no box": (lambda d: annotation(d).pop("bbox"), r"annotation 1 has the bbox None: four numbers"),
    "three numbers": (lambda d: annotation(d).update(bbox=[1, 2, 3]), r"annotation 1 has the bbox \[1, 2, 3\]"),
    "infinite": (lambda d: annotation(d).update(bbox=[1, 2, 3, float("inf")]), r"annotation 1 has the bbox .*inf"),
    "mask of another size": (
        lambda d: annotation(d, 2)["segmentation"].update(size=[60, 40]),
        r"val2017\.json: annotation 2 has a mask of the size \[60, 40\], its image has \[40, 60\] px",
    ),
    "mask without size": (
        lambda d: annotation(d, 3)["segmentation"].pop("size"),
        r"annotation 3 has a mask of the size",
    ),
    "odd polygon": (
        lambda d: annotation(d)["segmentation"][0].pop(),
        r"annotation 1 has a segmentation that is neither",
    ),
    "text": (lambda d: annotation(d).update(segmentation="here"), r"annotation 1 has a segmentation that is neither"),
    "polygon of words": (
        lambda d: annotation(d).update(segmentation=[["a"] * 6]),
        r"val2017\.json: annotation 1 has a mask that cannot be read \(a polygon's corners must be numbers",
    ),
    "polygon far away": (
        lambda d: annotation(d).update(segmentation=[[0, 0, 1e9, 0, 1e9, 1e9]]),
        r"annotation 1 has a mask that cannot be read \(a polygon's corners must be numbers below 1048576",
    ),
    "too long": (
        lambda d: annotation(d, 3)["segmentation"]["counts"].append(7),
        r"annotation 3 has a mask that cannot be read \(2407 pixels, its image has 2400\)",
    ),
    "much too long": (
        lambda d: annotation(d, 3)["segmentation"].update(counts=[2**31 - 1] * 50),
        r"annotation 3 has a mask that cannot be read \(\d+ pixels, its image has 2400\)",
    ),
    "too short": (
        lambda d: annotation(d, 3)["segmentation"].update(counts=[3, 4]),
        r"annotation 3 has a mask that cannot be read \(7 pixels, its image has 2400\)",
    ),
    "negative": (
        lambda d: annotation(d, 3)["segmentation"].update(counts=[-1, 2401]),
        "annotation 3 .* integers from 0",
    ),
    "text too short": (
        lambda d: annotation(d, 2)["segmentation"].update(counts="35="),
        r"annotation 2 has a mask that cannot be read \(21 pixels, its image has 2400\)",
    ),
    "text that is none": (
        lambda d: annotation(d, 2)["segmentation"].update(counts="zä"),
        r"annotation 2 has a mask that cannot be read \(invalid run lengths\)",
    ),
    "no run lengths": (
        lambda d: annotation(d, 2)["segmentation"].pop("counts"),
        r"annotation 2 has a mask that cannot",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_annotations_stops_a_run_before_it_begins(config, change, what):
    how, message = WRONG[what]
    change(how)
    with pytest.raises(ConfigError, match=message) as e:
        prepared(edit(config, on_bad_image="skip"))
    assert "\n" not in str(e.value)
    assert "val2017.json" in str(e.value)


def test_images_that_are_listed_and_not_there_are_counted_and_the_first_is_named(root, config):
    for name in ("1.png", "2.png"):
        (root / "val2017" / name).unlink()
    match = r"val2017\.json lists 3 images, 2 of which are not there, the first 103: \S*val2017.1\.png is expected"
    with pytest.raises(ConfigError, match=match):
        prepared(edit(config, on_bad_image="skip"))
    (root / "val2017" / "0.png").unlink()
    with pytest.raises(ConfigError, match=r"3 of which are not there, the first 100: \S*val2017.0\.png is expected"):
        prepared(config)


@pytest.mark.parametrize("disk", [False, True])
def test_an_image_of_another_size_than_the_json_says_is_refused(root, config, monkeypatch, disk):
    if disk:
        monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1000)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 60)).save(root / "val2017" / "1.png")
    match = r"image \S*val2017.1\.png has 40x60 px, \S*instances_val2017\.json lists 60x40 px$"
    with pytest.raises(ConfigError, match=match):
        prepared(edit(config, on_bad_image="skip"))
    Image.new("RGB", (60, 40)).save(root / "val2017" / "1.png", exif=exif)
    with pytest.raises(
        ConfigError, match=r"40x60 px, \S* lists 60x40 px \(stored as 60x40 px with an EXIF orientation"
    ):
        prepared(config)


def test_boxes_outside_are_clipped_or_dropped_and_counted_in_the_record(config, change):
    boxes = {1: [-5, 3, 10, 10], 2: [50, 30, 10.4, 10.4], 3: [70, 3, 5, 5], 4: [3, 3, 0, 5]}

    def spoil(data):
        for number, box in boxes.items():
            annotation(data, number).update(bbox=box)

    change(spoil)
    assert prepared(config).skipped == {"boxes_clipped_test": 1.0, "boxes_dropped_test": 2.0}
    change(spoil, "train2017")
    data = prepared(config)
    assert data.skipped == {
        "boxes_clipped_train": 1.0,
        "boxes_dropped_train": 2.0,
        "boxes_clipped_test": 1.0,
        "boxes_dropped_test": 2.0,
    }
    truth = data.test_set.get_batch([SampleKey(0, 0)]).targets.truth[0]
    # Less than a pixel outside is rounding: counted as nothing, and evaluated as it is.
    assert torch.allclose(truth.boxes_n4, torch.tensor([[0, 3, 5, 13], [50, 30, 60.4, 40.4]]))
    assert data.train_set.get_batch([SampleKey(0, 0)]).targets.boxes[0].max() <= 48


@pytest.mark.parametrize("region", [None, [], [[]], [[1, 2, 3, 4]], "absent"])
def test_an_object_without_a_mask_has_that_of_its_box_and_is_counted(config, change, region):
    def spoil(data):
        a = annotation(data)
        a.update(segmentation=region, bbox=[10, 20, 7, 5])
        del a["area"]
        if region == "absent":
            del a["segmentation"]

    change(spoil)
    data = prepared(config)
    assert data.skipped == {"masks_from_boxes_test": 1.0}
    truth = data.test_set.get_batch([SampleKey(0, 0)]).targets.truth[0]
    assert np.array_equal(coco_mask.decode(truth.masks[0]), filled((40, 60), 10, 20, 7, 5))
    assert truth.area_n[0] == 35


@pytest.mark.parametrize("area", ["absent", None, float("nan"), "big"])
def test_an_area_that_is_not_given_is_that_of_the_mask(config, change, area):
    change(lambda d: annotation(d).pop("area") if area == "absent" else annotation(d).update(area=area))
    wanted = objects((40, 60), 1)[0]["area"]
    assert truths(config)[0].area_n[0] == wanted


def test_a_polygon_of_two_points_beside_others_is_no_box(config, change):
    """pycocotools takes a first polygon of four numbers, and all that follow, for boxes."""
    change(lambda d: annotation(d).update(segmentation=[[30, 30, 40, 35], rectangle(5, 6, 7, 8)]))
    truth = truths(config)[0]
    assert np.array_equal(coco_mask.decode(truth.masks[0]), filled((40, 60), 5, 6, 7, 8))


def test_training_images_without_an_object_to_learn_are_dropped_or_kept_and_test_images_kept(root, config, change):
    def crowds_only(data):
        data["annotations"] = [a for a in data["annotations"] if a["image_id"] != 100 or a["iscrowd"]]

    change(crowds_only, "train2017")
    drop, keep = prepared(config), prepared(edit(config, filter_empty_gt=False))
    assert (len(drop.train_set), len(drop.test_set)) == (4, 3)
    assert (len(keep.train_set), len(keep.test_set)) == (6, 3)
    assert drop.train_set.objects.image_id_I.tolist() == [103, 106, 109, 115]
    batch = keep.train_set.get_batch([SampleKey(0, 4), SampleKey(0, 0)])
    assert [len(boxes) for boxes in batch.targets.boxes] == [0, 1]
    assert batch.targets.crowd[1].all()
    change(lambda d: d["annotations"].clear(), "train2017")
    with pytest.raises(ConfigError, match=r"train2017\.json has no object in any of its 6 images$"):
        prepared(config)


def test_a_json_of_run_lengths_that_wrap_and_start_at_the_corner_is_read(config, change):
    mask = filled((40, 60), 0, 0, 60, 40)
    change(lambda d: annotation(d).update(segmentation=run_lengths(mask, text=False)))
    assert np.array_equal(coco_mask.decode(truths(config)[0].masks[0]), mask)


def test_without_pycocotools_what_to_install_is_said_before_anything_is_read(config, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    for r in (config, edit(config, dataset="shapes", num_classes=3), edit(config, data_root="nowhere")):
        with pytest.raises(
            ConfigError, match=r"needs pycocotools .*: make setup EXTRAS=dev,dense, or pip install '\.\[dense\]'"
        ):
            open_sets(detection.DetectionSource(), r)


def test_a_subset_is_used_where_the_recipe_asks_for_one_and_only_that_is_read(root, config):
    (left_out, *_) = set(range(3)) - set(subset(3, 2).tolist())
    (root / "val2017" / f"{left_out}.png").write_bytes(b"no")
    data = prepared(edit(config, num_train=3, num_val=2))
    assert (len(data.train_set), len(data.test_set)) == (3, 2)
    assert data.test_set.objects.image_id_I.tolist() == [100 + 3 * i for i in range(3) if i != left_out]
    with pytest.raises(ConfigError, match="6 images requested, 5 available"):  # one of six has no object
        prepared(edit(config, num_train=6))
