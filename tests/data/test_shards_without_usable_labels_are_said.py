"""WebDataset: what a .cls or a field of .json may hold, names with dots, splits without labels, and _info.json."""

import io
import json
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.config.edit import make_config
from scaling.data.files.webdataset import NONE, _label
from scaling.errors import ConfigError
from tests.pictures import picture, prepared


def write(path, files):
    """A tar of {name: bytes}."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def samples(labels, n=6, image="jpg", label="cls", stem="s"):
    """n samples in colours that say 0, 1, 2, 0, …, and these labels in turn; None: no file of it."""
    files = {}
    for i in range(n):
        files[f"{stem}{i}.{image}"] = picture(i % 3, i)
        if (held := labels[i % len(labels)]) is not None:
            files[f"{stem}{i}.{label}"] = held
    return files


NUMBERS = [b"0", b"1", b"2"]


@pytest.fixture
def shards(tmp_path):
    """shards(train=files, …, info={split: more}) -> the recipe of these splits, a shard each."""

    def written(info=(), **splits):
        listed = {}
        for name, files in splits.items():
            write(tmp_path / f"{name}.tar", files)
            listed[name] = {"name": name, "filenames": [f"{name}.tar"], "shard_lengths": [6], "num_samples": 6}
            listed[name] |= dict(info).get(name, {})
        (tmp_path / "_info.json").write_text(json.dumps({"splits": listed}))
        return make_config(
            dataset="wds/toy",
            data_root=str(tmp_path),
            img_size=8,
            patch_size=4,
            num_classes=3,
            global_batch_size=2,
            epochs=1,
            backbone="deit_nano",
        )

    return written


def refused(config):
    with pytest.raises(ConfigError) as e:
        prepared(config)
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("nothing", [b"-1", b"-100", None])
def test_a_test_split_without_labels_is_passed_over_for_one_that_has_them_and_that_is_said(shards, nothing):
    data = prepared(shards(train=samples(NUMBERS), test=samples([nothing]), validation=samples(NUMBERS)))
    assert data.test_set.label_N.tolist() == [0, 1, 2] * 2
    why = "no label in 6 samples" if nothing is None else "all labels are negative"
    assert data.lines == (f"wds/toy: split test is skipped ({why}); validation is used",)


def test_where_no_split_has_labels_each_is_named(shards):
    said = refused(shards(train=samples(NUMBERS), test=samples([b"-1"])))
    assert "has no test shards with labels (split test: all labels are negative; no split val; " in said
    assert "has no train shards with labels (split train: no label in" in refused(shards(train=samples([None])))


def test_labels_in_words_are_refused_by_the_first(shards):
    words = samples([b"cat", b"dog", b"fox"])
    said = refused(shards(train=words, test=words))
    assert said == (
        "6 of 6 samples have text labels, integers from 0 are expected; the first: train.tar/s0.jpg has no label: "
        "its .cls holds 'cat', which is not a class index"
    )


@pytest.mark.parametrize("held", [b"cat", b"1.5", b"1_0", b'{"label": 1}', b"[0, 1]", b"\xff", b"99999999999999"])
def test_what_is_no_number_is_told_with_its_file_and_value(shards, held):
    files = samples(NUMBERS) | {"s4.cls": held}
    said = refused(shards(train=files, test=samples(NUMBERS)))
    assert said.startswith(
        "1 unreadable train image(s), the first train.tar/s4.jpg: its sample has no label: its .cls "
    )
    assert repr(held[:40].decode(errors="replace")) in said


def test_a_label_may_have_blanks_around_it_and_files_any_case(shards):
    files = samples([b" 0\n", b"1\r\n", b"+2"], image="JPG", label="CLS")
    assert prepared(shards(train=files, test=files)).train_set.label_N.tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize("held", ["2.7", '"cat"', "[1]", "{}", "1e400", "NaN"])
def test_a_field_of_json_that_is_no_number_is_not_rounded_to_one(shards, held):
    files = samples([b'{"k": 0}', b'{"k": 1.0}', b'{"k": "2"}'], label="json")
    both = {"train": {"alt_label": "k"}, "test": {"alt_label": "k"}}
    data = prepared(shards(train=files, test=files, info=both))
    assert data.train_set.label_N.tolist() == [0, 1, 2] * 2
    bad = files | {"s1.json": b'{"k": %s}' % held.encode()}
    said = refused(shards(train=bad, test=files, info=both))
    assert "the first train.tar/s1.jpg: its sample has no label: the field k of its .json holds " in said


def test_without_cls_the_field_of_json_is_asked_for(shards):
    files = samples([b'{"label": 0}', b'{"label": 1}'], label="json")
    said = refused(shards(train=files, test=files))
    assert "no label in 6 samples; their .json may hold it: set alt_label to its field" in said


def test_a_json_without_an_image_is_no_sample(shards):
    data = prepared(shards(train=samples(NUMBERS) | {"about.json": b"{}"}, test=samples(NUMBERS)))
    assert len(data.train_set) == 6
    assert data.lines == ()


def test_names_with_dots_are_refused_and_not_passed_over(shards):
    """webdataset takes a name up to its first dot for the sample's: img.0.jpg and img.1.jpg are one sample."""
    dotted = samples(NUMBERS, stem="img.")
    said = refused(shards(train=dotted, test=samples(NUMBERS)))
    assert (
        "train.tar has 6 image(s) with a dot in the name, such as img.0.jpg: the name of a sample ends at its first"
        in said
    )
    some = samples(NUMBERS) | samples([b"1"], stem="img.", n=1)
    assert "has 1 image(s) with a dot in the name" in refused(shards(train=some, test=samples(NUMBERS)))


def test_of_several_images_of_a_sample_the_first_kind_is_taken_and_others_are_no_images(shards):
    files = {}
    for name, held in samples(NUMBERS).items():
        files[name] = held
        if name.endswith("jpg"):
            files[name.replace("jpg", "seg.png")] = b"a mask"
            files[name.replace("jpg", "png")] = b"another"
    data = prepared(shards(train=files, test=samples(NUMBERS)))
    assert (len(data.train_set), data.skipped) == (6, {})


def test_dots_in_folders_are_no_part_of_a_name(shards):
    files = {f"v1.0/a.b/{name}": held for name, held in samples(NUMBERS).items()}
    assert len(prepared(shards(train=files, test=files)).train_set) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"has no train shards: _info\.json is expected there"),
        ("{", r"_info\.json is not valid JSON \("),
        ("[" * 100_000, r"_info\.json is not valid JSON \("),
        ("[1]", r"_info\.json has no splits"),
        ('{"splits": ["train"]}', r"_info\.json has no splits"),
        ('{"splits": {"train": 3}}', r"has no train shards with labels \(split train has no samples"),
        ('{"splits": {"train": {"filenames": "train.tar"}}}', r"filenames of split train is not a list of names"),
        ('{"splits": {"train": {"filenames": [3]}}}', r"filenames of split train is not a list of names"),
        ('{"splits": {"train": {"filenames": ["train.tar", "train.tar"]}}}', r"split train names train\.tar twice"),
        ('{"splits": {"train": {"filenames": ["train.tar"], "alt_label": 3}}}', r"alt_label of split train is 3"),
        ('{"splits": {"train": {"filenames": ["none.tar"]}}}', r"none\.tar cannot be read whole \(No such file"),
        ('{"splits": {"train": {"filenames": ["pipe:touch x"]}}}', r"cannot be read whole \(No such file"),
        ('{"splits": {"trains": {"filenames": ["train.tar"]}}}', r"no split train; no split training"),
    ],
)
def test_a_list_of_shards_that_cannot_be_used_is_named(shards, tmp_path, text, said):
    config = shards(train=samples(NUMBERS), test=samples(NUMBERS))
    (tmp_path / "_info.json").unlink()
    if text is not None:
        (tmp_path / "_info.json").write_text(text)
    with pytest.raises(ConfigError, match=said) as e:
        prepared(config)
    assert "\n" not in str(e.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_list_of_shards_needs_no_more_than_their_names(shards, tmp_path, encoding):
    config = shards(train=samples(NUMBERS), test=samples(NUMBERS))
    listed = {name: {"filenames": [f"{name}.tar"]} for name in ("train", "test")}
    (tmp_path / "_info.json").write_text(json.dumps({"splits": listed}), encoding)
    assert len(prepared(config).train_set) == 6


def test_another_number_of_samples_than_the_list_says_is_told(shards):
    data = prepared(shards(train=samples(NUMBERS, n=5), test=samples(NUMBERS)))
    assert data.lines[0].endswith("_info.json lists 6 samples in split train, the shards have 5")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=12), st.sampled_from(["", "k"]))
def test_whatever_stands_for_a_label_is_a_number_or_is_shown(held, field):
    label, instead = _label([held], field)
    assert (label == NONE) or not instead
    assert "\n" not in instead
