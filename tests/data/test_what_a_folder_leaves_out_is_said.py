"""Which files of a folder are images, which folder is taken, and what the user is told of the rest."""

import json
import os
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scaling.config.edit import edit, make_config
from scaling.data.datamodule import ImageDataModule
from scaling.data.files.class_folders import ClassFolder, ClassTar
from scaling.data.files.decoding import EXCLUDED_FORMATS
from scaling.data.files.file_listing import ENDINGS, LeftOut
from scaling.data.files.image_folder import Files
from scaling.data.files.segmentation_folder import find_split
from scaling.errors import ConfigError
from tests.pictures import picture, write_classes

RECIPE = make_config(dataset="folder", num_classes=2, global_batch_size=1, img_size=16, patch_size=8)


def write(folder, *names):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(0, number))


def prepared(root, **fields):
    images = ImageDataModule(edit(RECIPE, data_root=str(root), **fields))
    images.setup()
    return images


@pytest.fixture
def pets(tmp_path):
    write_classes(tmp_path, ("cat", "dog"), train=2, test=2)
    return tmp_path


def test_every_ending_by_which_pillow_knows_pictures_is_taken():
    Image.init()
    known = {
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in EXCLUDED_FORMATS and ending != ".pfm"  # of floating-point numbers
    }
    assert known <= set(ENDINGS)
    assert {".jpg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"} <= known


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "TGA", "PPM", "ICO", "PCX", "SGI", "DDS"]
)
def test_a_class_of_any_format_is_a_class(tmp_path, kind):
    Image.init()
    image = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    for ending in [e for e, k in Image.registered_extensions().items() if k == kind and e != ".pfm"]:
        for name in ("train/cat/a", "train/dog/b"):
            write(tmp_path, f"{name}.jpg")
        for upper in (ending, ending.upper()):
            path = tmp_path / "train" / f"fox{upper}" / f"picture{upper}"
            path.parent.mkdir(exist_ok=True)
            image.save(path, kind)
        files = Files(str(tmp_path), "train")
        assert {f"fox{ending}", f"fox{ending.upper()}"} <= set(files.names)
        assert [files.examine(i).bad for i in range(len(files))] == [""] * len(files)
        assert files.load(int(files.labels.argmax()))[0].size == (16, 16)


def test_files_of_other_endings_and_hidden_ones_are_left_out_and_counted(pets):
    write(pets, "train/cat/a.heic", "train/dog/b.HEIC", "train/cat/notes.txt", "train/README", "train/cat/.DS_Store")
    write(pets, "train/cat/._0.jpg", "train/.ipynb_checkpoints/0-checkpoint.jpg", "train/cat/Thumbs.db")
    images = prepared(pets)
    assert len(images.train_set) == 4
    (line,) = images.lines
    where, _, parts = line.partition(": files left out: ")
    assert where == str(pets / "train")
    assert sorted(parts.split(", ")) == ["1 .db", "1 .txt", "1 without ending", "2 .heic", "2 hidden"]


def test_a_pipe_is_not_waited_for(pets):
    os.mkfifo(pets / "train" / "cat" / "pipe.jpg")
    assert ClassFolder(pets / "train").lines == [f"{pets / 'train'}: files left out: 1 no regular files"]


def test_a_tar_leaves_out_the_same(pets):
    write(pets, "train/cat/a.heic", "train/cat/._0.jpg", "train/dog/x.TIFF")
    (pets / "train/dog/1.jpg").unlink()
    (pets / "train/dog/1.jpg").hardlink_to(pets / "train/dog/0.jpg")
    for name, arcname in (("flat", "."), ("deep", "a/b")):
        with tarfile.open(pets / f"{name}.tar", "w") as tar:
            tar.add(pets / "train", arcname=arcname)
        found = ClassTar(pets / f"{name}.tar")
        assert found.class_to_idx == {"cat": 0, "dog": 1}
        assert len(found) == 4
        (line,) = found.lines
        assert all(part in line for part in ("1 .heic", "1 hidden", "1 links"))


def test_images_in_no_class_folder_are_no_class(pets):
    write(pets, "train/stray.jpg", "train/stray.png")
    found = ClassFolder(pets / "train")
    assert found.class_to_idx == {"cat": 0, "dog": 1}
    assert found.lines == [f"{pets / 'train'}: 2 images outside of class folders are left out"]
    with tarfile.open(pets / "train.tar", "w") as tar:
        tar.add(pets / "train", arcname=".")
    in_tar = ClassTar(pets / "train.tar")
    assert in_tar.names == found.names
    assert [in_tar[i][0].read() for i in range(4)] == [found[i][0].read() for i in range(4)]


def test_a_class_folder_without_an_image_is_named(pets):
    for split in ("train", "test"):
        (pets / split / "owl").mkdir()
    assert f"{pets / 'train'}: no images in owl" in prepared(pets).lines
    with pytest.raises(
        ConfigError, match=r"the data has 2 classes, the recipe 3; set --num-classes .*train: no images in owl"
    ):
        prepared(pets, num_classes=3)
    write(pets, "train/owl/0.jpg")
    with pytest.raises(ConfigError, match=r"only in train: owl \(\S*test: no images in owl\)$"):
        prepared(pets, num_classes=3)


def test_a_test_folder_without_class_folders_is_passed_over_for_val(pets):
    (pets / "test").rename(pets / "val")
    write(pets, "test/0.jpg", "test/1.jpg", "test/2.jpg")
    images = prepared(pets)
    assert len(images.test_set) == 4
    assert images.lines == (
        f"{pets / 'val'} is used for the test images; {pets / 'test'} gives no images in class folders "
        "(3 images outside of class folders)",
    )
    (pets / "val").rename(pets / "elsewhere")
    with pytest.raises(
        ConfigError, match=r"test gives no images in class folders \(3 images outside of class folders\)$"
    ):
        prepared(pets)


def test_where_two_folders_could_be_the_test_images_it_is_said_which_is(pets):
    write(pets, "val/cat/0.jpg", "val/owl/0.jpg")
    assert prepared(pets).lines == (f"{pets / 'test'} is used for the test images; {pets / 'val'} is not used",)
    (pets / "val").rename(pets / "spare")
    (pets / "test").rename(pets / "val")
    (pets / "spare").rename(pets / "test")
    with pytest.raises(
        ConfigError, match=r"only in test: owl \(\S*test is used for the test images; \S*val is not used\)$"
    ):
        prepared(pets)


def test_scenes_say_what_they_leave_out_and_which_folder_they_take(tmp_path):
    for split in ("train", "test", "val"):
        write(tmp_path, f"images/{split}/0.jpg", f"images/{split}/1.GIF", f"images/{split}/a.heic")
    write(tmp_path, "images/train/._0.jpg", "images/train/.trash/0.jpg")
    for split in ("train", "val"):
        for name in ("0.png", "1.png", "a.tif"):
            path = tmp_path / "annotations" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (20, 16)).save(path)
    config = make_config(task="segment", dataset="folder", data_root=str(tmp_path), img_size=16)
    train, test = find_split(tmp_path, "train", config), find_split(tmp_path, "test", config)
    assert train.lines == (
        f"{tmp_path / 'images' / 'train'}: files left out: 1 .heic, 2 hidden",
        f"{tmp_path / 'annotations' / 'train'}: files left out: 1 .tif",
    )
    assert test.lines[-1] == f"{tmp_path / 'images' / 'val'} is used for the test images; test beside it is not used"
    assert train.file_names == ["0.jpg", "1.GIF"]


def test_a_name_that_no_file_can_have_is_a_missing_image(tmp_path):
    from scaling.data.coco.coco_json import read_coco

    (tmp_path / "annotations").mkdir()
    for name in ("x" * 5000 + ".jpg", "a\0b.jpg"):
        image = {"id": 1, "file_name": name, "height": 16, "width": 16}
        found = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
        (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(found))
        with pytest.raises(ConfigError, match="1 of which are not there"):
            read_coco(tmp_path, "train")


ODD = ("Öl 画 ☃.jpg", "x" * 251 + ".jpg", "caf\udce9.jpg", "a\nb.jpg", "[bold] {0} %s.jpg")  # \udce9: a byte of Latin-1


@pytest.mark.parametrize("name", ODD)
def test_a_file_of_any_name_is_read(pets, name):
    write(pets, f"train/cat/{name}")
    assert len(prepared(pets).train_set) == 5


@pytest.mark.parametrize("name", ODD[2:])
def test_a_file_of_any_name_is_named_in_one_line_where_it_is_no_image(pets, name, call):
    (pets / "train/cat" / name).write_bytes(b"no image")
    options = ("--data", "folder", "--data-root", pets, "--num-classes", 2, "--batch", 2, "--results", pets / "results")
    done = call("experiments/run.py", "shapes.deit_nano", *options, "--train-images", 0, "--test-images", 0)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "1 unreadable train image(s), the first cat/" in done.stderr
    assert [path.name for path in (pets / "results").iterdir()] == [".index"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="a.Jpgn", max_size=12), min_size=1, max_size=3).map("/".join))
def test_the_short_way_to_an_ending_is_that_of_the_standard_library(path):
    ending = os.path.splitext(path)[1].lower()
    hidden = any(part.startswith(".") and part.strip(".") for part in path.split("/"))
    left_out = LeftOut()
    assert left_out.takes(path) == (ending in ENDINGS and not hidden)
    assert left_out.hidden == (ending in ENDINGS and hidden)
