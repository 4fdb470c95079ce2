"""A batch moves as one value, whatever its targets."""

import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch, ClassTargets, GroundTruth, InstanceTargets, MaskTargets
from scaling.rng import SampleKey

KEYS, SHAPE = [SampleKey(0, 3), SampleKey(1, 2, 1)], StepShape(4, 8)
PIXELS = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
BOXES, LABELS, MASKS = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 8, 8, dtype=torch.uint8)
TRUTH = GroundTruth(7, (8, 8), BOXES, LABELS, LABELS.bool(), torch.ones(1), [])
TARGETS = [
    ClassTargets(torch.tensor([0, 1])),
    ClassTargets(torch.tensor([0, 1]), torch.full((2, 3), 1 / 3)),
    MaskTargets(PIXELS[:, 0]),
    InstanceTargets(torch.full((2, 2), 8), 2 * [BOXES], 2 * [LABELS], 2 * [MASKS], 2 * [LABELS.bool()], (TRUTH, TRUTH)),
]


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for part in value for t in tensors(part)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("targets", TARGETS, ids=lambda targets: type(targets).__name__)
def test_lightning_moves_pixels_and_targets_and_leaves_keys_shape_and_ground_truth(targets):
    batch = Batch(PIXELS, KEYS, SHAPE, targets, skipped=1)
    moved = move_data_to_device(batch, torch.device("meta"))
    assert (moved.keys, moved.shape, moved.skipped, len(moved)) == (KEYS, SHAPE, 1, 2)
    assert type(moved.targets) is type(targets)
    truth = getattr(moved.targets, "truth", ())
    assert truth == getattr(targets, "truth", ())
    parts = [part for name, part in moved.targets._asdict().items() if name != "truth"]
    assert {t.device.type for t in tensors([moved.pixels, *parts])} == {"meta"}
    assert batch.pixels is PIXELS  # the original is unchanged
