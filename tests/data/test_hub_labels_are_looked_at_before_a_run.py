"""Hugging Face data sets: which column is of images and which of labels, what labels may be, and splits without any."""

import numpy as np
import pytest

from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.data.files.image_folder import Files
from scaling.engine.train import train
from scaling.errors import ConfigError
from tests.pictures import picture, prepared

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
NAMES = ["cat", "dog", "fox"]
CLASSES = datasets.ClassLabel(names=NAMES)
INT = datasets.Value("int64")


def split(labels, feature, image="image", label="label", n=6, **more):
    """n images in colours that say 0, 1, 2, 0, …, and these labels in turn."""
    rows = {
        image: [{"bytes": picture(i % 3, i), "path": None} for i in range(n)],
        label: [labels[i % len(labels)] for i in range(n)],
        **{name: [value] * n for name, (value, _) in more.items()},
    }
    features = {image: datasets.Image(), label: feature, **{name: kind for name, (_, kind) in more.items()}}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


@pytest.fixture
def hub(monkeypatch):
    """hub(train=…, test=…) -> the recipe of a data set of these splits, which load_dataset gives."""

    def holds(**splits):
        def load_dataset(name, split, cache_dir):
            if split not in splits:
                raise ValueError(f'Unknown split "{split}".\nThere are others.')
            return splits[split]

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return make_config(
            dataset="hfds/pets",
            img_size=8,
            patch_size=4,
            num_classes=3,
            global_batch_size=2,
            epochs=1,
            backbone="deit_nano",
        )

    return holds


def refused(config):
    with pytest.raises(ConfigError) as e:
        prepared(config)
    assert "\n" not in str(e.value)
    return str(e.value)


def right(data):
    """Whether labels are 0, 1, 2 by the images' colours."""
    pixel_N = data.image_NCHW[:, 0, 4, 4].numpy().astype(int)
    return np.abs(pixel_N - (60 + 60 * data.label_N.numpy())).max() < 4


@pytest.mark.parametrize("nothing", [-1, -100, None])
@pytest.mark.parametrize("feature", [CLASSES, INT])
@pytest.mark.parametrize("labelled", ["val", "validation"])
def test_a_test_split_without_labels_is_passed_over_for_one_that_has_them_and_that_is_said(
    hub, nothing, feature, labelled
):
    tested = split([0, 1, 2], feature, n=9)
    bare = split([nothing], INT).cast_column("label", feature)
    data = prepared(hub(train=split([0, 1, 2], feature), test=bare, **{labelled: tested}))
    assert (len(data.train_set), len(data.test_set)) == (6, 9)
    skipped = "hfds/pets: split test is skipped (column label has no label in 6 rows)"
    assert data.lines == (f"{skipped}; {labelled} is used",)


@pytest.mark.parametrize("labelled", [True, False])
def test_where_no_split_has_labels_each_is_named_and_nothing_is_written(hub, tmp_path, labelled):
    bare = split([-1], CLASSES)
    config = hub(train=split([0, 1, 2], CLASSES) if labelled else bare, test=bare)
    named = "test" if labelled else "train"
    said = rf"^hfds/pets has no {named} images with labels \({named}: column label has no label in 6 rows;"
    with pytest.raises(ConfigError, match=said) as e:
        train(config, tmp_path / "results", RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_labels_that_begin_at_1_are_refused_with_what_would_do(hub):
    bad = split([1, 2, 3], INT)
    said = refused(hub(train=bad, test=bad))
    wanted = (
        "train has a label 3 in column label, the recipe 3 classes (0 to 2); labels start at 1: renumber them from 0, "
    )
    assert said == wanted + "or set --num-classes 4"
    data = prepared(edit(hub(train=bad, test=bad), num_classes=4))
    assert data.lines == ("1 of 4 classes have no training images: 0",)


@pytest.mark.parametrize("strange", [3, 255, 2**40])
@pytest.mark.parametrize("where", ["train", "test"])
def test_a_label_that_is_no_class_is_refused_in_either_split(hub, strange, where):
    splits = {name: split([0, 1, strange if name == where else 2], INT) for name in ("train", "test")}
    assert refused(hub(**splits)).startswith(f"{where} has a label {strange} in column label, the recipe 3 classes")


def test_numbers_that_were_cast_to_names_they_do_not_have_are_refused(hub):
    """datasets #8494: casting looks at no number."""
    bad = split([0, 1, 5], INT).cast_column("label", CLASSES)
    assert refused(hub(train=bad, test=bad)).startswith("train has a label 5 in column label, the recipe 3 classes")


@pytest.mark.parametrize(
    ("feature", "labels", "names"),
    [
        (CLASSES, [0, 1, 2], tuple(NAMES)),
        (INT, [0, 1, 2], ()),
        (datasets.Value("uint8"), [0, 1, 2], ()),
        (datasets.Value("float64"), [0.0, 1.0, 2.0], ()),
        (datasets.Value("string"), ["cat", "dog", "fox"], tuple(NAMES)),
        (datasets.Value("large_string"), ["2", "9", "10"], ("2", "9", "10")),
    ],
)
def test_labels_may_be_numbers_or_names(hub, feature, labels, names):
    data = prepared(hub(train=split(labels, feature), test=split(labels, feature)))
    assert data.names == names
    assert right(data.train_set)
    assert right(data.test_set)


def test_a_truth_value_is_one_of_two_classes(hub):
    both = split([False, True], datasets.Value("bool"))
    data = prepared(edit(hub(train=both, test=both), num_classes=2))
    assert data.train_set.label_N.tolist() == [0, 1] * 3


def test_names_in_a_test_split_are_numbered_as_in_training(hub):
    text = datasets.Value("string")
    data = prepared(hub(train=split(NAMES, text), test=split(["cat", "fox"], text, n=2)))
    assert data.test_set.label_N.tolist() == [0, 2]
    said = refused(hub(train=split(NAMES, text), test=split(["cat", "owl", "fox"], text)))
    assert said == "train has 3 classes and test 3; only in train: dog; only in test: owl"
    four = hub(train=split([*NAMES, "owl"], text, n=8), test=split(NAMES, text))
    assert refused(four) == "the data has 4 classes, the recipe 3; set --num-classes 4"


@pytest.mark.parametrize(
    ("feature", "labels", "said"),
    [
        (datasets.Value("float32"), [0.0, 0.5], r"column label of split train has the label 0\.5: integers"),
        (
            datasets.Sequence(INT),
            [[0], [1, 2]],
            r"column label of split train has the type list.*first value \[0\]\): one class",
        ),
        ({"x": INT}, [{"x": 1}], r"column label of split train has the type struct.*one class per image"),
        (datasets.Value("binary"), [b"cat"], r"column label of split train has the type binary \(first value b'cat'\)"),
    ],
)
def test_what_is_no_class_of_an_image_is_named_with_its_column_and_value(hub, feature, labels, said):
    bad = split(labels, feature)
    with pytest.raises(ConfigError, match="^hfds/pets: " + said) as e:
        prepared(hub(train=bad, test=bad))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("feature", "labels"),
    [
        (INT, [0, 1, None]),
        (CLASSES, [0, 1, -1]),
        (INT, [0, 1, -100]),
        (datasets.Value("string"), ["cat", "dog", None]),
        (datasets.Value("string"), ["cat", "dog", ""]),
        (datasets.Value("float64"), [0, 1, float("nan")]),
    ],
)
def test_images_without_a_label_among_others_stop_a_run_or_are_left_out_and_counted(hub, feature, labels):
    names = ["cat", "dog", "fox"] if labels[0] == "cat" else [0, 1, 2]
    whole = split(names, feature)
    r = hub(train=split([*labels, *names], feature, n=12), test=whole)
    assert refused(r).startswith("2 unreadable train image(s), the first train image 2: no label in column label")
    data = prepared(edit(r, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 2.0}
    assert len(data.train_set) == 10
    assert right(data.train_set)


def test_an_image_that_is_not_there_is_left_out_like_one_that_cannot_be_read(hub):
    whole = split([0, 1, 2], CLASSES)
    rows = [*whole.with_format("arrow")[:]["image"].to_pylist()]
    rows[4] = None
    holed = whole.remove_columns("image").add_column("image", rows).cast_column("image", datasets.Image())
    r = hub(train=holed, test=whole)
    assert refused(r).startswith("1 unreadable train image(s), the first train image 4: column image is empty")
    assert len(prepared(edit(r, on_bad_image="skip")).train_set) == 5


@pytest.mark.parametrize(("image", "label"), [("img", "label"), ("picture", "fine_label"), ("image", "labels")])
def test_columns_of_other_names_are_found_where_there_is_one_of_a_kind(hub, image, label):
    """cifar10's column is img (transformers #24506), cifar100's fine_label."""
    both = split([0, 1, 2], CLASSES, image, label, filename=("a.png", datasets.Value("string")))
    data = prepared(hub(train=both, test=both))
    assert right(data.train_set)
    assert data.names == tuple(NAMES)


def test_a_column_of_plain_numbers_is_found_by_its_usual_names(hub):
    both = split([0, 1, 2], INT, label="target", width=(20, INT))
    assert right(prepared(hub(train=both, test=both)).train_set)


def test_columns_that_may_each_be_meant_are_named(hub):
    both = split([0, 1, 2], CLASSES, "img", "fine_label", coarse_label=(0, datasets.ClassLabel(names=["a"])))
    said = refused(hub(train=both, test=both))
    assert said == (
        "hfds/pets: split train has 2 label columns, fine_label, coarse_label; name the one to use label "
        "(rename_column, then to_parquet)"
    )
    nothing = split([0, 1, 2], INT, label="species")
    assert "(train: no label column: columns are image, species; name the one" in refused(
        hub(train=nothing, test=nothing)
    )
    pixel = {"bytes": picture(0, 0), "path": None}
    pair = split([0, 1, 2], CLASSES, "left", right=(pixel, datasets.Image()))
    assert "split train has 2 image columns, left, right; name" in refused(hub(train=pair, test=pair))
    blind = (
        split([0, 1, 2], CLASSES)
        .rename_column("image", "picture")
        .cast_column("picture", {"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    )
    assert "has no image column: columns are picture, label" in refused(hub(train=blind, test=blind))


def test_a_test_split_without_the_column_of_labels_is_passed_over_too(hub):
    whole = split([0, 1, 2], CLASSES)
    data = prepared(hub(train=whole, test=whole.remove_columns("label"), validation=whole))
    assert data.lines == (
        "hfds/pets: split test is skipped (no label column: columns are image; name the one to use label "
        "(rename_column, then to_parquet)); validation is used",
    )


def test_a_column_of_numbers_called_image_is_refused(hub):
    numbers = datasets.Dataset.from_dict({"image": [1, 2], "label": [0, 1]})
    assert refused(hub(train=numbers, test=numbers)).startswith(
        "hfds/pets: column image of split train has the type Value"
    )


def test_a_file_without_the_hubs_own_types_is_read_by_its_columns_names(hub):
    whole = split([0, 1, 2], INT)
    plain = whole.cast_column("image", {"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    assert right(prepared(hub(train=plain, test=plain)).train_set)


def test_a_set_of_one_class_has_nothing_to_tell_apart(hub):
    one, whole = split([1], CLASSES), split([0, 1, 2], CLASSES)
    assert refused(hub(train=one, test=whole)) == "all 6 training images have class 1: at least two classes are needed"
    two = split([0, 2], CLASSES)
    assert prepared(hub(train=two, test=whole)).lines == ("1 of 3 classes have no training images: 1 (dog)",)


def test_a_parquet_file_a_split_is_read_without_a_network(tmp_path):
    """As the hub stores them, columns as in cifar10; the files' labels are those of the images."""
    (tmp_path / "pets").mkdir()
    split([0, 1, 2], CLASSES, "img").to_parquet(tmp_path / "pets" / "train.parquet")
    split([-1], CLASSES, "img").to_parquet(tmp_path / "pets" / "test.parquet")
    split([0, 1, 2], CLASSES, "img", n=3).to_parquet(tmp_path / "pets" / "validation.parquet")
    kind = f"hfds/{tmp_path / 'pets'}"
    files = Files(str(tmp_path / "cache"), "test", kind)
    assert (len(files), files.names, files.labels.tolist()) == (3, NAMES, [0, 1, 2])
    assert "split test is skipped (column label has no label in 6 rows); validation is used" in files.lines[0]
