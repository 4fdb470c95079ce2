"""Segmentation and detection with one set of weights for every patch size: at each patch size it is the model of that
size, whatever other sizes an evaluation has, and the images are read once."""

from importlib.util import find_spec

import pytest
import torch

from experiments import export
from scaling import costs
from scaling.backbones.frozen import frozen_state
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.config.runtime import RuntimeConfig
from scaling.data.datamodule import ImageDataModule
from scaling.data.segmentation import MaskTargets
from scaling.engine.train import train
from scaling.engine.warm_start import start_from
from scaling.heads.openmmlab import ready
from scaling.inference import load
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from tests.pictures import batch_of
from tests.tasks.test_detect import objects

pytestmark = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
KINDS = {"segment": SegmentationTask, "detect": DetectionTask}
CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=4)
COMMON = {
    "backbone": "deit_pico",
    "patch_size": 4,
    "patch_embed": "flexible",
    "step_shapes": "random_patch",
    "pos_embed": "sincos",
    "coarsest_patch": 16,
    "head_channels": 16,
    "epochs": 1,
    "global_batch_size": 4,
    "num_train": 16,
    "num_val": 6,
}
SEGMENT = make_config(task="segment", img_size=32, num_classes=4, max_objects=3, **COMMON)
DETECT = make_config(task="detect", head="cascade_mask_rcnn", img_size=64, num_classes=3, max_objects=3, **COMMON)


@pytest.fixture
def dense_doubles(request):
    """All in float64, mmdet imported."""
    ready()
    request.getfixturevalue("doubles")


@pytest.mark.parametrize("slide", [None, 24])
@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_logits_have_the_images_size_at_every_patch(head, slide):
    task = SegmentationTask(edit(SEGMENT, head=head, slide_stride=slide, eval_patches=(2, 32)), 1).eval()
    for patch in (2, 4, 8, 16, 32):
        image = torch.randint(256, (1, 3, 41, 35), dtype=torch.uint8)
        assert task(image, patch).shape == (1, 4, 41, 35)


@pytest.mark.usefixtures("dense_doubles")
@pytest.mark.parametrize(("slide", "sides"), [(None, (32, 32)), (24, (41, 35))])
def test_at_each_patch_a_linear_head_gives_the_logits_of_the_model_frozen_there(slide, sides):
    task = SegmentationTask(edit(SEGMENT, slide_stride=slide), 1).eval()
    image = torch.randint(256, (2, 3, *sides), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for patch in (4, 8, 16):
        plain = edit(task.config, step_shapes="fixed", patch_embed="conv", patch_size=patch)
        fixed = SegmentationTask(plain, 1).eval()
        fixed.backbone.checkpoint_module.load_state_dict(frozen_state(task.backbone, patch))
        fixed.head.load_state_dict(task.head.state_dict())
        torch.testing.assert_close(task(image, patch), fixed(image), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("patch", "sides"), [(4, (44, 36)), (8, (48, 40)), (16, (48, 48))])
def test_whole_images_are_padded_to_multiples_of_the_patch_of_the_call(patch, sides):
    task, seen = SegmentationTask(SEGMENT, 1).eval(), []
    task.backbone.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[2:])))
    task(torch.zeros(1, 3, 41, 35, dtype=torch.uint8), patch)
    assert seen == [sides]


@pytest.mark.usefixtures("dense_doubles")
@pytest.mark.parametrize(
    "config", [SEGMENT, edit(SEGMENT, head="upernet"), DETECT], ids=["linear", "upernet", "detect"]
)
def test_with_its_own_patch_alone_it_is_the_plain_run(config, tmp_path):
    plain = edit(config, step_shapes="fixed", patch_embed="conv", num_train=8, num_val=2)
    one = edit(plain, patch_embed="flexible", kernel_size=4, step_shapes="random_patch", patches="4")
    ours, theirs = (train(each, tmp_path, CPU) for each in (one, plain))
    assert ours.test_loss == theirs.test_loss
    assert ours.metrics == theirs.metrics
    weights = [torch.load(tmp_path / each.run_id / "weights.pt")["model"] for each in (one, plain)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


@pytest.mark.parametrize("config", [edit(SEGMENT, head="upernet"), DETECT], ids=["upernet", "detect"])
def test_the_head_is_that_of_the_finest_patch(config):
    plain = edit(config, step_shapes="fixed", patch_embed="conv")
    flexible, fixed = (KINDS[config.task.kind](one, 1).head.state_dict() for one in (config, plain))
    assert flexible.keys() == fixed.keys()
    assert all(torch.equal(flexible[name], fixed[name]) for name in fixed)


@pytest.mark.usefixtures("dense_doubles")
@pytest.mark.parametrize(
    "config",
    [SEGMENT, edit(SEGMENT, head="upernet", slide_stride=16), edit(DETECT, num_val=2)],
    ids=["linear", "upernet", "detect"],
)
def test_an_evaluation_at_several_patches_reads_every_image_once_and_is_that_of_each_alone(config):
    data = ImageDataModule(config)
    data.setup()
    task = KINDS[config.task.kind](config, 1).eval()

    def scores(patches):
        task.evaluated_patches = patches
        seen = []
        for number, batch in enumerate(data.test_dataloader()):
            seen += [key.image for key in batch.keys]
            with torch.no_grad():
                task.test_step(batch, number)
        assert sorted(seen) == list(range(config.data.num_val))
        return task.compute_metrics_by_patch()

    together = scores((4, 8, 16))
    assert list(together) == [4, 8, 16]
    assert len({found["test_loss"] for found in together.values()}) == 3
    assert scores((16, 8)) == {16: together[16], 8: together[8]}


def test_anchors_do_not_depend_on_the_patch():
    task = DetectionTask(DETECT, 1).eval()
    shapes = set()
    for patch in (4, 8, 16):
        batch = objects(canvas=(64, 96))
        with torch.no_grad():
            outputs = task._outputs(task.normalised(batch.pixels), task._samples(batch), patch)
        shapes.add(tuple(tuple(t.shape) for level in outputs.dense for t in level))
    assert len(shapes) == 1
    (only,) = shapes
    assert [shape[-2:] for shape in only[:5]] == [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]


@pytest.mark.usefixtures("dense_doubles")
def test_an_image_is_padded_to_a_multiple_of_each_patch_and_its_results_depend_on_no_other_image():
    task = DetectionTask(edit(DETECT, img_size=120, patches="40,24,4", coarsest_patch=48), 1).eval()
    cuts = [(40, 60), (64, 33)]
    both = objects((0, 1), canvas=(480, 480), cut=cuts, patch=4)
    for patch, side in ((4, 64), (24, 96), (40, 160)):
        (together,) = losses_at(task, both, patch)
        for n, cut in enumerate(cuts):
            (alone,) = losses_at(task, objects((n,), canvas=(480, 480), cut=[cut], patch=4), patch)
            for name, loss_B in alone.items():
                torch.testing.assert_close(loss_B[0], together[name][n], rtol=1e-9, atol=1e-12)
        assert {tuple(part.pixels.shape[2:]) for part in task._parts(both, patch)} == {(side, side)}


@torch.no_grad()
def losses_at(task, batch, patch):
    """Losses of the images of each part of a batch."""
    parts = task._parts(batch, patch)
    return [task._losses(task._outputs(task.normalised(p.pixels), task._samples(p), patch)) for p in parts]


def test_test_batches_have_room_for_the_padding_of_every_patch_and_training_batches_of_the_steps_own():
    config = edit(DETECT, img_size=120, patches="40,24,4", coarsest_patch=48)
    data = ImageDataModule(config)
    data.setup()
    assert {tuple(batch.pixels.shape[2:]) for batch in data.test_dataloader()} == {(480, 480)}
    sides = {batch.shape.patch_size: tuple(batch.pixels.shape[2:]) for batch in data.train_dataloader()}
    expected = {4: (128, 128), 24: (192, 192), 40: (160, 160)}
    assert len(sides) > 1
    assert sides == {patch: expected[patch] for patch in sides}


def test_every_weight_learns_at_a_coarse_patch_too():
    config = edit(SEGMENT, head="upernet", patch_size=8)
    task = SegmentationTask(config, 1)
    label_BHW = torch.randint(0, 4, (2, 32, 32), dtype=torch.uint8)
    batch = batch_of(config, torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8), MaskTargets(label_BHW))
    batch.shape = batch.shape._replace(patch_size=16)
    task.training_step(batch, 0).backward()
    learned = [(name, p) for name, p in task.named_parameters() if p.requires_grad]
    assert [name for name, p in learned if p.grad is None or not p.grad.any()] == []


def test_a_head_with_a_pyramid_is_frozen_at_its_finest_patch_alone(tmp_path, capsys):
    config = edit(SEGMENT, head="upernet", num_train=4)
    run = tmp_path / "results" / train(config, tmp_path / "results", CPU).run_id
    out = tmp_path / "frozen.safetensors"
    assert export.main([str(run), "--export", "safetensors", str(out), "--patch", "8"]) == 2
    assert "the head upernet is built for patch 4, the finest: freeze it there, --patch 4" in capsys.readouterr().err
    assert not out.exists()
    assert export.main([str(run), "--export", "safetensors", str(out), "--patch", "4"]) == 0
    fixed = edit(config, step_shapes="fixed", patch_embed="conv", initial_checkpoint=str(out), pos_embed="learned")
    assert train(fixed, tmp_path / "results", CPU).status == "finished"


def test_a_flexible_model_starts_from_a_classifier_with_its_features_at_every_patch(tmp_path):
    """The finest patch of the classifier is another one: the kernel is resized to the patch of every call."""
    fields = {"task": "classify", "num_classes": 3, "max_objects": 1, "num_train": 4, "num_val": 2}
    classifier = edit(SEGMENT, patch_size=8, **fields)
    train(classifier, tmp_path, CPU)
    config = edit(SEGMENT, init=FromRun(config=classifier))
    assert costs.recipe_step_flops(config) == costs.recipe_step_flops(SEGMENT)
    task = SegmentationTask(config, 1).eval()
    start_from(task, config, tmp_path)
    before = load(tmp_path / classifier.run_id).module.backbone
    image = torch.linspace(-2, 2, 3 * 32 * 32).view(1, 3, 32, 32).sin()
    for patch in (4, 8, 16):
        ours, theirs = (backbone(image, patch_size=patch).tokens_BLD for backbone in (task.backbone, before))
        torch.testing.assert_close(ours, theirs)
