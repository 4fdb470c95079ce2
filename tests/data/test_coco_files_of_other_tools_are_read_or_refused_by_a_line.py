"""COCO's JSON as other programs write it: ids and iscrowd of other types, boxes that are none, other slashes."""

import contextlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scaling.config.edit import edit
from scaling.data.coco.coco_annotations import annotations, image_objects
from scaling.errors import ConfigError

pytestmark = pytest.mark.skipif(find_spec("pycocotools") is None, reason="needs the extra dense")
if find_spec("pycocotools") is not None:
    from scaling.data.coco.coco_json import used
    from tests.coco_folder import changing, json_path, read_json, recipe_of, run_lengths, write_folder
    from tests.pictures import prepared


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("coco"))


@pytest.fixture
def root(tmp_path, written):
    """The folder's images, and files of annotations that a test may change."""
    (tmp_path / "annotations").mkdir()
    for name in ("train2017", "val2017"):
        (tmp_path / name).symlink_to(written / name)
        json_path(tmp_path, name).write_bytes(json_path(written, name).read_bytes())
    return tmp_path


@pytest.fixture
def change(root):
    return changing(root)


def refused(root, **changes):
    with pytest.raises(ConfigError) as e:
        used(edit(recipe_of(root), **changes))
    assert "\n" not in str(e.value)
    return str(e.value)


def annotation(data, number=1):
    return next(a for a in data["annotations"] if a["id"] == number)


def crowds(root):
    return [a.crowd for image in used(recipe_of(root))[1].files.images for a in image.annotations]


@pytest.mark.parametrize(("no", "yes"), [(0, 1), (False, True), (None, 1), ("absent", True)])
def test_a_crowd_is_one_by_a_number_or_a_truth_value_and_nothing_is_none(root, change, no, yes):
    wanted = crowds(root)

    def said(data):
        for a in data["annotations"]:
            a["iscrowd"] = yes if a["iscrowd"] else no
            if a["iscrowd"] == "absent":
                del a["iscrowd"]

    change(said)
    assert any(wanted)
    assert crowds(root) == wanted


@pytest.mark.parametrize("value", ["0", "1", "false", "", 2, -1, 0.0, 1.0, float("nan"), [], {}])
def test_a_crowd_that_is_said_in_another_way_is_refused(root, change, value):
    change(lambda d: annotation(d).update(iscrowd=value))
    said = refused(root)
    assert said.endswith(f"annotation 1 has the iscrowd {value!r}: 0, 1, false or true is expected")


@pytest.mark.parametrize("key", ["image_id", "category_id"])
@pytest.mark.parametrize("value", [1.0, "100", None, True, float("nan"), [100]])
def test_an_id_that_is_no_whole_number_is_named_as_that(root, change, key, value):
    change(lambda d: annotation(d).update({key: value}))
    assert f"annotation 1 has the {key} {value!r}: an integer is expected" in refused(root)


def test_ids_of_images_and_categories_may_be_any_whole_numbers(root, change):
    numbers = {7: -3, 2: 0, 90: 2**31}

    def renumber(data):
        for c in data["categories"]:
            c["id"] = numbers[c["id"]]
        for a in data["annotations"]:
            a["category_id"] = numbers[a["category_id"]]

    for name in ("train2017", "val2017"):
        change(renumber, name)
    assert [c for c, _ in used(recipe_of(root))[0].files.categories] == [-3, 0, 2**31]


def test_an_annotation_that_is_listed_twice_is_refused_and_one_without_a_number_is_not(root, change):
    change(lambda d: d["annotations"].append(d["annotations"][0]))
    assert "lists annotation" in refused(root)
    change(lambda d: [a.update(id=None) for a in d["annotations"]])
    assert len(used(recipe_of(root))[1].files) == 3
    change(lambda d: [a.update(id=[1]) for a in d["annotations"]])
    assert "annotation has the id [1]: an integer is expected" in refused(root)


def test_what_coco_lists_beside_objects_may_be_absent(root, change):
    before = used(recipe_of(root))[1].files

    def bare(data):
        data.pop("info", None)
        for a in data["annotations"]:
            a.pop("area")
            a.pop("id")

    change(bare)
    after = used(recipe_of(root))[1].files
    assert (after.instances().area_N == before.instances().area_N).all()
    assert after.notes == before.notes


@pytest.mark.parametrize("area", [-1, -0.5, float("inf"), 10**400, True, "12"])
def test_an_area_that_cannot_be_is_that_of_the_mask(root, change, area):
    before = used(recipe_of(root))[1].files.instances().area_N
    change(lambda d: annotation(d).update(area=area))
    assert (used(recipe_of(root))[1].files.instances().area_N == before).all()


@pytest.mark.parametrize(
    "box",
    [[1, 2, 3, float("nan")], [1, 2, 3, None], ["1", "2", "3", "4"], [True, 2, 3, 4], [0, 0, 10**400, 1], None, "x"],
)
def test_a_box_that_is_no_four_numbers_is_refused(root, change, box):
    change(lambda d: annotation(d).update(bbox=box))
    assert "annotation 1 has the bbox" in refused(root)
    assert "four numbers are expected" in refused(root)


@pytest.mark.parametrize("box", [[1, 2, -3, 4], [1, 2, 0, 4], [900, 2, 3, 4], [-9, -9, 3, 3]])
def test_a_box_with_nothing_of_the_image_in_it_is_left_out_and_counted(root, change, box):
    change(lambda d: annotation(d).update(bbox=box))
    test = used(recipe_of(root))[1].files
    assert test.notes["boxes_dropped"] == 1
    assert len(test.images[0].annotations) == 3


@pytest.mark.parametrize(
    "region",
    [
        [[[1, 2], [9, 2], [9, 9], [1, 9]]],  # points as pairs
        [1, 2, 9, 2, 9, 9],  # one polygon, not a list of them
        [{"size": [40, 60], "counts": [2400]}],
        [[1, 2, 9, 2, 9, 9, 3]],
        7,
        True,
        {},
    ],
)
def test_a_mask_of_another_make_is_refused_and_not_taken_for_a_box(root, change, region):
    change(lambda d: annotation(d).update(segmentation=region))
    said = refused(root)
    assert "annotation 1 has a segmentation" in said or "annotation 1 has a mask of the size" in said


@pytest.mark.parametrize("text", [True, False])
def test_run_lengths_are_a_text_or_a_list(root, change, text):
    from tests.coco_folder import filled

    mask_hw = filled((40, 60), 3, 4, 9, 7)
    change(lambda d: annotation(d).update(segmentation=run_lengths(mask_hw, text), area=None))
    assert used(recipe_of(root))[1].files.instances().area_N[0] == 63


def test_names_of_images_may_hold_folders_either_slash_or_a_whole_path(root, written, change):
    wanted = [image.path.resolve() for image in used(recipe_of(root))[1].files.images]
    (root / "here").mkdir()
    (root / "here" / "deep").symlink_to(written / "val2017")
    names = {0: "here/deep/0.png", 1: "here\\deep\\1.png", 2: str(written / "val2017" / "2.png")}
    change(lambda d: [i.update(file_name=names[n]) for n, i in enumerate(d["images"])])
    assert [image.path.resolve() for image in used(recipe_of(root))[1].files.images] == wanted
    assert len(prepared(recipe_of(root)).test_set) == 3


def test_a_name_with_a_backslash_of_its_own_is_taken_as_it_is(root, change):
    (root / "val2017").unlink()
    (root / "val2017").mkdir()
    for name in ("a\\0.png", "a\\1.png", "a\\2.png"):
        Image.new("RGB", (60, 40)).save(root / "val2017" / name)
    change(lambda d: [i.update(file_name=f"a\\{n}.png") for n, i in enumerate(d["images"])])
    assert used(recipe_of(root))[1].files.images[1].path.name == "a\\1.png"


@pytest.mark.parametrize("name", ["", "a" * 300 + ".png", "nul\0.png", "../..", "."])
def test_a_name_that_no_image_has_is_a_line(root, change, name):
    change(lambda d: d["images"][0].update(file_name=name))
    with pytest.raises(ConfigError, match=r"image 100|the first 100|unreadable test image") as e:
        prepared(recipe_of(root))
    assert "\n" not in str(e.value)


def test_where_no_image_is_found_the_name_that_their_folder_should_have_is_said(root):
    (root / "val2017").rename(root / "val")
    said = refused(root)
    assert f"3 of which are not there, the first 100: {root}" in said
    assert f"put the images into {root / 'val2017'} (also looked in {root / 'images' / 'val2017'}, {root}, " in said


@pytest.mark.parametrize("name", ["train2017", "val2017"])
@pytest.mark.parametrize("filter_empty_gt", [True, False])
def test_without_an_object_there_is_nothing_to_learn_and_nothing_to_find(root, change, name, filter_empty_gt):
    change(lambda d: d["annotations"].clear(), name)
    assert f"instances_{name}.json has no object in any of its" in refused(root, filter_empty_gt=filter_empty_gt)


def test_classes_that_no_training_object_is_of_are_named(root, change):
    def without(data):
        data["annotations"] = [a for a in data["annotations"] if a["category_id"] != 90]

    assert prepared(edit(recipe_of(root), filter_empty_gt=False)).lines == ()
    change(without, "train2017")
    lines = prepared(edit(recipe_of(root), filter_empty_gt=False)).lines
    assert lines == ("1 of 3 classes have no train object: brush",)


def test_what_is_left_out_or_mended_is_told_with_its_number(root, change):
    assert prepared(recipe_of(root)).lines == (
        "1 train images have no object and are left out (--filter-empty-gt false keeps them)",
    )

    def spoil(data):
        annotation(data, 1).update(bbox=[-5, 3, 10, 10])
        annotation(data, 2).update(bbox=[70, 3, 5, 5])
        annotation(data, 3).update(segmentation=None)
        data["images"][1].update(file_name="0.png")

    change(spoil)
    assert prepared(edit(recipe_of(root), filter_empty_gt=False)).lines == (
        "1 test boxes extend beyond their image and are clipped (bbox is x, y, width, height)",
        "1 test boxes do not overlap their image and are left out",
        "1 test objects have no mask; their box is used",
        "1 test image files are listed more than once: 0.png",
    )


def test_boxes_in_shares_of_an_images_sides_are_refused(root, change):
    change(lambda d: [a.update(bbox=[0.1, 0.2, 0.3, 0.4]) for a in d["annotations"]])
    assert "all boxes lie within the first pixel: bbox must be in pixels" in refused(root)


def test_crowds_alone_are_no_objects_and_that_is_said(root, change):
    change(lambda d: [a.update(iscrowd=1) for a in d["annotations"]])
    assert refused(root).endswith("no object in any of its 3 images (all 8 annotations are crowds)")


def test_a_category_without_a_name_has_its_number(root, change):
    for name in ("train2017", "val2017"):
        change(lambda d: [c.update(name=None if c["id"] == 7 else "") for c in d["categories"]], name)
    assert prepared(recipe_of(root)).names == ("2", "7", "90")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_a_json_may_begin_with_a_mark_of_its_encoding(root, encoding):
    data = read_json(root, "val2017")
    data["info"] = {"description": "Füße"}
    json_path(root, "val2017").write_text(json.dumps(data, ensure_ascii=False), encoding)
    assert len(used(recipe_of(root))[1].files) == 3


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), lambda s: st.lists(s, max_size=7)
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"]),
        ANYTHING | st.dictionaries(st.sampled_from(["size", "counts"]), ANYTHING),
    )
)
def test_an_annotation_of_anything_is_read_or_refused(changes):
    with contextlib.suppress(ConfigError):
        read_one(changes)


def read_one(changes):
    a = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 6, 1, 6, 6]]}
    found, _ = annotations([{**a, **changes}], Path("a.json"), {1: (9, 9)}, {1: 0})
    read = image_objects(1, (9, 9), found[1], Path("a.json"))
    assert (read.area_n >= 0).all()
