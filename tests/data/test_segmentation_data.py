"""Images with a class for each pixel: their files and the sets that serve them."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from scaling.config.edit import edit, make_config
from scaling.config.task import RESIZED_CROPS
from scaling.data import segmentation
from scaling.data.batch import Split
from scaling.data.files.segmentation_folder import as_classes
from scaling.data.generated import generated_shapes
from scaling.data.open_sets import open_sets
from scaling.data.sampler import subset
from scaling.data.transforms.segmentation import evaluation_view
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from tests.pictures import BAD_FILES, prepared

AUGMENTS = ("none", "flip", *RESIZED_CROPS)
TRAIN, TESTED = ("a", "b", "deep/er/c", "e", "f", "g"), ("x", "y", "z")


def write(root: Path, split: str, name: str, value_HW: np.ndarray, ending: str = ".png") -> None:
    """A label file of these values, and a grey image whose pixels are 50 times that."""
    for folder, pixels, end in (("images", value_HW * 50, ending), ("annotations", value_HW, ".png")):
        path = root / folder / split / f"{name}{end}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def blocks(number: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Values 0 to 3 in blocks of 8 x 8 px."""
    grid = np.random.default_rng(number).integers(0, 4, (height // 8 + 1, width // 8 + 1))
    return grid.repeat(8, 0).repeat(8, 1)[:height, :width]


def hollow(image: Image.Image) -> bytes:
    """A JPEG whose quantization tables are comments: it passes for an image until it is decoded."""
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue().replace(b"\xff\xdb", b"\xff\xfe")


@pytest.fixture
def root(tmp_path):
    for i, name in enumerate(TRAIN):
        write(tmp_path, "training", name, blocks(i))
    for i, name in enumerate(TESTED):
        write(tmp_path, "validation", name, blocks(10 + i, 24 + 8 * i, 40))
    return tmp_path


@pytest.fixture
def config(root):
    return make_config(
        task="segment",
        dataset="folder",
        data_root=str(root),
        img_size=16,
        patch_size=8,
        num_classes=4,
        global_batch_size=4,
        epochs=2,
        max_steps=6,
    )


@pytest.fixture
def on_disk(monkeypatch):
    return lambda: monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1000)


@pytest.mark.parametrize(
    ("ignore_index", "classes", "values", "wanted"),
    [
        (0, 150, [0, 1, 2, 150], [255, 0, 1, 149]),  # ADE20K's
        (0, 255, [0, 1, 255], [255, 0, 254]),
        (11, 11, [0, 10, 11], [0, 10, 255]),  # CamVid's
        (255, 4, [0, 3, 255], [0, 3, 255]),
        (255, 255, [0, 254, 255], [0, 254, 255]),
        (2, 4, [0, 1, 2, 3, 4], [0, 1, 255, 2, 3]),
        (1000, 4, [0, 3, 1000], [0, 3, 255]),
    ],
)
def test_the_value_without_a_class_becomes_255_and_those_above_it_count_one_less(ignore_index, classes, values, wanted):
    for kind in (np.uint8, np.uint16, np.int32):
        if max(values) <= np.iinfo(kind).max:
            found = as_classes(np.array([values], kind), classes, ignore_index, Path("a.png"))
            assert (found.dtype, found.tolist()) == (np.uint8, [wanted])


@pytest.mark.parametrize(
    ("ignore_index", "classes", "value", "known"),
    [
        (0, 4, 5, "4 classes are 1 to 4, 0 and 255 are no class"),
        (11, 11, 12, "11 classes are 0 to 10, 11 and 255 are no class"),
        (255, 4, 4, "4 classes are 0 to 3, 255 is no class"),
        (1, 4, 5, "4 classes are 0 and 2 to 4, 1 and 255 are no class"),
        (255, 2, 256, "2 classes are 0 to 1"),  # 256 is no 0
        (0, 2, -1, "2 classes are 1 to 2"),
        (0, 2, 65535, "2 classes are 1 to 2"),
    ],
)
def test_a_value_that_is_no_class_is_named_with_those_that_are(ignore_index, classes, value, known):
    kind = np.uint8 if 0 <= value < 256 else np.int32
    with pytest.raises(
        ConfigError, match=rf"a\.png has the value {value};.*{known}.*set --num-classes or --ignore-index"
    ):
        as_classes(np.array([[1, value]], kind), classes, ignore_index, Path("a.png"))


def test_many_wrong_values_are_named_in_part():
    with pytest.raises(ConfigError, match=r"value 4, 5, 6, 7, 8, 9, 10, 11, …;"):
        as_classes(np.arange(100, dtype=np.uint8)[None], 4, 255, Path("a.png"))


@pytest.mark.parametrize("kind", ["L", "P", "1", "I;16"])
def test_label_files_may_be_grey_of_any_depth_or_have_a_palette(root, config, kind):
    value_HW = blocks(0, 24, 40) % 2
    if kind == "P":
        label = Image.fromarray(value_HW.astype(np.uint8))
        label.putpalette([9, 9, 9, 200, 0, 0])
        assert label.mode == "P"
    elif kind == "1":
        label = Image.fromarray(value_HW.astype(bool))
    else:
        label = Image.fromarray(value_HW.astype(np.uint8 if kind == "L" else np.uint16))
    label.save(root / "annotations" / "validation" / "x.png")
    batch = open_sets(segmentation.SegmentationSource(), config).test.get_batch([SampleKey(0, 0)])
    assert np.array_equal(batch.targets.label_BHW[0], value_HW)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA"])
def test_a_label_in_colours_is_refused_and_what_to_do_is_said(root, config, kind):
    Image.fromarray(blocks(0).astype(np.uint8)).convert(kind).save(root / "annotations" / "training" / "a.png")
    with pytest.raises(ConfigError, match=rf"training.a\.png has colours \({kind}\).*convert colours to class indices"):
        prepared(config)


def test_an_image_and_its_label_find_each_other_by_name_whatever_the_ending_and_the_folder(root, config):
    write(root, "training", "deep/g", blocks(6), ".BMP")
    write(root, "training", "h", blocks(7), ".webp")
    (root / "images" / "training" / "notes.txt").write_text("no image")
    (root / "images" / "training" / "._a.png").write_bytes(b"what a Mac leaves behind")
    train = open_sets(segmentation.SegmentationSource(), config).train
    assert len(train) == 8
    for i, number in enumerate((0, 1, 2, 6, 3, 4, 5, 7)):  # a b deep/er/c deep/g e f g h
        image_CHW, label_HW = train.read(i)
        assert np.array_equal(label_HW, blocks(number))
        assert (image_CHW.int() - label_HW * 50).abs().max() <= (20 if number == 7 else 0)  # WebP loses some


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("train", "test", "val"), "test"),
        (("train", "val"), "val"),
        (("training", "validation"), "validation"),
        (("train", "valid"), "valid"),
    ],
)
def test_the_splits_have_ade20ks_names_or_the_usual_ones(tmp_path, config, names, taken):
    for name in names:
        write(tmp_path / "other", name, name, blocks(0))
    sets = open_sets(
        segmentation.SegmentationSource(), edit(config, data_root=str(tmp_path / "other"), global_batch_size=1)
    )
    assert (len(sets.train), len(sets.test)) == (1, 1)
    (tmp_path / "other" / "annotations" / taken / f"{taken}.png").unlink()
    with pytest.raises(ConfigError, match=rf"{taken}.{taken}\.png is expected"):
        open_sets(
            segmentation.SegmentationSource(), edit(config, data_root=str(tmp_path / "other"), global_batch_size=1)
        )


def test_a_test_split_without_labels_is_passed_over_for_one_that_has_them(root, config):
    (root / "images" / "test").mkdir()
    assert len(open_sets(segmentation.SegmentationSource(), config).test) == 3


def test_an_image_without_a_label_and_a_label_without_an_image_are_named_and_counted(root, config):
    for name in ("a", "deep/er/c"):
        (root / "annotations" / "training" / f"{name}.png").unlink()
    match = r"2 of 6 train images without a label, the first \S*training.a\.png: \S*annotations.training.a\.png is exp"
    with pytest.raises(ConfigError, match=match):
        prepared(edit(config, on_bad_image="skip"))
    for name in ("a", "deep/er/c"):
        (root / "images" / "training" / f"{name}.png").unlink()
    (root / "images" / "validation" / "y.png").unlink()
    with pytest.raises(
        ConfigError, match=r"1 of 3 test labels without an image, the first \S*y\.png: \S*y\.jpg is exp"
    ):
        prepared(config)


def test_two_images_of_one_name_are_refused(root, config):
    write(root, "training", "a", blocks(0), ".jpg")
    with pytest.raises(ConfigError, match=r"a\.(png|jpg) and \S*a\.(png|jpg) have the same name"):
        prepared(config)


def test_missing_and_empty_folders_are_named_with_what_is_expected(root, config):
    with pytest.raises(ConfigError, match="set data_root"):
        prepared(edit(config, data_root=None))
    with pytest.raises(ConfigError, match="no data folder"):
        prepared(edit(config, data_root=str(root / "nowhere")))
    with pytest.raises(ConfigError, match=r"no train images with labels: folders images/NAME.*train or training"):
        prepared(edit(config, data_root=str(root / "images")))
    for folder in ("images", "annotations"):
        (root / folder / "train").mkdir()
    with pytest.raises(ConfigError, match=r"images.train has no images; looked for \.jpg"):
        prepared(config)


def test_data_of_other_libraries_has_no_labels_a_pixel(config):
    with pytest.raises(ConfigError, match="hfds/cats has no label maps: use a folder"):
        prepared(edit(config, dataset="hfds/cats"))


@pytest.mark.parametrize("disk", [False, True])
def test_a_wrong_value_and_a_wrong_size_stop_a_run_before_it_begins(root, config, on_disk, disk):
    if disk:
        on_disk()
    with pytest.raises(
        ConfigError, match=r"annotations\S*\.png has the value 3; 3 classes are 0 to 2, 255 is no class"
    ):
        prepared(edit(config, num_classes=3, on_bad_image="skip"))
    Image.new("L", (32, 20)).save(root / "annotations" / "validation" / "y.png")
    match = r"image \S*images.validation.y\.png has 40x32 px, its label \S*annotations.validation.y\.png 32x20 px$"
    with pytest.raises(ConfigError, match=match):
        prepared(edit(config, on_bad_image="skip"))


def test_a_label_of_the_pixels_as_they_are_stored_is_refused_where_exif_turns_the_image(root, config):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(root / "images" / "training" / "a.png", exif=exif)
    match = (
        r"has 24x32 px, its label \S* 32x24 px \(stored as 32x24 px with an EXIF orientation.* remove the orientation"
    )
    with pytest.raises(ConfigError, match=match):
        prepared(config)


@pytest.mark.parametrize("damage", BAD_FILES)
@pytest.mark.parametrize("folder", ["images", "annotations"])
@pytest.mark.parametrize("disk", [False, True])
def test_an_unreadable_file_stops_the_run_or_is_left_out_and_counted(root, config, on_disk, disk, folder, damage):
    if disk:
        on_disk()
    for name in ("training/b", "validation/y"):
        (root / folder / f"{name}.png").write_bytes(BAD_FILES[damage]())
    with pytest.raises(
        ConfigError, match=rf"1 unreadable train image.*{folder}.training.b\.png: .*--on-bad-image skip"
    ):
        prepared(config)
    data = prepared(edit(config, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 1.0, "skipped_test": 1.0}
    assert data.train_set.in_memory is not disk
    assert [len(b.targets.label_BHW) for b in data.train_dataloader()] == [4] * data.total_steps
    shapes_of_labels = [tuple(b.targets.label_BHW.shape) for b in data.test_dataloader()]
    assert shapes_of_labels == [(1, 24, 40), (1, 40, 40)]


def test_when_no_file_can_be_read_there_is_nothing_to_skip_to(root, config):
    for path in (root / "annotations" / "validation").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ConfigError, match="none of the 3 test images"):
        prepared(edit(config, on_bad_image="skip"))


def test_a_file_that_passes_the_check_and_fails_later_is_replaced_in_training_and_counted(root, config, on_disk):
    on_disk()
    data = prepared(edit(config, on_bad_image="skip"))
    for name in ("training/b", "training/deep/er/c", "validation/y"):
        path = root / "images" / f"{name}.png"
        path.write_bytes(hollow(Image.open(path)))
    draws = [SampleKey(0, i) for i in range(3)]
    batch = data.train_set.get_batch(draws)
    assert (batch.skipped, len(batch.targets.label_BHW)) == (2, 3)
    fourth = data.train_set.get_batch([SampleKey(0, 3)])
    assert all(
        torch.equal(label, fourth.targets.label_BHW[0]) for label in batch.targets.label_BHW[1:]
    )  # the next that can be read
    alone = data.test_set.get_batch([SampleKey(0, 1)])
    assert (alone.skipped, alone.pixels.shape, alone.targets.label_BHW.shape) == (1, (0, 3, 16, 16), (0, 16, 16))
    with pytest.raises(ConfigError, match=r"unreadable image \S*b\.png"):
        segmentation.SegmentationDataset(data.train_set.read, 6, config, "none").get_batch(draws)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_in_memory_on_disk_and_in_workers_a_run_sees_the_same(config, on_disk, augment):
    r = edit(config, augment=augment, drop_path=0.1)
    memory = prepared(r)
    on_disk()
    disk, helped = prepared(r), prepared(r, num_workers=2)
    assert memory.train_set.in_memory == (augment not in RESIZED_CROPS)  # scaling takes time: that is for workers
    assert not disk.train_set.in_memory
    for name in ("train_dataloader", "test_dataloader"):
        seen = [list(getattr(data, name)()) for data in (memory, disk, helped)]
        assert len(seen[0]) == (6 if name == "train_dataloader" else 3)
        for ours, *others in zip(*seen, strict=True):
            for theirs in others:
                assert torch.equal(ours.pixels, theirs.pixels)
                assert torch.equal(ours.targets.label_BHW, theirs.targets.label_BHW)
                assert ours.keys == theirs.keys


@pytest.mark.parametrize("augment", AUGMENTS)
def test_what_a_model_gets_of_an_image_follows_from_the_draw_and_not_from_the_batch(config, augment):
    r = edit(config, augment=augment, drop_path=0.1, seed=3)
    train = open_sets(segmentation.SegmentationSource(), r).train
    draws = [SampleKey(epoch, i) for i in (5, 2, 0) for epoch in (0, 1)]
    whole, parts = train.get_batch(draws), [train.get_batch(draws[a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    back = train.get_batch(draws[::-1])
    for get in (lambda batch: batch.pixels, lambda batch: batch.targets.label_BHW):
        assert torch.equal(get(whole), torch.cat([get(part) for part in parts]))
        assert torch.equal(get(whole), get(back).flip(0))
    assert (type(whole.pixels), whole.pixels.dtype, whole.pixels.shape) == (
        torch.Tensor,
        torch.uint8,
        (6, 3, 16, 16),
    )
    assert (type(whole.targets.label_BHW), whole.targets.label_BHW.dtype, whole.targets.label_BHW.shape) == (
        torch.Tensor,
        torch.uint8,
        (6, 16, 16),
    )
    assert whole.keys == draws
    many = [SampleKey(epoch, 1) for epoch in range(16)]
    other = open_sets(segmentation.SegmentationSource(), edit(r, seed=4)).train.get_batch(many)
    assert torch.equal(train.get_batch(many).pixels, other.pixels) == (augment == "none")


@pytest.mark.parametrize("augment", RESIZED_CROPS)
def test_views_leave_everybody_elses_random_numbers_alone(config, augment):
    train = open_sets(segmentation.SegmentationSource(), edit(config, augment=augment)).train
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train.get_batch([SampleKey(0, 0)])
    assert torch.equal(torch.rand(3), wanted)


def test_a_subset_is_used_where_the_recipe_asks_for_one_and_only_that_is_read(root, config, on_disk):
    (left_out,) = set(range(6)) - set(subset(6, 5).tolist())
    (root / "annotations" / "training" / f"{TRAIN[left_out]}.png").write_bytes(b"no")
    r = edit(config, num_train=5, num_val=2)
    memory = open_sets(segmentation.SegmentationSource(), r)
    on_disk()
    for sets in (memory, open_sets(segmentation.SegmentationSource(), r)):
        assert (len(sets.train), len(sets.test)) == (5, 2)
        for i, number in enumerate(sorted(set(range(6)) - {left_out})):
            assert np.array_equal(sets.train.read(i)[1], blocks(number))


def test_shapes_are_labelled_with_what_is_drawn(config):
    r = edit(
        config, dataset="shapes", data_root=None, num_classes=4, max_objects=3, num_train=300, num_val=5, img_size=32
    )
    sets = open_sets(segmentation.SegmentationSource(), r)
    assert sets.names == ("background", *generated_shapes.CLASSES)
    for data, split, n in ((sets.train, "train", 300), (sets.test, "test", 5)):
        assert (len(data), data.in_memory, len(data.sizes)) == (n, True, 0)
        wanted = generated_shapes.render(0, np.arange(n), 32, objects=3, split=split)
        batch = data.get_batch([SampleKey(0, i) for i in range(n)])
        assert np.array_equal(batch.targets.label_BHW, wanted.mask_BHW)
        assert np.array_equal(batch.pixels.permute(0, 2, 3, 1), wanted.image_BHWC)
    larger = open_sets(segmentation.SegmentationSource(), edit(r, resize_short=48)).test.get_batch([SampleKey(0, 0)])
    assert (larger.pixels.shape, larger.targets.label_BHW.shape) == ((1, 3, 48, 48), (1, 32, 32))


def test_shapes_that_cannot_be_are_refused(config):
    r = edit(config, dataset="shapes", data_root=None, num_classes=4)
    with pytest.raises(ConfigError, match="shapes has 4 classes, the recipe 3"):
        open_sets(segmentation.SegmentationSource(), edit(r, num_classes=3))
    with pytest.raises(ConfigError, match=r"need more than 2 GiB; use at most 2097152 \(train_images\)"):
        open_sets(segmentation.SegmentationSource(), edit(r, num_train=2**21 + 1 or None))
    with pytest.raises(ConfigError, match="data_version 1 of shapes"):
        open_sets(segmentation.SegmentationSource(), edit(r, data_version=1))


def test_names_are_read_from_a_list_or_from_ade20ks_table(root, config):
    assert prepared(config).names == ()
    table = "Idx\tRatio\tTrain\tVal\tStuff\tName \n" + "".join(
        f"{i} \t0.1\t3\t4\t1\t{name}\n" for i, name in enumerate(("wall", "building, edifice", "bed ", "sky"), 1)
    )
    (root / "objectInfo150.txt").write_text(table)
    assert prepared(config).names == ("wall", "building", "bed", "sky")
    (root / "classes.txt").write_text("road\npole, tall\n\nTree \nsky\n\n", "utf-8-sig")
    assert prepared(config).names == ("road", "pole, tall", "Tree", "sky")
    assert prepared(edit(config, class_names=("a", "b", "c", "d"))).names == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("classes.txt", b"a\nb\n", r"classes\.txt names 2 classes, the recipe has 4"),
        ("objectInfo150.txt", b"Idx\tName\n1\ta\n2\tb\n3\n", r"objectInfo150\.txt names 2 classes, the recipe has 4"),
        ("objectInfo150.txt", b"Idx,Ratio,Train,Val,Name\n", r"objectInfo150\.txt has no column Name"),
        ("objectInfo150.txt", b"", r"objectInfo150\.txt has no column Name"),
        ("classes.txt", b"\xff\xfe\xff", r"classes\.txt cannot be read as a list of class names"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_unless_the_recipe_has_names(root, config, file, text, message):
    (root / file).write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        prepared(config)
    prepared(edit(config, class_names=("a", "b", "c", "d")))


def test_a_test_image_keeps_its_aspect_ratio_and_its_label_is_not_touched(root, config):
    r = edit(config, resize_short=48)
    test = open_sets(segmentation.SegmentationSource(), r).test
    assert test.sizes == [((48, 80), (24, 40)), ((48, 60), (32, 40)), ((48, 48), (40, 40))]
    for i in range(3):
        batch = test.get_batch([SampleKey(0, i)])
        assert np.array_equal(batch.targets.label_BHW[0], blocks(10 + i, 24 + 8 * i, 40))
        assert (batch.pixels.shape[2:], batch.targets.label_BHW.shape[1:]) == test.sizes[i]
        stored, _ = test.read(i)
        assert torch.equal(batch.pixels[0], F.resize(stored, batch.pixels.shape[2:], antialias=True))
    write(root, "validation", "long", blocks(0, 16, 200))
    assert open_sets(segmentation.SegmentationSource(), r).test.sizes[0] == ((15, 192), (16, 200))
    image, label = evaluation_view(
        torch.zeros(3, 9, 9, dtype=torch.uint8), torch.ones(9, 9), edit(r, resize_short=None)
    )
    assert (image.shape, label.shape) == ((3, 16, 16), (9, 9))


def test_test_images_of_one_size_share_a_batch(root, config):
    write(root, "validation", "w", blocks(0, 24, 40))
    data = prepared(config)
    assert [len(b.targets.label_BHW) for b in data.test_dataloader()] == [2, 1, 1]
    assert data.test_set.split is Split.VAL
