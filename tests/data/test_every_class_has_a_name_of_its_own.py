"""A record has a number of every class under a name that means that class alone, whatever the data call them."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scaling.config.edit import edit, make_config
from scaling.data.class_names import KINDS, distinct
from scaling.errors import ConfigError
from scaling.tasks.segmentation import scores
from tests.pictures import prepared, write_classes


def test_names_that_are_several_classes_have_their_number_appended_and_that_is_said():
    names, lines = distinct(["sky", "other", " other"])
    assert names == ("sky", "other_1", "other_2")
    assert lines == (
        "class 1 shares the name other; its metrics are named other_1",
        "class 2 shares the name other; its metrics are named other_2",
    )
    assert distinct(["sky", "Other", "other "]) == (("sky", "Other", "other"), ())


def test_a_name_with_a_number_appended_is_no_other_classs():
    assert distinct(["a", "a", "a_1"])[0] == ("a_0", "a_1_1", "a_1")
    assert distinct(["", "class_0"])[0] == ("class_0_0", "class_0")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "", " ", "a_0", "a_1", "raw", "a_raw", "a_averaged", "a_raw_raw"])))
def test_all_names_differ_and_so_do_the_metrics_of_both_kinds_of_weights(given_names):
    names, lines = distinct(given_names)
    assert len(names) == len(given_names)
    assert all(names)
    keys = [f"iou_{name}{end}" for name in names for end in ("", *(f"_{kind}" for kind in KINDS))]
    keys += [f"iou_{kind}" for kind in KINDS]
    assert len(set(keys)) == len(keys)
    assert len(lines) == sum(new != old.strip() for new, old in zip(names, given_names, strict=True))


def test_no_class_of_a_segmentation_folder_is_lost_from_the_scores(tmp_path):
    for split in ("train", "val"):
        for part in ("images", "annotations"):
            (tmp_path / part / split).mkdir(parents=True)
            Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 3).save(tmp_path / part / split / "a.png")
    (tmp_path / "classes.txt").write_text("sky\nother\nother\n")
    r = make_config(
        task="segment",
        dataset="folder",
        data_root=str(tmp_path),
        img_size=8,
        patch_size=4,
        num_classes=3,
        global_batch_size=1,
    )
    data = prepared(r)
    assert data.names == ("sky", "other_1", "other_2")
    assert any("class 2 shares the name other" in line for line in data.lines)
    assert set(scores(torch.eye(3), data.names)) >= {"iou_sky", "iou_other_1", "iou_other_2"}
    assert prepared(edit(r, class_names=("a", "a", "b"))).names == ("a_0", "a_1", "b")


@pytest.mark.skipif(find_spec("pycocotools") is None, reason="needs the extra dense")
def test_the_precision_of_small_objects_is_not_that_of_a_class_called_small():
    from tests.tasks.test_detection_scores import counted, made

    sets = made(6)
    plain = counted(sets, ["a", "b", "c", "d"])
    sized = counted(sets, ["small", "medium", "large", "50"])
    for kind in ("box", "mask"):
        for old, new in zip("abcd", ("small", "medium", "large", "50"), strict=True):
            assert plain[f"{kind}_ap_{old}"] == sized[f"{kind}_ap_{new}"]
        for key in ("", "50", "75", "s", "m", "l"):
            assert plain.get(f"{kind}_ap{key}") == sized.get(f"{kind}_ap{key}")
    assert len(plain) == len(sized)
    assert "box_aps" in sized


def test_folders_of_one_name_in_others_are_one_class_and_that_is_told(tmp_path):
    names = ["bird/crane", "machine/crane", "fox"]
    write_classes(tmp_path, names, train=2, test=1)
    r = make_config(
        dataset="folder", data_root=str(tmp_path), img_size=8, patch_size=4, num_classes=2, global_batch_size=1
    )
    told = f"{tmp_path / 'train'}: 1 class(es) come from several folders, such as bird/crane and machine/crane"
    assert told in prepared(r).lines
    with pytest.raises(
        ConfigError, match=r"the data has 2 classes, the recipe 3; set --num-classes .* bird/crane and machine"
    ):
        prepared(edit(r, num_classes=3))


def test_one_class_has_nothing_to_tell_it_from(tmp_path):
    write_classes(tmp_path, ["cat"], train=2, test=1)
    r = make_config(
        dataset="folder", data_root=str(tmp_path), img_size=8, patch_size=4, num_classes=2, global_batch_size=1
    )
    with pytest.raises(ConfigError, match=r"^the data has a single class, cat: at least two are needed"):
        prepared(r)
