"""Memory by arithmetic beside memory that is held: to the byte, as torch's operations ask for it, and of a process."""

import ctypes
import json
import weakref
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from experiments.benchmarks import models
from scaling import costs
from scaling.backbones.ssd import mamba2_mixer
from scaling.config.edit import edit, make_config
from scaling.costs import adventurer
from scaling.costs.base import MemoryPolicy
from scaling.costs.cascade_mask_rcnn import CascadeMaskRCNNCosts
from scaling.costs.whole_model import whole_model
from scaling.data.batch import ClassTargets, MaskTargets
from scaling.model_specs import MODEL_SPECS
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from tests.pictures import batch_of
from tests.served import context
from tests.tasks.test_detect import at, objects

MATRICES = {"flash": False}
WHOLE_STEPS = [
    ("deit_tiny", 224, 16, 8, {}),
    ("deit_tiny", 64, 2, 1, MATRICES),
    ("deit_tiny", 224, 8, 5, {"recompute": True}),
    ("adventurer_tiny", 64, 4, 3, {}),
]


@pytest.fixture(autouse=True)
def a_small_deit_three(monkeypatch):
    """There is none, and bf16 on a CPU without instructions for it takes minutes for the smallest one that there is."""
    monkeypatch.setitem(
        MODEL_SPECS, "deit3_micro", MODEL_SPECS["deit3_small"]._replace(width=96, depth=3, mlp=384, head_dim=16)
    )


class Held(TorchDispatchMode):
    """Bytes of all tensors that operations inside have made and that are still there: now, and at most so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = function(*args, **(kwargs or {}))
        for t in tree_leaves(made):
            if not isinstance(t, torch.Tensor):
                continue
            storage = t.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in given and key not in self.known:
                self.known.add(key)
                self.now += size
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, key, size)
        return made

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def held(task, batch, flash=True, recompute=False, number=4):
    """Bytes that are kept after a forward pass, and the most until the backward pass is done; the batch's included."""
    task.train().backbone.checkpoint_module.set_grad_checkpointing(recompute)
    for p in task.parameters():
        p.grad = torch.zeros_like(p)
    with Held() as watch, nullcontext() if flash else sdpa_kernel(SDPBackend.MATH):
        with torch.autocast("cpu", torch.bfloat16, enabled=number == 2):
            loss = task.training_step(batch, 0)
        kept, watch.most = watch.now, 0
        loss.backward()
    pixels = batch.pixels.numel()
    return kept + pixels, watch.most + pixels


def noise(config, images):
    sides = (images, 3, config.model.img_size, config.model.img_size)
    image_BCHW = torch.randint(0, 256, sides, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if config.task.kind == "segment":
        label_BHW = torch.zeros(images, config.model.img_size, config.model.img_size, dtype=torch.uint8)
        return batch_of(config, image_BCHW, MaskTargets(label_BHW))
    return batch_of(config, image_BCHW, ClassTargets(torch.zeros(images, dtype=torch.long)))


@pytest.mark.parametrize("number", [4, 2])
@pytest.mark.parametrize("flash", [True, False])
@pytest.mark.parametrize("name", ["deit_micro", "deit3_micro"])
def test_what_deit_keeps_is_what_torch_holds(name, flash, number):
    images, config = 2, make_config(backbone=name, img_size=32, patch_size=2, global_batch_size=2)
    kept, most = held(ClassificationTask(config, 1), noise(config, images), flash=flash, number=number)
    weights = number * costs.recipe_parameters(config) if number == 2 else 0  # autocast's copies
    policy = MemoryPolicy(flash=flash, number=number)
    assert images * costs.activation_bytes(config, policy) + weights == pytest.approx(kept, rel=0.01)
    assert costs.step_bytes(config, images, policy) == pytest.approx(most, rel=0.04)


def keep_at_most(monkeypatch, elements):
    """Mixers of more elements compute their own numbers again."""
    for module in (mamba2_mixer, adventurer):
        monkeypatch.setattr(module, "MAX_KEPT_ELEMENTS", elements)


@pytest.mark.parametrize(
    ("name", "image", "patch", "images", "most_kept"),
    [
        ("adventurer_nano", 64, 1, 4, 2**20),  # so many numbers that the mixer computes its own again
        ("adventurer_nano", 64, 1, 4, 2**22),  # so few that it keeps them
        ("adventurer_micro", 32, 2, 8, 2**22),
        ("adventurer_tiny", 32, 8, 4, 2**22),
    ],
)
def test_what_adventurer_keeps_is_what_torch_holds(name, image, patch, images, most_kept, monkeypatch):
    keep_at_most(monkeypatch, most_kept)
    config = make_config(backbone=name, img_size=image, patch_size=patch, global_batch_size=images)
    kept, most = held(ClassificationTask(config, 1), noise(config, images))
    assert images * costs.activation_bytes(config, images=images) == pytest.approx(kept, rel=0.01)
    assert costs.step_bytes(config, images) == pytest.approx(most, rel=0.04)


@pytest.mark.parametrize(
    ("name", "image", "patch", "number"),
    [
        ("deit_micro", 32, 2, 4),
        ("deit_micro", 32, 2, 2),
        ("deit3_micro", 32, 2, 4),
        ("adventurer_nano", 64, 1, 4),  # the mixer, too, computes its own again
        ("adventurer_micro", 32, 1, 4),
        ("adventurer_micro", 32, 1, 2),
    ],
)
def test_recomputing_holds_the_inputs_of_blocks_and_one_block_whole(name, image, patch, number):
    images, config = 4, make_config(backbone=name, img_size=image, patch_size=patch, global_batch_size=4)
    kept, most = held(ClassificationTask(config, 1), noise(config, images), recompute=True, number=number)
    rel = 0.05 if number == 4 else 0.15  # a stretch of the mixer is float32, whatever the precision
    policy = MemoryPolicy(grad_checkpointing=True, number=number)
    # What the mixer makes of a tile is not counted: inputs are of several tiles.
    assert costs.step_bytes(config, images, policy) == pytest.approx(most, rel=rel)
    # In Adventurer a row of normed tokens is free before the block ends, so the peak is that of the activations.
    assert kept < images * costs.activation_bytes(config, policy, images) < 1.01 * most


@pytest.mark.parametrize("head", ["linear", "upernet"])
@pytest.mark.parametrize(("image", "patch"), [(64, 4), (64, 16), (32, 1), (96, 6), (96, 32), (60, 20)])
def test_what_segmentation_keeps_is_what_torch_holds(head, image, patch):
    images = 2
    config = make_config(
        task="segment",
        head=head,
        backbone="deit_micro",
        img_size=image,
        patch_size=patch,
        num_classes=20,
        head_channels=48,
    )
    kept, most = held(SegmentationTask(config, 1), noise(config, images))
    assert images * costs.activation_bytes(config) == pytest.approx(kept, rel=0.01)
    assert costs.step_bytes(config, images) == pytest.approx(most, rel=0.05)


def count_rows(roi):
    """Samples that the stages of a head will be asked about, by kind of head."""
    rows = Counter()

    def watched(kind, forward):
        def watching(rows_N):
            rows[kind] += len(rows_N)
            return forward(rows_N)

        return watching

    for kind in ("bbox_head", "mask_head"):
        for stage in getattr(roi, kind):
            stage.forward = watched(kind, stage.forward)
    return rows


@pytest.mark.parametrize(("patch", "channels"), [(16, 16), (4, 16), (2, 64), (32, 16)])
def test_what_detection_keeps_is_what_torch_holds(patch, channels):
    """Of as many samples and masks as this batch has; a plan counts the most that there may be."""
    shape = {"img_size": 64, "patch_size": patch, "num_classes": 12, "max_objects": 4, "head_channels": channels}
    config = make_config(
        task="detect", head="cascade_mask_rcnn", backbone="adventurer_nano", pos_embed="sincos", **shape
    )
    task, images = at(DetectionTask(config, 1), 0), 2
    counted = count_rows(task.head.roi)
    kept, _ = held(task, objects((0, 1), patch=patch))
    boxes, masks = (counted[kind] / 3 / images for kind in ("bbox_head", "mask_head"))
    head, x = CascadeMaskRCNNCosts(), whole_model(config).head_input
    backbone = costs.activation_bytes(config, images=images) - head.activations(x, 4)
    assert images * (backbone + head.kept(x, boxes, masks)) == pytest.approx(kept, rel=0.01)
    assert boxes == 64
    assert masks <= 16


def test_the_optimiser_has_weights_gradients_and_two_moments():
    model = torch.nn.Linear(30, 20)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 30)).sum().backward()
    optimiser.step()
    own = [t for p in model.parameters() for t in (p, p.grad)]
    moments = [v for state in optimiser.state.values() for k, v in state.items() if k != "step"]
    assert costs.optimiser_bytes(620) == 4 * sum(t.numel() for t in own + moments)
    assert costs.optimiser_bytes(620, ema=True) == costs.optimiser_bytes(620) + 4 * 620


def test_where_a_step_is_one_micro_batch_gradients_come_as_activations_go():
    config = make_config(backbone="deit_tiny", img_size=64, patch_size=4, global_batch_size=8)
    gradients = 4 * costs.recipe_parameters(config)
    step = costs.step_bytes(config, 8)
    in_turns = costs.memory_bytes(edit(config, global_batch_size=16), 8)
    assert step > gradients
    assert in_turns - costs.memory_bytes(config, 8) == gradients
    assert in_turns - costs.optimiser_bytes(costs.recipe_parameters(config)) > step


def test_of_timms_backbones_nothing_is_known():
    config = make_config(backbone="timm:vit_tiny_patch16_224")
    assert costs.activation_bytes(config) == costs.step_bytes(config, 1) == costs.memory_bytes(config, 1) == 0


def _measure(flash, asked, path):
    # glibc gives blocks of this size back; by default it keeps more the larger they are, up to 32 MiB each.
    glibc, trim_threshold, mmap_threshold = ctypes.CDLL(None), -1, -3
    glibc.mallopt(trim_threshold, 2**18)
    glibc.mallopt(mmap_threshold, 2**18)
    glibc.malloc_trim(0)
    with nullcontext() if flash else sdpa_kernel(SDPBackend.MATH):
        models.measure(asked["name"], 32, 8, 1, optimise=True)  # code that is read counts as memory, too
        Path(path).write_text(json.dumps(models.measure(**asked)))


@pytest.fixture
def in_a_process(tmp_path):
    """What experiments.benchmarks.models.measure finds in a process of its own."""

    def measured(flash, **asked):
        process = context().Process(target=_measure, args=(flash, asked, str(tmp_path / "found.json")))
        process.start()
        process.join()
        return json.loads((tmp_path / "found.json").read_text())

    return measured


@pytest.mark.slow
@pytest.mark.parametrize(("name", "image", "patch", "images", "options"), WHOLE_STEPS)
def test_a_step_needs_as_much_memory_as_is_said(in_a_process, name, image, patch, images, options):
    flash, recompute = options.get("flash", True), options.get("recompute", False)
    got = in_a_process(flash, name=name, image=image, patch=patch, batch=images, checkpointing=recompute)["peak"]
    said = costs.step_bytes(
        make_config(backbone=name, img_size=image, patch_size=patch, num_classes=1000),
        images,
        MemoryPolicy(recompute, flash),
    )
    print(f"| {name} | {image} | {patch} | {images} | {options} | {said / 2**20:.0f} | {got / 2**20:.0f} |")
    assert said == pytest.approx(got, rel=0.15)


@pytest.mark.slow
def test_training_needs_as_much_memory_as_is_said(in_a_process):
    """The optimiser's state included, and weights' gradients that stay from one micro-batch to the next. What is added
    to a step goes by the number of weights alone, whatever the backbone."""
    name, image, patch, images = "deit_small", 128, 8, 4
    got = in_a_process(True, name=name, image=image, patch=patch, batch=images, steps=2, optimise=True)
    said = costs.memory_bytes(
        make_config(backbone=name, img_size=image, patch_size=patch, num_classes=1000, global_batch_size=64), images
    )
    found = got["weights"] + got["peak"]
    print(f"| {name} | {image} | {patch} | {images} | all | {said / 2**20:.0f} | {found / 2**20:.0f} |")
    assert said == pytest.approx(found, rel=0.15)
