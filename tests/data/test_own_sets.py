"""Map-style data sets of plug-ins: what is read of them, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from scaling.config.data import OWN_SETS
from scaling.config.edit import edit, make_config
from scaling.data.datamodule import ImageDataModule
from scaling.data.fingerprints import with_fingerprints
from scaling.data.own_sets import OwnImages, own_splits
from scaling.errors import ConfigError


class Pairs:
    """Images of one colour, of unequal sizes; wrap: what they are given as."""

    def __init__(self, count, wrap=Image.fromarray, label=lambda i, size: i % 3):
        self.count, self.wrap, self.label = count, wrap, label

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        size = (8 + i % 3, 10)
        return self.wrap(np.full((*size, 3), i, np.uint8)), self.label(i, size)


@pytest.fixture
def own(monkeypatch):
    """own(train, test, **fields) -> the configuration of a run on these."""

    def make(train, test, **fields):
        monkeypatch.setitem(OWN_SETS, "pairs", lambda data: (train, test))
        return make_config(
            **{"dataset": "pairs", "img_size": 8, "patch_size": 4, "num_classes": 3, "global_batch_size": 4, **fields}
        )

    return make


def opened(config):
    data = ImageDataModule(config)
    data.setup()
    return data


def test_every_test_image_is_read_once_with_its_label(own):
    data = opened(own(Pairs(9), Pairs(7)))
    batches = list(data.test_dataloader())
    values = torch.cat([batch.pixels[:, 0, 0, 0] for batch in batches])
    assert values.tolist() == list(range(7))
    assert torch.cat([batch.targets.label_B for batch in batches]).tolist() == [i % 3 for i in range(7)]
    assert {batch.pixels.shape[1:] for batch in batches} == {(3, 8, 8)}


@pytest.mark.parametrize(
    "wrap", [Image.fromarray, lambda image: image, lambda image: torch.from_numpy(image).permute(2, 0, 1)]
)
def test_all_forms_of_an_image_are_one_image(own, wrap):
    image, label = OwnImages(Pairs(3, wrap), own(Pairs(4), Pairs(4)), "train").load(2)
    assert (image.size, image.getpixel((0, 0)), label) == ((10, 10), (2, 2, 2), 2)


def test_parts_are_chosen_as_those_of_files_are(own):
    config = own(Pairs(60), Pairs(20), num_train=40, num_val=10, val_split=0.3)
    splits = own_splits(config)
    assert (len(splits.kept) + len(splits.held_out), len(splits.tested)) == (40, 10)
    assert not set(splits.kept) & set(splits.held_out)
    assert (own_splits(edit(config, seed=5)).kept == splits.kept).all()


def test_label_maps_are_segmented(own):
    def label(i, size):
        found = np.full(size, i % 3)
        found[0, 0] = 255
        return found

    config = own(Pairs(4, label=label), Pairs(5, label=label), task="segment")
    data = opened(config)
    batches = list(data.test_dataloader())
    assert [len(batch) for batch in batches] == [1] * 5  # of unequal sizes
    assert batches[4].targets.label_BHW[0].unique().tolist() == [1, 255]
    (first, *_) = data.train_dataloader()
    assert first.pixels.shape == (4, 3, 8, 8)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (Pairs(4, lambda image: image.astype(float)), "pairs, test image 0 is float64 of shape"),
        (Pairs(4, label=lambda i, size: 3), "pairs, test image 0 is of class 3; num_classes 3 has 0 to 2"),
        ([Image.new("RGB", (8, 8))] * 4, "pairs, test image 0 is Image, not a pair"),
    ],
)
def test_an_image_or_a_label_that_cannot_be_used_is_named(own, pairs, said):
    with pytest.raises(ConfigError, match=said):
        list(opened(own(Pairs(4), pairs)).test_dataloader())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "detect", "head": "cascade_mask_rcnn"}, "has no boxes"),
        ({"packing": "sequences"}, "--packing none"),
        ({"global_batch_size": 64}, "larger than the 9 training images"),
        ({"num_val": 80}, "80 images requested, 7 available"),
        ({"num_classes": 4}, "pairs has 3 classes; set --num-classes 3"),
        ({"dataset": "pears"}, "unknown data set 'pears'; did you mean pairs"),
    ],
)
def test_what_does_not_fit_is_refused_by_a_line(own, fields, said):
    train = Pairs(9)
    train.classes = ("a", "b", "c")
    with pytest.raises(ConfigError, match=said):
        opened(own(train, Pairs(7), **fields))


def test_a_data_set_that_cannot_be_opened_is_a_line(own, monkeypatch):
    config = own(Pairs(4), Pairs(4))
    monkeypatch.setitem(OWN_SETS, "pairs", lambda data: Image.open("/nowhere/at/all"))
    with pytest.raises(ConfigError, match="data set pairs cannot be opened"):
        own_splits(config)
    monkeypatch.setitem(OWN_SETS, "pairs", lambda data: (iter(()), iter(())))
    with pytest.raises(ConfigError, match="has no __len__ and __getitem__; give two map-style"):
        own_splits(config)
    monkeypatch.setitem(OWN_SETS, "shapes", lambda data: (Pairs(4), Pairs(4)))
    with pytest.raises(ConfigError, match="shapes has the name of one that is there already"):
        own_splits(edit(config, dataset="shapes"))


def test_the_images_have_no_fingerprint_and_a_version_of_them_is_part_of_the_run(own, tmp_path):
    config = own(Pairs(4), Pairs(4))
    assert with_fingerprints([config], tmp_path) == {config.run_id: config}
    assert edit(config, data_version=2).run_id != config.run_id
