"""A start reads the files that no start has read before, and those that have changed since; no other."""

import io
import json
import os
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaling.config.canonical import canonical
from scaling.config.edit import edit, make_config
from scaling.data.coco import coco_dataset
from scaling.data.datamodule import ImageDataModule
from scaling.data.files import file_index, image_folder, segmentation_folder
from scaling.data.fingerprints import with_fingerprints
from scaling.errors import ConfigError
from tests.pictures import BAD_FILES, picture, write_classes

CLASSES = ("cat", "dog", "owl")
N = 3 * (8 + 4)  # files of `folder`


@pytest.fixture
def data(tmp_path):
    write_classes(tmp_path / "data", CLASSES, train=8, test=4)
    return tmp_path / "data"


@pytest.fixture
def config(data):
    """Its images are decoded as they are asked for, so that a start needs none of them."""
    fields = {
        "img_size": 16,
        "patch_size": 8,
        "num_classes": 3,
        "global_batch_size": 4,
        "backbone": "deit_nano",
        "augment": "resized_crop",
    }
    return make_config(dataset="folder", data_root=str(data), **fields)


@pytest.fixture
def examined(monkeypatch):
    """The files that were read, by name, whatever the road."""
    found = []
    for kind in (image_folder.Files, segmentation_folder.SegmentationFiles, coco_dataset.CocoFiles):

        def counted(self, i, real=kind.examine):
            found.append(self.file_names[i])
            return real(self, i)

        monkeypatch.setattr(kind, "examine", counted)
    return found


def start(config, results):
    images = ImageDataModule(config, 0, results)
    images.setup()
    return images


def to_tars(data):
    for split in ("train", "test"):
        with tarfile.open(data / f"{split}.tar", "w") as tar:
            tar.add(data / split, arcname=".")
        (data / split).rename(data.parent / f"{split}_moved")


def to_scenes(data):
    """Images with labels instead of classes."""
    for split in ("train", "test"):
        (data / "images" / split).mkdir(parents=True)
        (data / "annotations" / split).mkdir(parents=True)
        for i, path in enumerate(sorted((data / split).rglob("*.jpg"))):
            path.rename(data / "images" / split / f"{i}.jpg")
            Image.fromarray(np.full((16, 20), i % 3, np.uint8)).save(data / "annotations" / split / f"{i}.png")


def to_coco(data):
    """Images with boxes."""
    (data / "annotations").mkdir()
    for split in ("train", "test"):
        names = [str(path.relative_to(data / split)) for path in sorted((data / split).rglob("*.jpg"))]
        listed = [{"id": i, "file_name": name, "height": 16, "width": 20} for i, name in enumerate(names)]
        objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 8, 8]} for i in range(len(names))]
        content = {"images": listed, "annotations": objects, "categories": [{"id": 1, "name": "thing"}]}
        (data / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


ROADS = {
    "folder": (lambda data: None, {}),
    "tar": (to_tars, {}),
    "scenes": (to_scenes, {"task": "segment", "augment": "none"}),
    "coco": (to_coco, {"task": "detect", "augment": "none", "head": "cascade_mask_rcnn", "num_classes": 1}),
}


@pytest.mark.parametrize("road", ROADS)
def test_the_second_start_reads_no_file(tmp_path, data, config, examined, road, monkeypatch):
    monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 0)
    make, fields = ROADS[road]
    make(data)
    config = edit(config, **fields)
    first = start(config, tmp_path / "results")
    assert len(examined) == N
    examined.clear()
    second = start(config, tmp_path / "results")
    assert examined == []
    assert (len(second.train_set), len(second.test_set)) == (len(first.train_set), len(first.test_set)) == (24, 12)
    assert list(second.test_set.sizes) == list(first.test_set.sizes)


def to_parquet(data, where):
    """A Hugging Face data set on disk."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    where.mkdir(parents=True)
    for split in ("train", "test"):
        paths = sorted((data / split).rglob("*.jpg"))
        rows = {
            "image": [{"bytes": path.read_bytes(), "path": None} for path in paths],
            "label": [CLASSES.index(path.parent.name) for path in paths],
        }
        datasets.Dataset.from_dict(rows, features=features).to_parquet(where / f"{split}.parquet")


def test_a_hugging_face_data_set_is_read_once_and_known_wherever_it_lies(tmp_path, data, config, examined):
    to_parquet(data, tmp_path / "a" / "pets")
    to_parquet(data, tmp_path / "b" / "pets")
    results, found = tmp_path / "results", []
    for place in ("a", "b"):
        here = edit(config, dataset=f"hfds/{tmp_path / place / 'pets'}", data_root=str(tmp_path / f"cache {place}"))
        found.append(with_fingerprints([here], results)[here.run_id])
        assert len(examined) == N
        examined.clear()
        start(found[-1], results)
        assert examined == []
    assert found[0].run_id == found[1].run_id
    assert str(tmp_path) not in canonical(found[0])


def test_shards_are_read_once(tmp_path, data, config, examined):
    (tmp_path / "shards").mkdir()
    info = {}
    for split in ("train", "test"):
        with tarfile.open(tmp_path / "shards" / f"{split}-0.tar", "w") as tar:
            for i, path in enumerate(sorted((data / split).rglob("*.jpg"))):
                label = str(CLASSES.index(path.parent.name)).encode()
                for ending, content in (("cls", label), ("jpg", path.read_bytes())):
                    member = tarfile.TarInfo(f"{i}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        info[split] = {"name": split, "filenames": [f"{split}-0.tar"], "shard_lengths": [i + 1], "num_samples": i + 1}
    (tmp_path / "shards" / "_info.json").write_text(json.dumps({"splits": info}))
    config = edit(config, dataset="wds/pets", data_root=str(tmp_path / "shards"))
    for read in (N, 0):
        start(config, tmp_path / "results")
        assert len(examined) == read
        examined.clear()


def test_of_a_folder_of_thousands_nothing_is_opened_at_the_second_start(tmp_path, data, config, examined, monkeypatch):
    """200,000 files in small."""
    monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 0)
    for number in range(2000):
        os.link(data / "train" / "cat" / "0.jpg", data / "train" / "cat" / f"again{number}.jpg")
    start(config, tmp_path / "results")
    assert len(examined) == N + 2000
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    monkeypatch.setattr(image_folder.Files, "read", lambda self, i: pytest.fail(f"{self.name(i)} was read"))
    assert len(start(config, tmp_path / "results").train_set) == 24 + 2000


def test_a_file_that_has_changed_is_read_again_and_no_other(tmp_path, data, config, examined):
    start(config, tmp_path / "results")
    examined.clear()
    (data / "train" / "cat" / "3.jpg").write_bytes(picture(0, 3) + b" ")
    os.utime(data / "test" / "owl" / "1.jpg", (1, 1))
    (data / "train" / "dog" / "8.jpg").write_bytes(picture(1, 8))
    start(config, tmp_path / "results")
    assert sorted(examined) == ["cat/3.jpg", "dog/8.jpg", "owl/1.jpg"]
    examined.clear()
    start(config, tmp_path / "results")
    assert examined == []


def test_labels_are_looked_at_again_where_the_classes_are_others(tmp_path, data, config, examined):
    to_scenes(data)
    config = edit(config, task="segment", augment="none")
    start(config, tmp_path / "results")
    with pytest.raises(ConfigError, match="has the value 2; 2 classes are 0 to 1"):
        start(edit(config, num_classes=2), tmp_path / "results")


@pytest.mark.parametrize("damage", BAD_FILES)
def test_a_bad_file_is_bad_at_every_start(tmp_path, data, config, examined, damage):
    (data / "train" / "cat" / "3.jpg").write_bytes(BAD_FILES[damage]())
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"1 unreadable train image.*cat.3\.jpg.*--on-bad-image skip"):
            start(config, tmp_path / "results")
        images = start(edit(config, on_bad_image="skip"), tmp_path / "results")
        assert (len(images.train_set), images.skipped) == (23, {"skipped_train": 1.0})
    assert examined.count("cat/3.jpg") == 2  # one is a test image
    (data / "train" / "cat" / "3.jpg").write_bytes(picture(0, 3))
    assert len(start(config, tmp_path / "results").train_set) == 24


def test_a_file_that_could_not_be_read_is_tried_again(tmp_path, data, config):
    path = data / "train" / "cat" / "3.jpg"
    path.rename(tmp_path / "elsewhere.jpg")
    path.symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(ConfigError, match="1 unreadable train image"):
        start(config, tmp_path / "results")
    (tmp_path / "elsewhere.jpg").rename(tmp_path / "nowhere.jpg")
    assert len(start(config, tmp_path / "results").train_set) == 24


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"digest_ND.npy")  # its name, its header of 128 bytes, then its content
    content[at + 200] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        damaged,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: np.savez(path, **{**np.load(path), "version": np.array(file_index.VERSION + 1)}),
    ],
    ids=["some bytes", "empty", "cut off", "another version"],
)
def test_an_index_that_is_damaged_or_of_another_version_is_made_anew(tmp_path, config, examined, damage):
    start(config, tmp_path / "results")
    for path in (tmp_path / "results" / ".index").glob("*.npz"):
        damage(path)
    examined.clear()
    assert len(start(config, tmp_path / "results").train_set) == 24
    assert len(examined) == N
    examined.clear()
    start(config, tmp_path / "results")
    assert examined == []


def test_where_results_cannot_be_written_it_is_read_each_time(tmp_path, config, examined):
    (tmp_path / "results").write_text("a file")
    for _ in range(2):
        assert len(start(config, tmp_path / "results").train_set) == 24
    assert len(examined) == 2 * N


def test_another_subset_adds_to_what_is_known(tmp_path, config, examined):
    start(edit(config, num_train=9), tmp_path / "results")
    assert len(examined) == 9 + 12
    start(config, tmp_path / "results")
    assert len(examined) == N
    examined.clear()
    start(edit(config, num_train=9), tmp_path / "results")
    start(config, tmp_path / "results")
    assert examined == []


def test_of_several_processes_one_reads_and_the_others_wait(tmp_path, data, examined, monkeypatch):
    """Each has its own hold of the lock, as processes have."""
    real = image_folder.Files.examine

    def slow(self, i):
        time.sleep(0.005)
        return real(self, i)

    monkeypatch.setattr(image_folder.Files, "examine", slow)
    seen = []

    def one():
        mine = image_folder.Files(str(data), "train")
        seen.append(file_index.look(mine, np.arange(24), tmp_path / "results"))

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(examined) == 24
    assert len({found.digest_ND.tobytes() for found in seen}) == 1


def test_what_was_read_before_a_stop_need_not_be_read_again(tmp_path, data, config, examined, monkeypatch):
    counted = image_folder.Files.examine

    def stopped(self, i):
        if self.file_names[i] == "owl/3.jpg":
            raise KeyboardInterrupt
        return counted(self, i)

    monkeypatch.setattr(image_folder.Files, "examine", stopped)
    monkeypatch.setattr(file_index, "PART", 8)
    with pytest.raises(KeyboardInterrupt):
        start(config, tmp_path / "results")
    monkeypatch.setattr(image_folder.Files, "examine", counted)
    examined.clear()
    start(config, tmp_path / "results")
    assert 0 < len(examined) < N


def test_files_are_read_in_threads_at_the_same_time(tmp_path, data, monkeypatch):
    """No lock around the read: two readers meet in it."""
    meeting = threading.Barrier(2, timeout=20)
    real, met = image_folder.Files.read, []

    def read(self, i):
        if not met:
            meeting.wait()
            met.append(i)
        return real(self, i)

    monkeypatch.setattr(image_folder.Files, "read", read)
    monkeypatch.setattr(file_index, "CUT", 4)
    file_index.look(image_folder.Files(str(data), "train"), np.arange(24), None)
    assert met
