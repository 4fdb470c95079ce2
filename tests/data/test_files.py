import copy
import pickle
import tarfile
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scaling.config.edit import edit, make_config
from scaling.data.classification import InMemory, OnDisk
from scaling.data.files.data_root import find_root
from scaling.data.files.image_folder import Files
from scaling.data.files.parallel_reading import in_threads
from scaling.errors import ConfigError
from tests.pictures import BAD_FILES, picture, prepared, write_classes

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def folder(tmp_path):
    """train/ and test/ with three classes of 8 and 4 images."""
    write_classes(tmp_path, CLASSES, train=8, test=4)
    return tmp_path


@pytest.fixture
def config(folder):
    return make_config(
        dataset="folder",
        data_root=str(folder),
        img_size=16,
        patch_size=8,
        num_classes=3,
        global_batch_size=4,
        epochs=2,
        backbone="deit_nano",
    )


def to_tars(folder):
    for split in ("train", "test"):
        with tarfile.open(folder / f"{split}.tar", "w") as tar:
            tar.add(folder / split, arcname=".")


def test_folders_and_tars_give_the_same_images(folder, config):
    from_folder = prepared(config)
    to_tars(folder)
    for split in ("train", "test"):
        (folder / split).rename(folder / f"{split}_moved")
    from_tar = prepared(config)
    assert torch.equal(from_folder.train_set.image_NCHW, from_tar.train_set.image_NCHW)
    assert torch.equal(from_folder.train_set.label_N, from_tar.train_set.label_N)
    assert from_folder.train_set.label_N.tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_labels_go_with_their_pixels(config):
    data = prepared(config)
    for image, label in zip(data.test_set.image_NCHW, data.test_set.label_N, strict=True):
        assert abs(int(image[0, 8, 8]) - (60 + 60 * int(label))) < 4


def test_worker_processes_read_a_tar_without_disturbing_each_other(folder, config):
    """An open tar has one file position: shared by two workers, it would give one the bytes of the other."""
    to_tars(folder)
    for split in ("train", "test"):
        (folder / split).rename(folder / f"{split}_moved")
    lazy = edit(config, augment="resized_crop", global_batch_size=2, epochs=4)
    data = prepared(lazy, num_workers=2)
    assert isinstance(data.train_set, OnDisk)
    pairs = [pair for b in data.train_dataloader() for pair in zip(b.pixels, b.targets.label_B, strict=True)]
    seen = [(int(image[0].median()), int(label)) for image, label in pairs]
    assert len(seen) == 24 * 4
    assert all(abs(value - (60 + 60 * label)) < 4 for value, label in seen)


def test_threads_read_a_tar_without_disturbing_each_other(folder, monkeypatch):
    """From the very first read on, in which the tar is opened: slowed down here, so that all threads meet in it."""
    to_tars(folder)
    for split in ("train", "test"):
        (folder / split).rename(folder / f"{split}_moved")
    wanted = [Files(str(folder), "train").read(i) for i in range(24)]
    real = copy.deepcopy

    def slow(value):
        time.sleep(0.01)
        return real(value)

    monkeypatch.setattr("scaling.data.files.image_folder.copy", SimpleNamespace(deepcopy=slow))
    for _ in range(20):
        files = Files(str(folder), "train")
        assert list(in_threads(files.read, np.arange(24))) == wanted


def test_workers_change_nothing(config):
    lazy = edit(config, augment="resized_crop")
    alone, helped = ([b.pixels for b in prepared(lazy, workers).train_dataloader()] for workers in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


def test_a_subset_is_used_where_the_recipe_asks_for_one(config):
    data = prepared(edit(config, num_train=9, num_val=5))
    assert (len(data.train_set), len(data.test_set)) == (9, 5)
    assert data.total_steps == 2 * 2


def test_evaluation_sees_every_image_once(config):
    labels = torch.cat([b.targets.label_B for b in prepared(config).test_dataloader()])
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("damage", BAD_FILES)
@pytest.mark.parametrize("augment", ["none", "resized_crop"])
def test_an_unreadable_file_stops_the_run_before_it_begins_or_is_skipped_and_counted(folder, config, damage, augment):
    (folder / "train" / "cat" / "3.jpg").write_bytes(BAD_FILES[damage]())
    (folder / "test" / "owl" / "1.jpg").write_bytes(BAD_FILES[damage]())
    stop = edit(config, augment=augment)
    with pytest.raises(ConfigError, match=r"1 unreadable train image.*cat.3\.jpg.*--on-bad-image skip"):
        prepared(stop)
    data = prepared(edit(stop, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 1.0, "skipped_test": 1.0}
    assert (len(data.train_set), len(data.test_set)) == (23, 11)
    assert (
        sum(len(b.targets.label_B) for b in data.train_dataloader())
        == data.total_steps * config.optim.global_batch_size
    )


def test_a_file_that_passes_the_check_and_fails_later_is_counted_in_its_batch(folder, config):
    data = prepared(edit(config, augment="resized_crop", on_bad_image="skip", global_batch_size=24, epochs=1))
    (folder / "train" / "cat" / "0.jpg").write_bytes(b"overwritten after the check")
    (batch,) = list(data.train_dataloader())
    assert batch.skipped == 1
    assert len(batch.targets.label_B) == 24  # the next image has taken its place


def test_when_no_file_can_be_read_there_is_nothing_to_skip_to(folder, config):
    for path in (folder / "test").rglob("*.jpg"):
        path.write_bytes(b"no")
    with pytest.raises(ConfigError, match="none of the 12 test images"):
        prepared(edit(config, on_bad_image="skip"))


def test_classes_must_be_the_same_in_train_and_test(folder, config):
    (folder / "test" / "owl").rename(folder / "test" / "bat")
    with pytest.raises(ConfigError, match=r"only in train: owl.*only in test: bat"):
        prepared(config)


def test_the_recipes_class_count_must_be_the_datas(config):
    with pytest.raises(ConfigError, match="the data has 3 classes, the recipe 10"):
        prepared(edit(config, num_classes=10))


def test_missing_and_empty_folders_are_named(tmp_path, config):
    with pytest.raises(ConfigError, match="no data folder"):
        prepared(edit(config, data_root=str(tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match="set data_root"):
        prepared(edit(config, data_root=None))
    (tmp_path / "hollow" / "train").mkdir(parents=True)
    with pytest.raises(ConfigError, match="gives no images"):
        prepared(edit(config, data_root=str(tmp_path / "hollow")))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match=r"has no train images.*in it$"):
        prepared(edit(config, data_root=str(tmp_path / "bare")))
    (tmp_path / "bare" / "cifar10" / "train").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"in it; there is one in .*bare.cifar10$"):
        prepared(edit(config, data_root=str(tmp_path / "bare")))


def test_a_relative_root_is_looked_up_in_the_data_home(folder, monkeypatch):
    monkeypatch.setenv("SCALING_DATA", str(folder.parent))
    assert find_root(folder.name) == folder


def test_a_pickle_beside_a_tar_is_never_opened(folder, monkeypatch):
    """timm keeps a tar's index in a pickle; whoever can write beside the data could run code with it."""
    to_tars(folder)
    for split in ("train", "test"):
        (folder / split).rename(folder / f"{split}_moved")

    def opened(*_, **__):
        raise AssertionError("a pickle was opened")

    for path in (folder / "_train_tarinfos.pickle", folder / "train_tarinfos.pickle"):
        path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    monkeypatch.setattr(pickle, "load", opened)
    monkeypatch.setattr(pickle, "dump", opened)
    assert len(Files(str(folder), "train")) == 24


def test_large_sets_stay_on_disk(config, monkeypatch):
    monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1000)
    assert isinstance(prepared(config).train_set, OnDisk)
    monkeypatch.undo()
    assert isinstance(prepared(config).train_set, InMemory)


def test_on_disk_and_in_memory_give_the_same_batches(config, monkeypatch):
    flipped = edit(config, augment="pad_crop_flip")
    memory = [b.pixels for b in prepared(flipped).train_dataloader()]
    monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1000)
    disk = [b.pixels for b in prepared(flipped).train_dataloader()]
    assert all(torch.equal(a, b) for a, b in zip(memory, disk, strict=True))


def test_a_hugging_face_data_set_on_disk(tmp_path, folder):
    """A parquet file a split, as the hub stores them; no network is asked."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    (tmp_path / "hf").mkdir()
    for split, n in (("train", 12), ("test", 6)):
        rows = {
            "image": [{"bytes": picture(i % 3, i), "path": None} for i in range(n)],
            "label": [i % 3 for i in range(n)],
        }
        datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "hf" / f"{split}.parquet")
    r = make_config(
        dataset=f"hfds/{tmp_path / 'hf'}",
        data_root=str(tmp_path / "cache"),
        img_size=16,
        patch_size=8,
        num_classes=3,
        global_batch_size=4,
    )
    data = prepared(r)
    assert (len(data.train_set), len(data.test_set)) == (12, 6)
    for image, label in zip(data.train_set.image_NCHW, data.train_set.label_N, strict=True):
        assert abs(int(image[0, 8, 8]) - (60 + 60 * int(label))) < 4
