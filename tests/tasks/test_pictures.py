"""Pictures of predictions: each class in one colour everywhere, a legend of what occurs, files that are whole."""

import numpy as np
import pytest
from PIL import Image

from scaling.data.batch import IGNORE_INDEX
from scaling.tasks.visualize import (
    GAP,
    HEADINGS,
    LARGEST,
    LINE,
    SMALLEST,
    Drawn,
    objects_side_by_side,
    occurring,
    palette,
    side_by_side,
    write_pictures,
)

NAMES = ["sky", "road", "car"]


def scene(height: int = 32, width: int = 32):
    image = np.full((height, width, 3), 128, np.uint8)
    label, prediction = np.zeros((height, width), np.uint8), np.ones((height, width), np.uint8)
    label[: height // 2] = IGNORE_INDEX
    return image, label, prediction


def panel(picture: Image.Image, number: int, width: int) -> np.ndarray:
    left = GAP + number * (width + GAP)
    return np.asarray(picture)[LINE:, left : left + width]


@pytest.mark.parametrize("classes", [1, 13, 150])
def test_every_class_has_a_colour_of_its_own_that_does_not_depend_on_how_many_there_are(classes):
    colours = palette(classes).astype(int)
    assert np.array_equal(palette(255)[:classes], colours)
    apart = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(classes, dtype=int)
    assert apart.min() > (40 if classes < 20 else 3)
    assert colours.max(1).min() > 100  # none is near black, which is no class


def test_pixels_have_their_classes_colours_and_unlabelled_ones_are_black():
    picture = side_by_side(*scene(), NAMES)
    width = 256  # 32 px, eight times
    label, prediction = panel(picture, 1, width), panel(picture, 2, width)
    assert (label[:120, :] == 0).all()
    grey = 0.35 * 128
    for shown, number in ((label[200, 5], 0), (prediction[5, 5], 1)):
        assert shown == pytest.approx(grey + 0.65 * palette(3)[number], abs=2)
    assert (panel(picture, 0, width)[5, 5] == 128).all()


def colours_below(picture: Image.Image, height: int) -> set[tuple[int, ...]]:
    """Of the legend, under panels of this height, which are drawn in more than a stroke of a letter."""
    found = picture.crop((0, LINE + height + 1, *picture.size)).getcolors(2**16)
    return {colour for count, colour in found if count > 100}


def test_the_legend_has_the_classes_that_occur_and_no_others():
    image, label, prediction = scene()
    assert occurring(label, prediction, NAMES) == [(0, "sky"), (1, "road")]
    assert occurring(label, label, NAMES) == [(0, "sky")]
    colours = [tuple(colour) for colour in palette(3).tolist()]
    shown = colours_below(side_by_side(image, label, prediction, NAMES), 256)
    assert shown == {(255, 255, 255), (0, 0, 0), *colours[:2]}  # black: unlabelled
    shown = colours_below(side_by_side(image, prediction, prediction, NAMES), 256)
    assert shown == {(255, 255, 255), colours[1]}


def test_a_long_legend_is_wrapped_to_the_width_and_a_long_name_loses_its_end():
    image, _, prediction = scene()
    few = side_by_side(image, prediction, prediction, NAMES)
    label = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32).astype(np.uint8) % 60
    many = side_by_side(image, label, prediction, [f"a long name {n}" for n in range(60)])
    assert (many.width, many.height > few.height + 5 * LINE) == (few.width, True)
    long = side_by_side(image, prediction, prediction, ["sky", "road " * 300])
    assert long.size == few.size
    assert (np.asarray(long)[:, -GAP:] == 255).all()


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [
        (32, 32, (256, 256)),
        (20, 50, (100, 250)),
        (50, 20, (250, 100)),
        (1, 1, (240, 240)),
        (300, 400, (300, 400)),
        (900, 1600, (360, 640)),
    ],
)
def test_panels_are_large_enough_to_read_and_small_enough_to_show(height, width, wanted):
    picture = side_by_side(*scene(height, width), NAMES)
    assert SMALLEST <= max(wanted) <= LARGEST
    assert picture.width == 3 * wanted[1] + 4 * GAP
    edge = GAP + wanted[1] + GAP  # where the label begins
    assert [(pixel == 255).all() for pixel in np.asarray(picture)[LINE + wanted[0] - 1, edge - 1 : edge + 1]] == [1, 0]
    assert picture.height == LINE + wanted[0] + GAP + LINE + GAP


def test_headings_of_narrow_panels_do_not_overlap():
    narrow = side_by_side(*scene(240, 4), NAMES)
    assert narrow.width > 3 * 4 + 4 * GAP
    assert HEADINGS == ("image", "label", "prediction")
    strips = [np.asarray(narrow)[:LINE, left : left + GAP] for left in (narrow.width // 3, 2 * narrow.width // 3)]
    assert all((strip[:, :2] == 255).all() for strip in strips)


def test_an_image_of_another_size_is_shown_at_the_labels():
    image, label, prediction = scene(60, 80)
    small = np.full((30, 40, 3), 128, np.uint8)
    ours, theirs = side_by_side(small, label, prediction, NAMES), side_by_side(image, label, prediction, NAMES)
    assert ours.tobytes() == theirs.tobytes()


def test_one_class_and_no_label_at_all_have_pictures_too():
    image, _, prediction = scene()
    nothing = np.full((32, 32), IGNORE_INDEX, np.uint8)
    assert side_by_side(image, prediction * 0, prediction * 0, ["all"]).mode == "RGB"
    assert side_by_side(image, nothing, nothing, ["all"]).mode == "RGB"
    assert occurring(nothing, nothing, ["all"]) == []


def test_what_cannot_be_drawn_is_refused_with_the_numbers():
    image, label, prediction = scene()
    with pytest.raises(ValueError, match="class 1 occurs, but there are names for 0 to 0 only"):
        side_by_side(image, label, prediction, ["sky"])
    with pytest.raises(ValueError, match=r"shape \(32, 32\), the prediction \(16, 32\)"):
        side_by_side(image, label, prediction[:16], NAMES)


def test_files_are_numbered_and_the_same_input_gives_the_same_bytes(tmp_path):
    pictures = [side_by_side(*scene(), NAMES) for _ in range(2)]
    paths = write_pictures(iter(pictures), tmp_path / "a" / "b")
    assert [p.name for p in paths] == ["000.png", "001.png"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert Image.open(paths[0]).size == pictures[0].size


def test_a_file_is_whole_or_not_there_and_the_old_one_stays(tmp_path):
    class Broken:
        def save(self, file, kind):
            file.write(b"half")
            raise OSError("disk full")

    (old,) = write_pictures([side_by_side(*scene(), NAMES)], tmp_path)
    before = old.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_pictures([Broken()], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["000.png"]
    assert old.read_bytes() == before


def test_objects_are_drawn_beside_what_was_found_and_doubtful_ones_are_left_out():
    image = np.full((40, 40, 3), 128, np.uint8)
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 5:15, 5:15], masks[1, 20:30, 20:30] = True, True
    boxes = np.array([[5, 5, 15, 15], [20, 20, 30, 30]], np.float32)
    truth = Drawn(boxes, np.array([0, 2]), masks)
    found = truth._replace(scores_n=np.array([0.9, 0.2], np.float32))
    picture = objects_side_by_side(image, truth, found, NAMES)
    width = 240  # 40 px, six times
    shown_truth, shown_found = panel(picture, 1, width), panel(picture, 2, width)
    for number, (y, x) in enumerate([(80, 80), (150, 150)]):
        wanted = 0.65 * palette(3)[2 * number] + 0.35 * 128
        assert shown_truth[y, x] == pytest.approx(wanted, abs=2)
    assert (shown_found[150, 150] == 128).all()
    assert tuple(shown_truth[30, 60]) == tuple(palette(1)[0])  # the box's upper edge
    none = Drawn(np.zeros((0, 4), np.float32), np.zeros(0, int), np.zeros((0, 40, 40), bool), np.zeros(0, np.float32))
    assert objects_side_by_side(image, none, none, NAMES).height < picture.height  # no legend
