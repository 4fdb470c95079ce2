"""Images with boxes and masks as a task gets them, from files and from the embedded set."""

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from scaling.config.edit import edit
from scaling.config.task import JITTERS
from scaling.costs.token_counts import size_multiple
from scaling.data import detection
from scaling.data.batch import Batch, Split
from scaling.data.generated import generated_shapes
from scaling.data.open_sets import open_sets
from scaling.errors import ConfigError
from scaling.rng import SampleKey
from tests.coco_folder import SIZES as STORED
from tests.coco_folder import recipe_of, write_folder, write_split
from tests.data.test_segmentation_data import hollow
from tests.pictures import BAD_FILES, prepared

AUGMENTS = ("none", "flip", *JITTERS)
LISTS = ("boxes", "labels", "masks", "crowd")


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path)


@pytest.fixture
def config(root):
    return recipe_of(root)


@pytest.fixture
def embedded(config):
    return edit(
        config, dataset="shapes", data_root=None, num_classes=3, max_objects=4, num_train=300, num_val=5, img_size=32
    )


@pytest.fixture
def on_disk(monkeypatch):
    return lambda: monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 1000)


def same(ours, theirs) -> bool:
    """Are two batches, or parts of them, one to the last byte?"""
    if isinstance(ours, torch.Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, Batch):
        return same(vars(ours), vars(theirs))
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


def one_by_one(batch):
    """What there is of each image, without what it is filled up with."""
    for i, (height, width) in enumerate(batch.targets.size_B2.tolist()):
        lists = [getattr(batch.targets, name)[i] for name in LISTS]
        lists[2] = lists[2][:, :height, :width]
        yield [batch.pixels[i, :, :height, :width], *lists]


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("data", ["folder", "shapes"])
def test_what_a_model_gets_of_an_image_follows_from_the_draw_and_not_from_the_batch(config, embedded, augment, data):
    r = edit(config if data == "folder" else embedded, augment=augment, drop_path=0.1, seed=3, resize_short=40)
    train = open_sets(detection.DetectionSource(), r).train
    draws = [SampleKey(epoch, i) for i in (4, 2, 0) for epoch in (0, 1)]
    whole, back = train.get_batch(draws), train.get_batch(draws[::-1])
    parts = [train.get_batch(draws[a:b]) for a, b in ((0, 1), (1, 4), (4, 6))]
    assert same(whole, train.get_batch(draws))
    assert whole.keys == [key for part in parts for key in part.keys] == draws
    for ours, *others in zip(
        one_by_one(whole), [x for p in parts for x in one_by_one(p)], [*one_by_one(back)][::-1], strict=True
    ):
        assert all(same(ours, theirs) for theirs in others)
    assert whole.pixels.dtype == torch.uint8
    assert all(side % size_multiple(r) == 0 for side in whole.pixels.shape[2:])
    assert whole.targets.truth == ()
    many = [SampleKey(epoch, 1) for epoch in range(16)]
    other = open_sets(detection.DetectionSource(), edit(r, seed=4)).train.get_batch(many)
    assert same(train.get_batch(many), other) == (augment == "none")


@pytest.mark.parametrize("augment", AUGMENTS)
def test_in_memory_on_disk_and_in_workers_a_run_sees_the_same(config, on_disk, augment):
    r = edit(config, augment=augment, drop_path=0.1)
    memory = prepared(r)
    on_disk()
    disk, helped = prepared(r), prepared(r, num_workers=2)
    assert not memory.train_set.in_memory  # scaling takes time: that is for workers
    for name, batches in (("train_dataloader", 4), ("test_dataloader", 2)):
        seen = [list(getattr(data, name)()) for data in (memory, disk, helped)]
        assert len(seen[0]) == batches
        for ours, *others in zip(*seen, strict=True):
            assert all(same(ours, theirs) for theirs in others)
            assert (name == "test_dataloader") == bool(ours.targets.truth)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_views_leave_everybody_elses_random_numbers_alone(config, augment):
    train = open_sets(detection.DetectionSource(), edit(config, augment=augment)).train
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train.get_batch([SampleKey(0, 0)])
    assert torch.equal(torch.rand(3), wanted)


def test_crowds_are_served_as_such_and_empty_images_without_objects(config):
    train = open_sets(detection.DetectionSource(), edit(config, filter_empty_gt=False, resize_short=40)).train
    batch = train.get_batch([SampleKey(0, i) for i in range(6)])
    for i, size in enumerate(STORED):
        n = 0 if i == 4 else 4
        assert batch.targets.labels[i].tolist() == [0, 2, 1, 1][:n]
        assert batch.targets.crowd[i].tolist() == [False, False, False, True][:n]
        assert batch.targets.masks[i].shape == (n, *batch.pixels.shape[2:])
        assert min(batch.targets.size_B2[i].tolist()) == 40
        assert batch.targets.size_B2[i, 0] * size[1] == pytest.approx(
            int(batch.targets.size_B2[i, 1]) * size[0], rel=0.02
        )


def test_at_their_own_size_objects_are_as_the_file_has_them(config):
    data = prepared(edit(config, resize_short=40))
    batch = data.test_set.get_batch([SampleKey(0, 0), SampleKey(0, 2), SampleKey(0, 1)])
    assert batch.pixels.shape == (3, 3, 96, 64)
    assert batch.targets.size_B2.tolist() == [[40, 60], [70, 40], [40, 60]]
    for i, truth in enumerate(batch.targets.truth):
        height, width = truth.size
        assert torch.equal(batch.targets.boxes[i], truth.boxes_n4)
        assert torch.equal(batch.targets.labels[i], truth.label_n)
        assert torch.equal(batch.targets.crowd[i], truth.crowd_n)
        assert [int(m.sum()) for m in batch.targets.masks[i]] == truth.area_n.tolist()
        for mask_HW, text in zip(batch.targets.masks[i], truth.masks, strict=True):
            assert np.array_equal(mask_HW[:height, :width], coco_mask.decode(text))


@pytest.mark.parametrize("augment", AUGMENTS)
def test_the_truth_is_at_the_images_own_size_however_it_is_shown(config, augment):
    wanted = prepared(config).test_set.get_batch([SampleKey(0, i) for i in range(3)])
    found = prepared(edit(config, resize_short=77, max_long=90, augment=augment)).test_set
    batch = found.get_batch([SampleKey(0, i) for i in range(3)])
    assert same(batch.targets.truth, wanted.targets.truth)
    assert batch.targets.size_B2.tolist() == [[60, 90], [60, 90], [90, 51]]
    assert found.split is Split.VAL
    for boxes, truth, (height, width) in zip(
        batch.targets.boxes, batch.targets.truth, batch.targets.size_B2.tolist(), strict=True
    ):
        scale = torch.tensor([width / truth.size[1], height / truth.size[0]]).repeat(2)
        assert torch.allclose(boxes, truth.boxes_n4 * scale, atol=1e-3)


def test_only_test_images_of_one_padded_size_share_a_batch(config):
    data = prepared(config)
    assert data.test_set.sizes == [(32, 64), (32, 64), (64, 32)]  # 32 x 48, 32 x 48 and 56 x 32 px
    assert [[t.image_id for t in b.targets.truth] for b in data.test_dataloader()] == [[100, 103], [106]]
    assert data.train_set.sizes == []


def test_crops_have_one_size_and_patches_of_any_size_tile_a_batch(config):
    r = edit(config, augment="lsj", img_size=96, patch_size=12)
    batches = [prepared(r).train_set.get_batch([SampleKey(epoch, 0)]) for epoch in range(9)]
    assert all(batch.pixels.shape == (1, 3, 96, 96) for batch in batches)
    assert len({tuple(batch.targets.size_B2[0].tolist()) for batch in batches}) > 6  # another crop in every epoch
    assert all((batch.targets.size_B2 <= 96).all() for batch in batches)
    batch = prepared(edit(r, img_size=48, patch_size=12)).train_set.get_batch([SampleKey(0, 0)])
    assert batch.pixels.shape == (1, 3, 96, 96)


@pytest.mark.parametrize("damage", BAD_FILES)
@pytest.mark.parametrize("disk", [False, True])
def test_an_unreadable_file_stops_the_run_or_is_left_out_and_counted(root, config, on_disk, disk, damage):
    if disk:
        on_disk()
    for name in ("train2017/1", "val2017/1"):
        (root / f"{name}.png").write_bytes(BAD_FILES[damage]())
    with pytest.raises(ConfigError, match=r"1 unreadable train image.*train2017.1\.png: .*--on-bad-image skip"):
        prepared(config)
    data = prepared(edit(config, on_bad_image="skip"))
    assert data.skipped == {"skipped_train": 1.0, "skipped_test": 1.0}
    assert [len(b.targets.boxes) for b in data.train_dataloader()] == [3] * data.total_steps
    assert [t.image_id for b in data.test_dataloader() for t in b.targets.truth] == [100, 106]
    assert data.train_set.objects.image_id_I.tolist() == [100, 106, 109, 115]


def test_when_no_file_can_be_read_there_is_nothing_to_skip_to(root, config):
    for path in (root / "val2017").iterdir():
        path.write_bytes(b"no")
    with pytest.raises(ConfigError, match="none of the 3 test images"):
        prepared(edit(config, on_bad_image="skip"))


def test_a_file_that_passes_the_check_and_fails_later_is_replaced_in_training_and_counted(root, config, on_disk):
    on_disk()
    data = prepared(edit(config, on_bad_image="skip", drop_path=0.1))
    for name in ("train2017/1", "train2017/2", "val2017/1"):
        path = root / f"{name}.png"
        path.write_bytes(hollow(Image.open(path)))
    batch = data.train_set.get_batch([SampleKey(0, i) for i in range(3)])
    assert (batch.skipped, len(batch.targets.boxes), len(batch)) == (2, 3, 3)
    (fourth,) = one_by_one(data.train_set.get_batch([SampleKey(0, 3)]))
    for found in list(one_by_one(batch))[1:]:
        assert same(found, fourth)  # the next that can be read, and its objects
    alone = data.test_set.get_batch([SampleKey(0, 1)])
    assert (alone.skipped, alone.pixels.shape, alone.targets.size_B2.shape) == (1, (0, 3, 32, 32), (0, 2))
    assert alone.targets.boxes == alone.targets.labels == alone.targets.masks == alone.targets.crowd == []
    assert alone.targets.truth == ()
    two = data.test_set.get_batch([SampleKey(0, 0), SampleKey(0, 1)])
    assert (two.skipped, [t.image_id for t in two.targets.truth], len(two.targets.boxes)) == (1, [100], 1)
    data.train_set.config = config
    with pytest.raises(ConfigError, match=r"unreadable image \S*1\.png: .*--on-bad-image skip"):
        data.train_set.get_batch([SampleKey(0, 1)])


def test_grey_images_and_palettes_are_colours_too(root, config):
    write_split(root, "train2017", ((40, 60),) * 3)
    grey = Image.new("RGB", (60, 40), (9, 9, 9))
    for i, image in enumerate((grey.convert("L"), grey.quantize(2), grey.convert("RGBA"))):
        image.save(root / "train2017" / f"{i}.png")
    batch = prepared(config).train_set.get_batch([SampleKey(0, i) for i in range(3)])
    for image, *_ in one_by_one(batch):
        assert (image == 9).all()


def test_shapes_are_the_objects_that_are_drawn(embedded):
    sets = open_sets(detection.DetectionSource(), edit(embedded, patch_size=4))
    assert sets.names == generated_shapes.CLASSES
    for data, split, n in ((sets.train, "train", 300), (sets.test, "test", 5)):
        assert (len(data), data.in_memory, len(data.sizes), data.skipped) == (n, True, 0, 0)
        assert data.categories == (1, 2, 3)
        wanted = generated_shapes.render(0, np.arange(n), 32, objects=4, split=split, instances=True)
        batch = data.get_batch([SampleKey(0, i) for i in range(n)])
        assert np.array_equal(batch.pixels.permute(0, 2, 3, 1), wanted.image_BHWC)
        assert batch.targets.size_B2.tolist() == [[32, 32]] * n
        for i in range(n):
            assert np.array_equal(batch.targets.boxes[i], wanted.boxes[i])
            assert np.array_equal(batch.targets.masks[i], wanted.instance_masks[i])
            assert np.array_equal(batch.targets.labels[i], wanted.instance_classes[i])
            assert not batch.targets.crowd[i].any()
    for i, truth in enumerate(batch.targets.truth):
        assert (truth.image_id, truth.size) == (i, (32, 32))
        assert truth.area_n.tolist() == wanted.instance_masks[i].sum((1, 2)).tolist()
        assert torch.equal(truth.boxes_n4, batch.targets.boxes[i])
        decoded = [coco_mask.decode(text) for text in truth.masks]
        assert np.array_equal(decoded, wanted.instance_masks[i])


def test_shapes_need_no_workers_unless_they_are_scaled_at_random(embedded):
    for augment in AUGMENTS:
        data = prepared(edit(embedded, augment=augment), num_workers=2)
        assert data.train_set.in_memory == (augment not in JITTERS)
        assert data.test_set.in_memory
        assert len(list(data.train_dataloader())) == 4


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("side", [0, 77])
def test_boxes_stay_tight_around_masks_through_every_augment(embedded, augment, side):
    train = open_sets(detection.DetectionSource(), edit(embedded, augment=augment, resize_short=side or None)).train
    batch = train.get_batch([SampleKey(0, i) for i in range(100)])
    pairs = [
        (box, mask)
        for i in range(100)
        for box, mask in zip(batch.targets.boxes[i], batch.targets.masks[i], strict=True)
    ]
    assert len(pairs) > 50
    for box, mask_HW in pairs:
        rows, columns = mask_HW.any(1).nonzero().flatten(), mask_HW.any(0).nonzero().flatten()
        tight = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (box - tight).abs().max() <= (0.51 if side and augment not in JITTERS else 0)
    assert not any((masks.sum(0) > 1).any() for masks in batch.targets.masks)  # what is seen of objects never overlaps


def test_shapes_that_cannot_be_are_refused(embedded):
    with pytest.raises(ConfigError, match="shapes has 3 classes, the recipe 4"):
        open_sets(detection.DetectionSource(), edit(embedded, num_classes=4))
    with pytest.raises(ConfigError, match=r"need more than 2 GiB; use at most 524288 \(train_images\)"):
        open_sets(detection.DetectionSource(), edit(embedded, num_train=2**20 or None))
    with pytest.raises(ConfigError, match="data_version 1 of shapes"):
        open_sets(detection.DetectionSource(), edit(embedded, data_version=1))


def test_two_batches_share_no_memory(embedded):
    train = open_sets(detection.DetectionSource(), embedded).train
    first = train.get_batch([SampleKey(0, 0)])
    kept = train.get_batch([SampleKey(0, 0)])
    for part in (first.pixels, *(x for name in LISTS for x in getattr(first.targets, name))):
        part.zero_()
    assert same(train.get_batch([SampleKey(0, 0)]), kept)
