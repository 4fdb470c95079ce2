"""COCO's layout read for segmentation: label maps against pixels painted one by one, and what is refused."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from scaling.config.edit import edit, make_config
from scaling.data.batch import IGNORE_INDEX
from scaling.data.coco.coco_label_maps import label_map
from scaling.data.coco.instance_store import ImageObjects
from scaling.data.datamodule import ImageDataModule
from scaling.data.files.dataset_files import check_counts
from scaling.errors import ConfigError
from tests.coco_folder import SIZES, TESTED, filled, json_path, write_folder


def objects_of(masks, labels, crowds):
    boxes, areas = np.zeros((len(masks), 4), np.float32), np.array([mask.sum() for mask in masks], np.float32)
    counts = [coco_mask.encode(np.asfortranarray(mask))["counts"] for mask in masks]
    return ImageObjects(0, masks[0].shape, boxes, np.array(labels), np.array(crowds, bool), areas, counts)


def painted(masks, labels, crowds):
    """The class of the smallest object at each pixel, by a look at each."""
    label_HW = np.zeros(masks[0].shape, np.uint8)
    for y, x in np.ndindex(*label_HW.shape):
        covering = [n for n, mask in enumerate(masks) if mask[y, x]]
        here = [(masks[n].sum(), 1 + labels[n]) for n in covering if not crowds[n]]
        crowded = any(crowds[n] for n in covering)
        label_HW[y, x] = min(here)[1] if here else IGNORE_INDEX if crowded else 0
    return label_HW


def test_a_pixel_has_the_class_of_the_smallest_object_and_none_in_a_crowd():
    size = (20, 30)
    masks = [
        filled(size, 4, 4, 6, 6),
        filled(size, 2, 2, 12, 14),
        filled(size, 0, 0, 25, 8),
        filled(size, 12, 10, 3, 9),
    ]
    labels, crowds = [2, 0, 1, 1], [False, False, True, False]
    found = label_map(objects_of(masks, labels, crowds))
    np.testing.assert_array_equal(found, painted(masks, labels, crowds))
    assert set(np.unique(found)) == {0, 1, 2, 3, IGNORE_INDEX}


@pytest.fixture
def config(tmp_path):
    fields = {"dataset": "coco", "data_root": str(write_folder(tmp_path)), "num_classes": 4, "global_batch_size": 2}
    return make_config(task="segment", backbone="deit_nano", img_size=16, patch_size=4, packing="sequences", **fields)


def test_a_folder_is_read_as_packed_images_with_their_label_maps(config):
    data = ImageDataModule(config)
    data.setup()
    assert data.names == ("background", "cat", "cow", "brush")
    assert (len(data.train_set), len(data.test_set)) == (len(SIZES), len(TESTED))
    labels = [label for batch in data.test_dataloader() for label in batch.targets.labels]
    assert [tuple(label.shape) for label in labels] == list(TESTED)
    assert {0, 1, 2, 3, IGNORE_INDEX} == set(labels[0].unique().tolist())


def test_the_number_of_classes_has_the_background_in_it(config):
    with pytest.raises(
        ConfigError, match=r"has 4 classes, its categories and the background, the recipe 3; set --num-classes 4$"
    ):
        check_counts(edit(config, num_classes=3))


def test_a_mask_that_cannot_be_read_is_named_before_a_run(config, tmp_path):
    file = json_path(tmp_path, "train2017")
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = {"size": [30, 80], "counts": [5, 5]}
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"has a mask that cannot be read \(10 pixels, its image has 2400\)"):
        ImageDataModule(config).setup()
