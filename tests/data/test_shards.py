import gzip
import io
import json
import pickle
import tarfile

import pytest
import torch

from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.data.classification import OnDisk
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.errors import ConfigError
from tests.pictures import BAD_FILES, hollow, picture, prepared

SHARDS = {"train": (2, 12), "test": (1, 9)}  # shards of a split, samples in each
FIRST, LAST = "train-0000.tar", "train-0001.tar"
hush()


def write(path, files):
    """A tar of {name: bytes}."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def rewrite(path, **changes):
    """Replace members of a tar, take out those that become None, add new ones at the end."""
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar}
    files |= {name.replace("__", "."): data for name, data in changes.items()}
    write(path, {name: data for name, data in files.items() if data is not None})


@pytest.fixture
def shards(tmp_path):
    """WebDataset shards with labels 0 to 2; the third sample of the second shard is s001_2.jpg and s001_2.cls."""
    info = {}
    for split, (count, n) in SHARDS.items():
        names = [f"{split}-{s:04d}.tar" for s in range(count)]
        for s, name in enumerate(names):
            pairs = [(f"s{s:03d}_{i}", i) for i in range(n)]
            files = {f"{key}.jpg": picture(i % 3, i) for key, i in pairs}
            labels = {f"{key}.cls": str(i % 3).encode() for key, i in pairs}
            write(tmp_path / name, dict(sorted((files | labels).items())))
        info[split] = {"name": split, "filenames": names, "shard_lengths": [n] * count, "num_samples": n * count}
    (tmp_path / "_info.json").write_text(json.dumps({"splits": info}))
    return make_config(
        dataset="wds/toy",
        data_root=str(tmp_path),
        img_size=16,
        patch_size=8,
        num_classes=3,
        global_batch_size=4,
        epochs=2,
        backbone="deit_nano",
        augment="resized_crop",  # so that they are decoded as they are asked for, and not all before the run
    )


@pytest.fixture
def on_disk(monkeypatch):
    """Test images too are decoded as they are asked for."""
    monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 0)


class At:
    """Stands in for a trainer at a step."""

    world_size, global_rank = 1, 0

    def __init__(self, step):
        self.global_step = step


def test_labels_go_with_their_pixels(shards):
    data = prepared(shards)
    assert isinstance(data.train_set, OnDisk)
    assert data.total_steps == 12
    for batch in data.train_dataloader():
        for image, label in zip(batch.pixels, batch.targets.label_B, strict=True):
            assert abs(int(image[0, 8, 8]) - (60 + 60 * int(label))) < 4


@pytest.mark.parametrize("workers", [0, 2])
def test_shards_can_be_taken_up_at_any_step_with_any_number_of_workers(shards, workers):
    whole = [b.pixels for b in prepared(shards).train_dataloader()]
    for step in (0, 1, 5):
        data = prepared(shards, workers)
        data.trainer = At(step)
        rest = [b.pixels for b in data.train_dataloader()]
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[step:], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_test_image_is_seen_once(shards, workers, on_disk):
    labels = torch.cat([b.targets.label_B for b in prepared(shards, workers).test_dataloader()])
    assert labels.tolist() == [0, 1, 2] * 3


def test_a_subset_is_used_where_the_recipe_asks_for_one(shards):
    data = prepared(edit(shards, num_train=9, num_val=5, augment="flip"))
    assert (len(data.train_set), len(data.test_set)) == (9, 5)


@pytest.mark.parametrize("damage", BAD_FILES)
@pytest.mark.parametrize("augment", ["none", "resized_crop"])
def test_an_unreadable_image_stops_the_run_before_it_begins_or_is_skipped_and_counted(
    tmp_path, shards, damage, augment
):
    rewrite(tmp_path / LAST, s001_2__jpg=BAD_FILES[damage]())
    rewrite(tmp_path / "test-0000.tar", s000_4__jpg=BAD_FILES[damage]())
    stop = edit(shards, augment=augment)
    with pytest.raises(
        ConfigError, match=r"^1 unreadable train image.* train-0001.tar/s001_2\.jpg: .*--on-bad-image skip$"
    ):
        prepared(stop)
    data = prepared(edit(stop, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 1.0, "skipped_test": 1.0}
    assert (len(data.train_set), len(data.test_set)) == (23, 8)
    assert (
        sum(len(b.targets.label_B) for b in data.train_dataloader())
        == data.total_steps * shards.optim.global_batch_size
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"s001_2__jpg": None}, "train-0001.tar/s001_2: its sample has no image"),
        ({"s001_2__cls": None}, r"train-0001.tar/s001_2\.jpg: its sample has no label"),
        ({"s001_2__cls": b"owl"}, r"train-0001.tar/s001_2\.jpg: its sample has no label"),
    ],
)
def test_a_sample_without_its_image_or_its_label_counts_as_unreadable(tmp_path, shards, change, said):
    rewrite(tmp_path / LAST, **change)
    with pytest.raises(ConfigError, match=said):
        prepared(shards)
    assert prepared(edit(shards, on_bad_image="skip")).skipped == {"skipped_train": 1.0}


def counted(config, results):
    record = train(config, results, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert record.status == "finished"
    return {name: n for name, n in record.metrics.items() if name.startswith("skipped")}


def test_what_is_left_out_is_counted_in_the_record_of_a_run(tmp_path, shards, on_disk):
    """In either split one image that the check finds and one that only decoding finds: in each of two epochs."""
    rewrite(tmp_path / LAST, s001_2__jpg=b"text", s001_5__jpg=hollow())
    rewrite(tmp_path / "test-0000.tar", s000_4__jpg=b"text", s000_7__jpg=hollow())
    found = counted(edit(shards, on_bad_image="skip", global_batch_size=23), tmp_path / "results")
    assert found == {"skipped_train": 1, "skipped_test": 1, "skipped_later": 2, "skipped_test_later": 1}


def test_a_last_test_batch_may_be_one_image_that_cannot_be_decoded(tmp_path, shards, on_disk):
    rewrite(tmp_path / "test-0000.tar", s000_8__jpg=hollow())
    assert counted(edit(shards, on_bad_image="skip", global_batch_size=8), tmp_path / "results") == {
        "skipped_test_later": 1
    }


def test_an_image_that_only_decoding_finds_stops_the_run_with_its_name(tmp_path, shards):
    rewrite(tmp_path / LAST, s001_5__jpg=hollow())
    with pytest.raises(ConfigError, match=r"unreadable image train-0001.tar/s001_5\.jpg: .*--on-bad-image skip"):
        list(prepared(shards).train_dataloader())


CUTS = {
    "in a label": lambda data: data[:700],
    "in an image": lambda data: data[:1700],
    "in a header": lambda data: data[:1300],
    "between two members": lambda data: data[: data.index(b"s001_5.jpg")],
    "before its end": lambda data: data[: -(-len(data.rstrip(b"\0")) // 512) * 512],
    "to nothing": lambda data: b"",
    "and overwritten": lambda data: data[: data.index(b"s001_5.jpg")] + b"x" * 9000,
    "to another format": gzip.compress,
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("bad_images", ["stop", "skip"])
def test_a_damaged_shard_is_named_before_the_run_begins(tmp_path, shards, cut, bad_images):
    """One bad image can be left out; of a shard that ends early nobody knows how many are missing."""
    path = tmp_path / LAST
    path.write_bytes(CUTS[cut](path.read_bytes()))
    with pytest.raises(ConfigError, match=r"^shard .*train-0001\.tar cannot be read whole \(.+\); .*$"):
        prepared(edit(shards, on_bad_image=bad_images))


def test_a_shard_that_is_not_there_is_named(tmp_path, shards):
    (tmp_path / FIRST).unlink()
    with pytest.raises(ConfigError, match=r"train-0000\.tar cannot be read whole \(No such file or directory\)"):
        prepared(shards)


def test_a_folder_without_shards_is_named(tmp_path, shards):
    (tmp_path / "_info.json").write_text('{"splits": {"train": {"name": "train"}}}')
    with pytest.raises(ConfigError, match="has no train shards"):
        prepared(shards)
    (tmp_path / "_info.json").unlink()
    with pytest.raises(ConfigError, match="has no train shards"):
        prepared(shards)


@pytest.mark.parametrize("label", ["3", "-1"])
def test_a_label_that_the_recipe_has_no_class_for_is_refused(tmp_path, shards, label):
    rewrite(tmp_path / LAST, s001_2__cls=label.encode())
    with pytest.raises(ConfigError, match=f"train has a label {label}, the recipe 3 classes .*; set --num-classes"):
        prepared(shards)


def test_labels_may_stand_in_json_and_a_negative_one_is_none_of_this_set(tmp_path, shards):
    info = json.loads((tmp_path / "_info.json").read_text())
    info["splits"]["test"]["alt_label"] = "coarse"
    (tmp_path / "_info.json").write_text(json.dumps(info))
    rewrite(tmp_path / "test-0000.tar", **{f"s000_{i}__json": b'{"coarse": %d}' % (i - 7) for i in range(9)})
    data = prepared(shards)
    assert data.test_set.label_N.tolist() == [0, 1]
    assert data.skipped == {}


def test_nothing_in_a_shard_is_ever_unpickled(tmp_path, shards, monkeypatch):
    """webdataset's own decoders take .pyd, .pickle and .pth for pickles, which can run code as they are read."""
    bomb = b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "ran").encode()
    rewrite(
        tmp_path / FIRST, s000_0__pyd=bomb, s000_0__pickle=bomb, s000_0__pth=bomb, s000_1__jpg=bomb, s000_2__cls=bomb
    )

    def opened(*_, **__):
        raise AssertionError("a pickle was opened")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, opened)
    data = prepared(edit(shards, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 2.0}
    assert len(list(data.train_dataloader())) == data.total_steps
    assert not (tmp_path / "ran").exists()
