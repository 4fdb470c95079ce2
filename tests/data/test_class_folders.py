"""Class folders and tars are listed as timm's readers list them, and a link that leads back is not followed."""

import io
import os
import posixpath
import random
import tarfile

import pytest
from timm.data.readers.reader_image_folder import ReaderImageFolder
from timm.data.readers.reader_image_in_tar import ReaderImageInTar
from timm.utils.misc import natural_key as timms_key

from scaling.config.edit import make_config
from scaling.data.datamodule import ImageDataModule
from scaling.data.files.class_folders import ClassFolder, ClassTar, natural_key
from scaling.data.files.segmentation_folder import find_split
from tests.pictures import picture, write_classes

NAMES = ["10/2.jpg", "10/10.png", "9/a1.JPEG", "9/sub/x.jpg", "9/A2.jpg", "b-c/1.jpg", "b/1.jpg", "b/01x.jpg"]
NAMES += ["b/notes.txt", "deep/er/9.jpg", "deep/er/10.jpg"]


def write(folder, names=NAMES):
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(0, number))


def test_a_folder_is_listed_as_timm_lists_it(tmp_path):
    write(tmp_path / "1data2")
    ours, theirs = ClassFolder(tmp_path / "1data2"), ReaderImageFolder(str(tmp_path / "1data2"))
    assert ours.class_to_idx == theirs.class_to_idx
    assert [(ours.filename(i), label) for i, label in enumerate(ours.labels)] == [
        (theirs.filename(i), label) for i, (_, label) in enumerate(theirs.samples)
    ]
    assert len(ours) == len(theirs) == 10
    for i in (0, 7):
        with ours[i][0] as file, theirs[i][0] as other:
            assert file.read() == other.read()


@pytest.mark.parametrize("nested", [False, True])
def test_a_tar_is_listed_as_timm_lists_it(tmp_path, nested):
    write(tmp_path / "files")
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(tmp_path / "files", arcname=".")
        if nested:  # as ImageNet's own: a tar a class
            for name in ("n02", "n10"):
                inner = io.BytesIO()
                with tarfile.open(fileobj=inner, mode="w") as child:
                    for i in (1, 2, 10):
                        data = picture(1, i)
                        member = tarfile.TarInfo(f"{name}_{i}.JPEG")
                        member.size = len(data)
                        child.addfile(member, io.BytesIO(data))
                member = tarfile.TarInfo(f"{name}.tar")
                member.size = len(inner.getvalue())
                tar.addfile(member, io.BytesIO(inner.getvalue()))
    ours, theirs = ClassTar(tmp_path / "train.tar"), ReaderImageInTar(str(tmp_path / "train.tar"), cache_tarinfo=False)
    assert ours.class_to_idx == theirs.class_name_to_idx
    assert ours.labels.tolist() == theirs.targets.tolist()
    assert ours.names == [posixpath.normpath(theirs.filename(i)) for i in range(len(theirs))]
    assert len(ours) == 10 + 6 * nested
    for i in range(len(ours)):
        assert ours[i][0].read() == theirs[i][0].read()


def test_names_are_ordered_as_timm_orders_them():
    random.seed(0)
    names = ["".join(random.choices("aB1/0.9-_", k=8)) for _ in range(3000)]
    assert sorted(names, key=natural_key) == sorted(names, key=timms_key)


@pytest.mark.parametrize("up", ["..", "../..", "../../..", "."])
def test_a_link_to_a_folder_above_is_not_followed_and_named(tmp_path, up):
    data = tmp_path / "data"
    write_classes(data, ("cat", "dog"), train=3, test=2)
    (data / "train" / "cat" / "up").symlink_to(up)
    found = ClassFolder(data / "train")
    assert len(found) == 6
    assert found.class_to_idx == {"cat": 0, "dog": 1}
    (line,) = found.lines
    assert line.startswith(f"link {data / 'train' / 'cat' / 'up'} is not followed")
    config = make_config(
        dataset="folder", data_root=str(data), num_classes=2, global_batch_size=2, img_size=16, patch_size=8
    )
    images = ImageDataModule(config)
    images.setup()
    assert images.lines == (line,)


def test_links_in_a_ring_end(tmp_path):
    write(tmp_path / "a", ["x/1.jpg", "y/1.jpg"])
    (tmp_path / "a" / "x" / "to_y").symlink_to(tmp_path / "a" / "y")
    (tmp_path / "a" / "y" / "to_x").symlink_to(tmp_path / "a" / "x")
    found = ClassFolder(tmp_path / "a")
    assert found.names == ["x/1.jpg", "y/1.jpg"]
    assert len(found.lines) == 2


def test_a_class_folder_that_is_a_link_elsewhere_is_a_class(tmp_path):
    write(tmp_path / "pool", ["1.jpg", "2.jpg"])
    write(tmp_path / "train", ["cat/1.jpg"])
    (tmp_path / "train" / "dog").symlink_to(tmp_path / "pool")
    (tmp_path / "train" / "cat" / "2.jpg").symlink_to(tmp_path / "pool" / "1.jpg")
    found = ClassFolder(tmp_path / "train")
    assert found.names == ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]
    assert found.lines == []


def test_folders_of_scenes_have_no_loop_either(tmp_path):
    write(tmp_path / "images" / "train", ["a/1.jpg"])
    write(tmp_path / "annotations" / "train", ["a/1.png"])
    for kind in ("images", "annotations"):
        os.symlink("..", tmp_path / kind / "train" / "a" / "up")
    scenes = find_split(
        tmp_path, "train", make_config(task="segment", dataset="folder", data_root=str(tmp_path), img_size=16)
    )
    assert scenes.file_names == ["a/1.jpg"]
    assert len(scenes.lines) == 2
