"""Detection's losses and gradients do not depend on how a batch is cut: equal by construction, once choices are fixed.

Which of two boxes that lie almost alike goes on hangs on the last bit of a sum, and sums depend on the cut. So the
regions are chosen once, of the whole batch, and given to each cut. In float64 nothing is left but rounding."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from scaling.config.edit import make_config
from scaling.data import detection
from scaling.data.batch import InstanceTargets, normalise
from scaling.data.open_sets import open_sets
from scaling.rng import SampleKey
from scaling.tasks.detection import DetectionTask
from tests.tasks.test_detect import at

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
CUTS = ([2, 2], [1, 1, 1, 1], [3, 1])


@pytest.fixture(scope="module", params=["adventurer_pico", "deit_nano"])
def step(request):
    """A task in float64, four training images of unlike sizes, and what is said of parts of them."""
    shapes = {
        "dataset": "shapes",
        "max_objects": 4,
        "num_classes": 3,
        "num_train": 4,
        "num_val": 1,
        "global_batch_size": 4,
    }
    model = {"backbone": request.param, "img_size": 64, "patch_size": 8, "head_channels": 8, "pos_embed": "sincos"}
    config = make_config(task="detect", head="cascade_mask_rcnn", augment="lsj", epochs=1, **shapes, **model)
    batch = open_sets(detection.DetectionSource(), config).train.get_batch([SampleKey(0, i) for i in range(4)])
    assert len({tuple(size) for size in batch.targets.size_B2.tolist()}) > 1
    batch.targets.crowd[0][0] = True
    return DetectionTask(config, 10).double(), batch


@pytest.fixture(autouse=True)
def labels_in_float64(monkeypatch):
    """mmdet has them in float32, and torch's cross-entropy of two classes rounds to what labels are in."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr(
        torch.nn.functional,
        "binary_cross_entropy_with_logits",
        lambda said, label, **how: loss(said, label.to(said.dtype), **how),
    )


def part_of(batch, start, stop):
    targets = InstanceTargets(*(part[start:stop] for part in batch.targets))
    return replace(batch, pixels=batch.pixels[start:stop], keys=batch.keys[start:stop], targets=targets)


def said(task, batch, regions=None, of=None):
    """Losses (images) by name, of the regions that are given; or what another method of the head says."""
    samples = at(task, 3)._samples(batch)
    samples = [sample._replace(regions=own) for sample, own in zip(samples, regions or [None] * 4, strict=False)]
    features, size = task.backbone(normalise(batch.pixels).double()), tuple(batch.pixels.shape[-2:])
    return (of or task.head.losses)(task.head(features, size), samples)


def gradients(task):
    found = {name: p.grad for name, p in task.named_parameters() if p.grad is not None}
    task.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_losses_and_gradients_of_given_regions_are_those_of_the_batch_however_it_is_cut(step, cut):
    task, batch = step
    regions = said(task, batch, of=task.head.regions)
    whole = said(task, batch, regions)
    torch.stack(list(whole.values())).sum().backward()
    wanted = gradients(task)
    assert len(wanted) == sum(p.requires_grad for p in task.parameters())
    start = 0
    for images in cut:
        losses = said(task, part_of(batch, start, start + images), regions[start : start + images])
        for name, loss_B in losses.items():
            torch.testing.assert_close(loss_B, whole[name][start : start + images], rtol=1e-9, atol=1e-12)
        torch.stack(list(losses.values())).sum().backward()
        start += images
    for name, grad in gradients(task).items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-7, atol=1e-9)


def test_given_the_regions_that_it_would_choose_the_head_says_the_same(step):
    task, batch = step
    with torch.no_grad():
        chosen, given = said(task, batch), said(task, batch, said(task, batch, of=task.head.regions))
    assert len(chosen) == 11
    assert all(loss_B.dtype == torch.float64 and torch.equal(loss_B, given[name]) for name, loss_B in chosen.items())


def test_given_regions_are_kept_whatever_the_head_says_of_them(step):
    task, batch = step
    regions = said(task, batch, of=task.head.regions)
    state = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    with torch.no_grad():
        for p in task.parameters():
            p.mul_(0.9)
        others = said(task, batch, of=task.head.regions)
        kept = said(task, batch, regions, of=task.head.regions)
    task.load_state_dict(state)
    for own, mine, other in zip(regions, kept, others, strict=True):
        assert own.proposals_R4 is mine.proposals_R4
        assert own.sampled == mine.sampled
        assert own.proposals_R4.shape != other.proposals_R4.shape or not torch.equal(
            own.proposals_R4, other.proposals_R4
        )
