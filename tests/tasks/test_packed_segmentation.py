"""Segmentation of packed images against one image at a time: logits, losses, gradients, metrics, whole runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from experiments.planning.predicted_packing import predicted_packing, training_sides
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.data.batch import IGNORE_INDEX, Split
from scaling.data.packed_segmentation import packed_scenes
from scaling.data.segmentation import SegmentationDataset
from scaling.engine.predict import draw_predictions, place_of
from scaling.engine.train import train
from scaling.inference import load
from scaling.packing.drawn_grids import grids_of_size, mean_pixels
from scaling.rng import SampleKey
from scaling.runs.identity import folder_of
from scaling.tasks.segmentation import SegmentationTask

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=8)
BACKBONES = pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])


@pytest.fixture
def seg():
    """Rectangles of about 16 x 16 px, a class per pixel."""
    return make_config(
        task="segment",
        dataset="shapes",
        backbone="adventurer_nano",
        img_size=16,
        patch_size=4,
        num_classes=4,
        max_objects=3,
        epochs=2,
        global_batch_size=16,
        num_train=16,
        num_val=20,
        lr=1e-3,
        pos_embed="sincos",
        packing="sequences",
        sequence_length=64,
        aspect_ratios="0.5-2",
    )


def scenes(sizes, seed=0):
    """Images and label maps, some pixels of which have no class."""
    rng = np.random.default_rng(seed)
    found = []
    for h, w in sizes:
        label = rng.integers(0, 4, (h, w), np.uint8)
        label[rng.random((h, w)) < 0.2] = IGNORE_INDEX
        found.append((torch.from_numpy(rng.integers(0, 256, (3, h, w), np.uint8)), torch.from_numpy(label)))
    return found


def packed(config, sizes, split=Split.VAL, seed=0):
    return packed_scenes(scenes(sizes, seed).__getitem__, list(sizes), config, split)


def keys(count):
    return [SampleKey(0, i) for i in range(count)]


def evaluated(task, batches):
    scores = task.scores_at(task.config.model.patch_size)
    scores.reset()
    for batch in batches:
        task.update_scores(batch, task.config.model.patch_size)
    return scores.compute()


@BACKBONES
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6))
def test_the_logits_of_each_image_are_those_of_the_image_alone(seg, backbone, grids, doubles):
    task = SegmentationTask(edit(seg, backbone=backbone), 10).eval()
    data = packed(seg if backbone == "adventurer_nano" else task.config, [(4 * h, 4 * w) for h, w in grids])
    _, together = task.training_outputs(task.training_batch(data.get_batch(keys(len(grids)))))
    for number, logits_1KHW in enumerate(together):
        image_CHW, _ = data.read(number)
        torch.testing.assert_close(logits_1KHW, task(image_CHW[None]), rtol=0, atol=1e-10)


@BACKBONES
def test_metrics_are_those_of_one_image_at_a_time_and_of_evaluation_without_packing(seg, backbone, doubles):
    sizes = [(16, 24), (20, 16), (16, 16), (16, 24), (28, 16)]  # of one shorter side, which plain evaluation resizes to
    config = edit(seg, backbone=backbone)
    task, data = SegmentationTask(config, 10).eval(), packed(config, sizes)
    together = evaluated(task, [data.get_batch(keys(5))])
    alone = evaluated(task, [data.get_batch([key]) for key in keys(5)])
    plain = edit(config, packing="none", aspect_ratios=None)
    apart = SegmentationDataset(data.read, 5, edit(plain, resize_short=16), Split.VAL)
    whole = evaluated(task, [apart.get_batch([key]) for key in keys(5)])
    assert together == pytest.approx(alone, rel=1e-10)
    assert together == pytest.approx(whole, rel=1e-10)


def test_images_are_resized_to_whole_patches_and_predictions_to_the_labels_of_the_data(seg):
    data = packed(seg, [(17, 30), (8, 9)])
    assert data.in_memory
    assert not packed(edit(seg, image_sizes="8-24"), [(17, 30)]).in_memory  # resized by worker processes
    batch = data.get_batch(keys(2))
    assert batch.rows.grids == ((4, 8), (2, 2))
    assert [tuple(label_HW.shape) for label_HW in batch.targets.labels] == [(17, 30), (8, 9)]
    for i, label_HW in enumerate(batch.targets.labels):
        assert torch.equal(label_HW, data.read(i)[1])
    found = evaluated(SegmentationTask(seg, 10).eval(), [batch])
    assert 0 < found["miou"] < 100


def test_training_labels_are_those_of_the_nearest_pixels_and_flipped_with_their_images(seg):
    config = edit(seg, augment="flip", image_sizes="8-24")
    (image, label), mirrored = scenes([(16, 24)])[0], 0
    batch = packed_scenes(lambda i: (image, label), [(16, 24)] * 40, config, Split.TRAIN).get_batch(keys(40))
    plain = edit(config, augment="none")
    unflipped = packed_scenes(lambda i: (image, label), [(16, 24)] * 40, plain, Split.TRAIN).get_batch(keys(40))
    assert len({tuple(label_HW.shape) for label_HW in batch.targets.labels}) > 4
    for i, label_HW in enumerate(unflipped.targets.labels):
        rows, columns = (
            ((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(label_HW.shape, (16, 24), strict=True)
        )
        assert torch.equal(label_HW, label[rows][:, columns])
        pixels, other = unflipped.images.images()[i], batch.images.images()[i]
        flipped = torch.equal(batch.targets.labels[i], label_HW.flip(1))
        assert torch.equal(other, pixels.flip(2) if flipped else pixels)
        assert flipped or torch.equal(batch.targets.labels[i], label_HW)
        mirrored += flipped
    assert 0 < mirrored < 40


def test_the_training_loss_is_the_sum_over_labelled_pixels_over_those_of_as_many_mean_images(seg):
    sizes = [(8, 24), (16, 12), (8, 8)]
    task, data = SegmentationTask(seg, 10), packed(seg, sizes, Split.TRAIN)
    batch = data.get_batch(keys(3))
    _, outputs = task.training_outputs(task.training_batch(batch))
    total = 0.0
    for logits_1KHW, label_HW in zip(outputs, batch.targets.labels, strict=True):
        for y, x in np.ndindex(*label_HW.shape):
            if (label := int(label_HW[y, x])) != IGNORE_INDEX:
                total -= logits_1KHW[0, :, y, x].log_softmax(0)[label].item()
    pixels = sum(h * w for h, w in sizes)  # the batch is the whole set: its mean is the set's
    assert task.training_step(batch, 0).item() == pytest.approx(total / pixels, rel=1e-5)


@BACKBONES
def test_the_training_loss_and_its_gradients_do_not_depend_on_how_a_batch_is_cut(seg, backbone, doubles):
    config = edit(seg, backbone=backbone, drop_path=0.3)
    task = SegmentationTask(config, 10).train()
    data = packed(config, [(8, 24), (16, 12), (8, 8), (16, 12)], Split.TRAIN)

    def gradients(parts):
        task.zero_grad()
        losses = [task.training_step(data.get_batch(part), 0) / len(parts) for part in parts]
        sum(losses).backward()
        return sum(losses).item(), {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}

    whole, grads = gradients([keys(4)])
    cut, grads_of_cut = gradients([keys(4)[:2], keys(4)[2:]])
    assert cut == pytest.approx(whole, rel=1e-10)
    for name, grad in grads.items():
        torch.testing.assert_close(grads_of_cut[name], grad, rtol=1e-9, atol=1e-12)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(4, 60), st.integers(4, 60)), min_size=1, max_size=5),
    image_sizes=st.sampled_from(["native", "16", "8,24", "8-32"]),
    measure=st.sampled_from(["area", "side"]),
    keep=st.booleans(),
)
def test_the_pixels_of_the_mean_training_image_are_those_of_very_many(seg, sizes, image_sizes, measure, keep):
    config = edit(seg, image_sizes=image_sizes, size_measure=measure, keep_aspect_ratio=keep)
    shares = (np.arange(512) + 0.5) / 512
    grids = [grid for share in shares for grid in grids_of_size(config, sizes, config.packing.size_at(share)).whole]
    assert mean_pixels(config, sizes) == pytest.approx(np.mean([16 * h * w for h, w in grids]), rel=0.05)
    if image_sizes == "16" and not keep:
        assert mean_pixels(config, sizes) == 256


def test_squares_of_one_size_give_the_run_without_packing(seg, tmp_path, doubles):
    squares = edit(seg, aspect_ratios=None)
    with_it = train(squares, tmp_path, CPU)
    without = train(edit(squares, packing="none"), tmp_path, CPU)
    for name in ("miou", "mean_accuracy", "pixel_accuracy"):
        assert with_it.metrics[name] == pytest.approx(without.metrics[name], rel=1e-9)
    assert with_it.test_loss == pytest.approx(without.test_loss, rel=1e-9)


def test_a_run_gives_the_same_numbers_in_micro_batches_and_has_a_row_per_image_size(seg, tmp_path, doubles):
    config = edit(seg, image_sizes="12-20", eval_img_sizes=(8, 24))
    whole = train(config, tmp_path / "whole", replace(CPU, micro_batch_size=16))
    cut = train(config, tmp_path / "cut", replace(CPU, micro_batch_size=4))
    assert whole.test_loss == pytest.approx(cut.test_loss, rel=1e-9)
    assert [row["img_size"] for row in whole.evaluations] == [16, 8, 24]
    assert len({row["test_loss"] for row in whole.evaluations}) == 3
    predicted = predicted_packing(config, 16, training_sides(config, tmp_path))
    assert whole.metrics["padding"] == pytest.approx(predicted.padding)
    assert whole.metrics["images_per_sequence"] == pytest.approx(predicted.images_per_sequence)
    place = place_of(config, CPU, whole)
    draw_predictions(config, folder_of(config, tmp_path / "whole"), 3, SegmentationTask, place, lambda event: None)
    assert len(list((folder_of(config, tmp_path / "whole") / "predictions").glob("*.png"))) == 3
    trained = load(folder_of(config, tmp_path / "whole"))
    image = trained.image(Image.new("RGB", (30, 17)))
    assert tuple(image.shape[2:]) == (12, 20)
    assert tuple(trained.module(image).shape) == (1, 4, 12, 20)
