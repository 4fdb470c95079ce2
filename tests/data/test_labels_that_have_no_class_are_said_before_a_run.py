"""What values label files have: which mean no class, and which classes no training label has."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scaling.config.edit import edit, make_config
from scaling.data import segmentation
from scaling.data.batch import IGNORE_INDEX
from scaling.data.files.dataset_files import data_digest
from scaling.data.files.segmentation_folder import as_classes
from scaling.data.open_sets import open_sets
from scaling.errors import ConfigError
from tests.pictures import prepared

N = 12


def write(root, values, n=N):
    """Two splits of n images of 8 px; values(number) -> the values of a training label, of which the first is its
    first pixel's."""
    for split, shift in (("train", 0), ("val", 1)):
        for part in ("images", "annotations"):
            (root / part / split).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            value_HW = np.resize(np.array(values(i), np.uint16), (8, 8))
            kind = np.uint8 if value_HW.max() < 256 else np.uint16
            Image.fromarray(value_HW.astype(kind)).save(root / "annotations" / split / f"{i:04d}.png")
            Image.new("RGB", (8, 8), (i + shift, 0, 0)).save(root / "images" / split / f"{i:04d}.png")
    return make_config(
        task="segment",
        dataset="folder",
        data_root=str(root),
        img_size=8,
        patch_size=4,
        num_classes=3,
        global_batch_size=2,
        epochs=1,
        max_steps=1,
    )


def refused(config):
    with pytest.raises(ConfigError) as e:
        prepared(config)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("disk", [False, True])
def test_a_mask_of_0_and_255_has_one_class_and_nothing_to_tell_it_from(tmp_path, monkeypatch, disk):
    if disk:
        monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1)
    said = refused(edit(write(tmp_path, lambda i: [0, 255]), num_classes=2))
    assert said.startswith("class 0 is the only class in the 12 training labels, class 1 missing; 255 is ignored")
    assert said.endswith("write objects as their class index, such as 1")


def test_a_mask_of_0_and_1_has_two(tmp_path):
    assert prepared(edit(write(tmp_path, lambda i: [0, 1]), num_classes=2)).lines == ()


def test_classes_that_no_training_label_has_are_named_also_from_what_was_remembered(tmp_path):
    r = write(tmp_path / "data", lambda i: [0, 3, 255])
    (tmp_path / "data" / "classes.txt").write_text("sky\nroad\ncar\ntree\nsign\n")
    r, results = edit(r, num_classes=5), tmp_path / "results"
    wanted = "3 of 5 classes do not occur in training labels: 1 (road), 2 (car), 4 (sign); 255 is ignored"
    for _ in range(2):
        assert open_sets(segmentation.SegmentationSource(), r, results).lines == (wanted,)
    Image.new("L", (8, 8), 4).save(tmp_path / "data" / "annotations" / "val" / "0000.png")
    assert (
        "training labels (1 of them in test labels): 1 (road)"
        in open_sets(segmentation.SegmentationSource(), r, results).lines[0]
    )
    Image.new("L", (8, 8), 4).save(tmp_path / "data" / "annotations" / "train" / "0000.png")
    assert "2 of 5 classes" in open_sets(segmentation.SegmentationSource(), r, results).lines[0]


def test_of_the_training_labels_only_those_count_that_are_used_and_can_be_read(tmp_path):
    r = write(tmp_path, lambda i: [0, 1, 2] if i == 0 else [0, 1])
    path = tmp_path / "images" / "train" / "0000.png"
    assert prepared(r).lines == ()
    path.write_bytes(b"no image")
    data = prepared(edit(r, on_bad_image="skip"))
    assert data.lines == ("1 of 3 classes do not occur in training labels (1 of them in test labels): 2",)


def test_many_missing_classes_are_named_in_part(tmp_path):
    lines = prepared(edit(write(tmp_path, lambda i: [0, 1]), num_classes=150)).lines
    assert lines == ("148 of 150 classes do not occur in training labels: 2, 3, 4, 5, 6, …",)


@pytest.mark.parametrize("ignore_index", [0, 255])
def test_labels_without_any_class_are_refused(tmp_path, ignore_index):
    r = edit(write(tmp_path, lambda i: [ignore_index]), ignore_index=ignore_index)
    ignored = "0 and 255 are" if ignore_index == 0 else "255 is"
    assert refused(r) == f"all pixels of the 12 training labels are unlabelled ({ignored} ignored)"
    for i in range(N):
        Image.fromarray(np.resize(np.array([1, 2], np.uint8), (8, 8))).save(
            tmp_path / "annotations" / "train" / f"{i:04d}.png"
        )
    assert refused(r).startswith("all pixels of the 12 test labels are unlabelled")


@pytest.mark.parametrize("at", [0, N - 1])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("value", [3, 254, 65535])
def test_a_value_out_of_range_is_found_in_the_first_and_in_the_last_label(tmp_path, at, split, value):
    r = write(tmp_path / "data", lambda i: [0, 1, 2])
    kind = np.uint16 if value > 255 else np.uint8
    path = tmp_path / "data" / "annotations" / split / f"{at:04d}.png"
    Image.fromarray(np.resize(np.array([0, value], kind), (8, 8))).save(path)
    assert refused(r).startswith(f"label {path} has the value {value}; 3 classes are 0 to 2, 255 is no class")
    with pytest.raises(ConfigError, match=f"has the value {value}"):
        data_digest(r, tmp_path / "results")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_both_0_and_255_are_no_class_where_0_is_none(tmp_path, kind):
    """ADE20K's labels as mmsegmentation reduces them, and what other tools leave unlabelled beside that (#3854)."""
    found = as_classes(np.array([[0, 1, 3, 255]], kind), 3, 0, Path("a.png"))
    assert found.tolist() == [[IGNORE_INDEX, 0, 2, IGNORE_INDEX]]
    assert prepared(edit(write(tmp_path, lambda i: [0, 1, 2, 3, 255]), ignore_index=0)).lines == ()


def test_a_value_without_a_class_may_lie_above_a_number_that_no_pixel_has():
    """Three classes, 4 for pixels without one, and no 3 (PaddleSeg #3079)."""
    found = as_classes(np.array([[0, 1, 2, 4]], np.uint8), 3, 4, Path("a.png"))
    assert found.tolist() == [[0, 1, 2, IGNORE_INDEX]]
    with pytest.raises(ConfigError, match="has the value 3; 3 classes are 0 to 2, 4 and 255 are no class"):
        as_classes(np.array([[3]], np.uint8), 3, 4, Path("a.png"))


def test_a_class_too_many_beside_a_reduced_zero_is_named(tmp_path):
    """Six classes are 1 to 6 where 0 is none; of seven the last is nowhere (mmsegmentation #2146)."""
    r = edit(write(tmp_path, lambda i: [0, 1, 2, 3, 4, 5, 6]), num_classes=7, ignore_index=0)
    assert prepared(r).lines == ("1 of 7 classes do not occur in training labels: 6; 0 and 255 are ignored",)
    assert prepared(edit(r, num_classes=6)).lines == ()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_value_of_a_label_is_a_class_no_class_or_refused(data):
    classes, ignore_index = data.draw(st.integers(2, 255)), data.draw(st.integers(0, 300))
    value = data.draw(st.integers(-2, 70000))
    try:
        found = int(as_classes(np.array([[value]], np.int32), classes, ignore_index, Path("a.png"))[0, 0])
    except ConfigError:
        found = None
    kept = [v for v in range(classes + 1) if v != ignore_index][:classes]
    if value in kept:
        assert found == kept.index(value)
    else:
        assert found == (IGNORE_INDEX if value in (ignore_index, 255) else None)


@pytest.mark.parametrize(("mode", "said"), [("RGB", "RGB"), ("RGBA", "RGBA"), ("LA", "LA")])
def test_colours_are_refused_by_the_files_name(tmp_path, mode, said):
    r = write(tmp_path, lambda i: [0, 1, 2])
    path = tmp_path / "annotations" / "val" / "0007.png"
    Image.new(mode, (8, 8)).save(path)
    assert refused(r).startswith(f"label {path} has colours ({said})")


def test_a_palette_of_few_bits_and_one_of_a_byte_have_the_same_classes(tmp_path):
    r = write(tmp_path, lambda i: [0, 1, 2])
    wanted = open_sets(segmentation.SegmentationSource(), r).train.read(0)[1]
    label = Image.fromarray(np.asarray(wanted))
    label.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for bits in (2, 4, 8):
        label.save(tmp_path / "annotations" / "train" / "0000.png", bits=bits, transparency=0)
        assert np.array_equal(open_sets(segmentation.SegmentationSource(), r).train.read(0)[1], wanted)
