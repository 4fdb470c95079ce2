"""Packed images as the data module hands them out: which images, at which sizes, whoever reads them."""

import numpy as np
import pytest
import torch
from PIL import Image

from scaling.config.edit import edit
from scaling.config.step_shapes import StepShape
from scaling.data.batch import Split
from scaling.data.datamodule import ImageDataModule
from scaling.data.packed_classification import ClassView
from scaling.data.packed_dataset import PackedImageSet
from scaling.errors import ConfigError
from scaling.packing.packed_images import PackedImages
from scaling.rng import SampleKey


@pytest.fixture
def packed(tiny):
    return edit(tiny, packing="sequences", image_sizes="8-24", pos_embed="sincos", patch_size=4, augment="flip")


def set_up(config, micro_batches=1):
    data = ImageDataModule(config)
    data.setup()
    data.micro_batches = micro_batches
    return data


def images_of(batch):
    """{image number: (grid, bytes of its patches)} of a batch."""
    if batch.rows is None:
        patches = batch.pixels.unfold(2, 4, 4).unfold(3, 4, 4)  # (B, C, h, w, p, p)
        grids = [tuple(patches.shape[2:4])] * len(batch)
        parts = [x.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1) for x in patches]
    else:
        grids = batch.rows.grids
        parts = batch.pixels.split([h * w for h, w in grids])
    return {key: (grid, x.numpy().tobytes()) for key, grid, x in zip(batch.keys, grids, parts, strict=True)}


def test_micro_batches_hold_the_images_of_the_whole_batch_at_the_same_sizes(packed):
    whole = [images_of(batch) for batch in set_up(packed).train_dataloader()]
    parts = [images_of(batch) for batch in set_up(packed, 4).train_dataloader()]
    joined = [{k: v for part in parts[4 * n : 4 * n + 4] for k, v in part.items()} for n in range(len(whole))]
    assert joined == whole
    assert len({grid for batch in whole for grid, _ in batch.values()}) > 3


def test_all_images_of_a_step_may_share_a_size(packed):
    packed = edit(packed, image_sizes_per="batch")
    whole = [images_of(batch) for batch in set_up(packed).train_dataloader()]
    parts = [images_of(batch) for batch in set_up(packed, 4).train_dataloader()]
    joined = [{k: v for part in parts[4 * n : 4 * n + 4] for k, v in part.items()} for n in range(len(whole))]
    assert joined == whole
    grids = [{grid for grid, _ in batch.values()} for batch in whole]
    assert {len(of_step) for of_step in grids} == {1}
    assert len(set().union(*grids)) > 2
    other = [images_of(batch) for batch in set_up(edit(packed, seed=1)).train_dataloader()]
    assert [{grid for grid, _ in batch.values()} for batch in other] != grids


def test_an_image_has_other_sizes_in_other_epochs_and_with_another_seed(packed):
    def grids(config):
        found = {}
        for batch in set_up(config).train_dataloader():
            found |= {key: grid for key, (grid, _) in images_of(batch).items()}
        return found

    once, again, other = grids(packed), grids(packed), grids(edit(packed, seed=1))
    assert once == again
    assert any(once[key] != other[key] for key in once.keys() & other.keys())
    of_epochs = [{key.image: grid for key, grid in once.items() if key.epoch == epoch} for epoch in (0, 1)]
    assert of_epochs[0].keys() == of_epochs[1].keys()
    assert of_epochs[0] != of_epochs[1]


def test_test_images_have_the_size_that_is_asked_for_or_their_own(packed):
    data = set_up(edit(packed, eval_img_sizes=(8,)))
    for size in (16, 8):
        data.evaluated_size = size
        for batch in data.test_dataloader():
            assert batch.rows is None  # square images of one size need no packing
            assert tuple(batch.pixels.shape[1:]) == (3, size, size)
    native = next(iter(set_up(edit(packed, image_sizes="native")).test_dataloader()))
    assert tuple(native.pixels.shape[1:]) == (3, 16, 16)


def test_the_class_tokens_of_the_backbone_have_places_in_the_rows(packed):
    for backbone, places in (("deit_nano", (1, 0)), ("adventurer_nano", (0, 1))):
        batch = next(iter(set_up(edit(packed, backbone=backbone)).train_dataloader()))
        assert (batch.rows.leading, batch.rows.trailing) == places
        assert isinstance(batch.images, PackedImages)
        assert len(batch.images) == len(batch) == 16


def pictures(*sizes):
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in sizes]


def of(images, config, split=Split.VAL):
    return PackedImageSet(lambda i: (images[i], i % 3), len(images), ClassView(), config, split)


def test_an_image_keeps_its_shape_and_its_pixels_at_its_own_size(packed):
    images = pictures((8, 24), (16, 12), (4, 4))
    batch = of(images, edit(packed, image_sizes="native")).get_batch([SampleKey(0, i) for i in range(3)])
    assert batch.rows.grids == ((2, 6), (4, 3), (1, 1))
    assert batch.targets.label_B.tolist() == [0, 1, 2]
    first = batch.pixels[:12].view(2, 6, 3, 4, 4).permute(2, 0, 3, 1, 4).reshape(3, 8, 24)
    assert torch.equal(first, torch.from_numpy(np.asarray(images[0]).transpose(2, 0, 1).copy()))
    for image, image_CHW in zip(images, batch.images.images(), strict=True):
        assert np.array_equal(image_CHW.permute(1, 2, 0), image)


def test_or_becomes_a_square_of_as_many_pixels(packed):
    images = pictures((8, 24), (16, 12), (36, 4))
    squares = edit(packed, keep_aspect_ratio=False)
    batch = of(images, edit(squares, image_sizes="native")).get_batch([SampleKey(0, i) for i in range(3)])
    assert tuple(batch.pixels.shape) == (3, 3, 12, 12)  # of 192, 192 and 144 pixels, in patches of 4 px
    for measure in ("area", "side"):
        sized = of(images, edit(squares, size_measure=measure)).get_batch([SampleKey(0, 0)])
        assert tuple(sized.pixels.shape) == (1, 3, 16, 16)


def test_an_image_with_more_tokens_than_a_row_is_reduced_or_refused(packed):
    images = pictures((80, 40), (8, 8))
    keys = [SampleKey(0, 0), SampleKey(0, 1)]
    short = edit(packed, image_sizes="native", sequence_length=33)
    assert of(images, short).get_batch(keys).rows.grids == ((8, 4), (2, 2))
    with pytest.raises(ConfigError, match=r"^an image of 80 x 40 px has 200 patches, and a row of sequence_length 33"):
        of(images, edit(short, on_large_image="stop")).get_batch(keys)


def test_images_of_a_step_of_one_size_keep_their_shapes(packed):
    images, keys = pictures((32, 8), (16, 16), (12, 20)), [SampleKey(0, i) for i in range(3)]
    data = of(images, edit(packed, image_sizes_per="batch"), Split.TRAIN)
    assert data.get_batch(keys, StepShape(4, 12)).rows.grids == ((6, 2), (3, 3), (2, 4))


def test_no_image_is_a_batch_of_none(packed):
    batch = of(pictures((8, 8)), packed).get_batch([])
    assert len(batch) == 0
    assert batch.pixels.shape == (0, 3, 16, 16)


def test_a_training_image_is_flipped_as_a_whole(packed):
    images = pictures(*[(8, 12)] * 12)
    keys = [SampleKey(0, i) for i in range(12)]
    native = edit(packed, image_sizes="native")
    plain, flipped = (of(images, native, split).get_batch(keys).pixels for split in (Split.VAL, Split.TRAIN))
    same = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    mirrored = [torch.equal(a.flip(2), b) for a, b in zip(plain, flipped, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 0 < sum(same) < 12
