"""The segmentation task: losses and scores against slow obvious ones, any image size, any backbone, whole runs."""

import json
import math
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.nn.functional import cross_entropy, interpolate
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from scaling import costs
from scaling.config.canonical import canonical
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.config.runtime import RuntimeConfig
from scaling.data.batch import IGNORE_INDEX, Batch, MaskTargets, normalise
from scaling.engine.train import train
from scaling.errors import ConfigError
from scaling.heads import openmmlab
from scaling.runs.record import RunRecord
from scaling.tasks.segmentation import SegmentationTask, scores
from tests.instrument_names import without_noise
from tests.pictures import batch_of

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)


@pytest.fixture
def seg() -> ExperimentConfig:
    """A run of 8 steps: shapes of 16 px, a class a pixel."""
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
        num_train=64,
        num_val=40,
        head_channels=32,
        lr=1e-3,
        pos_embed="sincos",
    )


def scenes(config: ExperimentConfig, images: int = 4, size: int = 0, label: int = 0) -> Batch:
    torch.manual_seed(0)
    size, label = size or config.model.img_size, label or size or config.model.img_size
    label_BHW = torch.randint(0, config.data.num_classes, (images, label, label), dtype=torch.uint8)
    label_BHW[:, :3] = IGNORE_INDEX
    pixels = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8)
    return batch_of(config, pixels, MaskTargets(label_BHW))


@pytest.mark.parametrize("head", ["linear", "upernet"])
@pytest.mark.parametrize("backbone", ["adventurer_nano", "deit_nano"])
@pytest.mark.parametrize("patch", [1, 4, 16])
def test_every_head_on_every_backbone_gives_logits_a_pixel_and_every_parameter_a_gradient(seg, head, backbone, patch):
    task = SegmentationTask(edit(seg, head=head, backbone=backbone, patch_size=patch, pos_embed="learned"), 10)
    batch = scenes(task.config, 2)
    assert task(batch.pixels).shape == (2, 4, 16, 16)
    task.training_step(batch, 0).backward()
    without = [name for name, p in task.named_parameters() if p.grad is None or not p.grad.any()]
    # Of three blocks, the last one of Adventurer reads forwards: the class token, last, is seen by itself alone there.
    assert without == []


def test_the_training_loss_is_the_sum_over_labelled_pixels_over_all_pixels(seg):
    task, batch = SegmentationTask(seg, 10), scenes(seg)
    logits = task(batch.pixels)
    total = 0.0
    for b, y, x in np.ndindex(*batch.targets.label_BHW.shape):
        if (label := int(batch.targets.label_BHW[b, y, x])) != IGNORE_INDEX:
            total -= logits[b, :, y, x].log_softmax(0)[label].item()
    assert task.training_step(batch, 0).item() == pytest.approx(total / batch.targets.label_BHW.numel(), rel=1e-5)


@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_the_training_loss_and_its_gradients_do_not_depend_on_how_a_batch_is_cut(seg, head, doubles):
    task, batch = SegmentationTask(edit(seg, head=head), 10), scenes(seg)
    task.training_step(batch, 0).backward()
    whole = {name: p.grad.clone() for name, p in task.named_parameters()}
    task.zero_grad()
    for part in range(4):
        of_it = batch_of(seg, batch.pixels[part : part + 1], MaskTargets(batch.targets.label_BHW[part : part + 1]))
        (task.training_step(of_it, 0) / 4).backward()
    for name, p in task.named_parameters():
        torch.testing.assert_close(p.grad, whole[name], rtol=1e-9, atol=1e-12)


def test_the_linear_head_is_a_linear_layer_a_token_and_a_bilinear_step(seg):
    task, batch = SegmentationTask(seg, 10).eval(), scenes(seg)
    (weight, bias) = task.head.parameters()
    grid = task.backbone(normalise(batch.pixels)).to_map()
    of_tokens = torch.einsum("bdhw,kd->bkhw", grid, weight.flatten(1)) + bias.view(1, -1, 1, 1)
    wanted = interpolate(of_tokens, (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(task(batch.pixels), wanted)


@pytest.mark.parametrize("sides", [(16, 24), (20, 16), (17, 31)])
@pytest.mark.parametrize("backbone", ["adventurer_nano", "deit_nano"])
def test_images_of_any_size_are_taken_whole_and_logits_are_of_their_size(seg, sides, backbone):
    task = SegmentationTask(edit(seg, backbone=backbone, pos_embed="learned"), 10).eval()
    image = torch.randint(0, 256, (1, 3, *sides), dtype=torch.uint8)
    assert task(image).shape == (1, 4, *sides)


def test_windows_of_the_image_size_on_such_an_image_are_the_image(seg):
    batch = scenes(seg)
    of_whole, of_windows = (SegmentationTask(edit(seg, slide_stride=slide or None), 10).eval() for slide in (0, 8))
    torch.testing.assert_close(of_whole(batch.pixels), of_windows(batch.pixels))
    assert of_windows(torch.zeros(1, 3, 21, 40, dtype=torch.uint8)).shape == (1, 4, 21, 40)


def test_scores_are_torchmetrics_of_the_whole_set_and_absent_classes_are_left_out():
    torch.manual_seed(1)
    label, said = torch.randint(0, 4, (3, 8, 8)), torch.randint(0, 5, (3, 8, 8))  # 5 is nowhere, 4 only predicted
    label[0, 0] = IGNORE_INDEX
    counts = torch.zeros(6, 6)
    for true, other in zip(label.flatten().tolist(), said.flatten().tolist(), strict=True):
        if true != IGNORE_INDEX:
            counts[true, other] += 1
    found = scores(counts, list("abcdef"))
    known = label != IGNORE_INDEX
    iou = MulticlassJaccardIndex(6, average="none", ignore_index=IGNORE_INDEX)(said, label)
    for number, name in enumerate("abcde"):
        assert found[f"iou_{name}"] == pytest.approx(100 * iou[number].item(), abs=1e-4)
    assert "iou_f" not in found
    assert found["iou_e"] == 0
    assert found["miou"] == pytest.approx(100 * iou[:5].mean().item(), abs=1e-4)
    assert found["pixel_accuracy"] == pytest.approx(100 * (label == said)[known].float().mean().item(), abs=1e-4)
    by_class = MulticlassAccuracy(6, average="none", ignore_index=IGNORE_INDEX)(said, label)[:4]
    assert found["mean_accuracy"] == pytest.approx(100 * by_class.mean().item(), abs=1e-4)


def test_the_test_loss_is_the_mean_over_labelled_pixels_of_the_set_at_the_labels_own_size(seg):
    task = SegmentationTask(seg, 10).eval()
    parts = [scenes(seg, 3), scenes(seg, 1, size=16, label=24)]
    parts[1].targets.label_BHW[:, :20] = IGNORE_INDEX  # fewer pixels, less weight
    total, pixels = 0.0, 0
    for part in parts:
        task.test_step(part, 0)
        logits = interpolate(task(part.pixels), part.targets.label_BHW.shape[1:], mode="bilinear", align_corners=False)
        total += cross_entropy(logits, part.targets.label_BHW.long(), ignore_index=IGNORE_INDEX, reduction="sum").item()
        pixels += int((part.targets.label_BHW != IGNORE_INDEX).sum())
    assert task.compute_metrics()["test_loss"] == pytest.approx(total / pixels, rel=1e-5)
    nothing = torch.zeros(0, 3, 16, 16, dtype=torch.uint8)
    task.test_step(batch_of(seg, nothing, MaskTargets(nothing[:, 0]), skipped=1), 0)
    task.test_step(parts[0], 0)
    assert task.compute_metrics()["skipped_test_later"] == 1


@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_a_run_leaves_a_record_with_scores_and_an_iou_a_class(seg, head, trained):
    seg = edit(seg, head=head)
    record = RunRecord.load(trained(seg) / seg.run_id)
    assert record.status == "finished"
    assert 0 < record.test_loss < 4
    assert 0 < record.metrics["miou"] <= record.metrics["pixel_accuracy"] < 100
    assert {"mean_accuracy", "iou_background", "train_loss"} <= set(record.metrics)
    assert record.flops_per_image == costs.recipe_flops(seg)


@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_another_micro_batch_gives_the_same_run(seg, head, tmp_path, doubles):
    seg = edit(seg, head=head)
    whole, cut = (train(seg, tmp_path / str(n), replace(CPU, micro_batch_size=n)) for n in (16, 4))
    assert cut.test_loss == pytest.approx(whole.test_loss, rel=1e-9)
    assert without_noise(cut.metrics) == pytest.approx(without_noise(whole.metrics), rel=1e-9)


def test_a_run_learns(seg, tmp_path):
    record = train(edit(seg, epochs=6, num_train=256, lr=5e-3), tmp_path, CPU)
    assert record.test_loss < 0.9  # measured: 0.60 to 0.63 with three seeds; a guess by frequency is at 1.08


def test_a_run_in_steps_has_so_many_and_warms_up_in_steps(seg, tmp_path):
    seg = edit(seg, max_steps=7, warmup_steps=3, lr_schedule="linear")
    train(seg, tmp_path, CPU)
    rows = (tmp_path / seg.run_id / "curve.csv").read_text().splitlines()[1:]
    rates = [float(row.split(",")[2]) / seg.optim.lr for row in rows if row.split(",")[2]]
    assert [int(row.split(",")[0]) for row in rows] == [1, 2, 3, 4, 5, 6, 7, 7]
    assert rates == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4])


def test_the_backbone_starts_from_the_classification_run_of_the_same_patch_found_by_its_name(seg, tiny, tmp_path):
    before = edit(tiny, backbone=seg.model.backbone, patch_size=seg.model.patch_size, img_size=32, data_root=None)
    after = edit(seg, init=FromRun(config=before), pos_embed="learned")
    with pytest.raises(ConfigError, match=rf"{before.run_id}, is not finished .* --initial-checkpoint FILE"):
        train(after, tmp_path, CPU)
    elsewhere = edit(before, data_root="/some/where")  # shapes look at no folder: the same run by another name
    train(elsewhere, tmp_path, CPU)
    from scaling.engine.warm_start import find_start, start_from

    assert find_start(after, tmp_path).name == elsewhere.run_id
    task = SegmentationTask(after, 10)
    head = task.head.state_dict()
    start_from(task, after, tmp_path)
    held = torch.load(tmp_path / elsewhere.run_id / "weights.pt", weights_only=True)["model"]
    own = task.backbone.checkpoint_module.state_dict()
    assert torch.equal(own["layers.1.mixer.in_proj.weight"], held["layers.1.mixer.in_proj.weight"])
    assert own["pos_embed"].shape[1] == 17  # resampled from 64 patches to 16
    for name, tensor in task.head.state_dict().items():
        assert torch.equal(tensor, head[name])
    with pytest.raises(ConfigError, match="patch_size 8 differs from 4"):
        edit(after, patch_size=8)
    assert edit(after, seed=3).group == after.group


def test_pictures_of_predictions_are_drawn_after_a_run_and_of_a_finished_one(seg, trained, tmp_path):
    shutil.copytree(trained(seg), tmp_path, dirs_exist_ok=True)
    folder = tmp_path / seg.run_id / "predictions"
    assert not folder.exists()
    before = (tmp_path / seg.run_id / "record.json").read_bytes()
    said = []
    train(seg, tmp_path, replace(CPU, save_predictions=3), said.append)
    assert sorted(p.name for p in folder.iterdir()) == ["000.png", "001.png", "002.png"]
    assert (tmp_path / seg.run_id / "record.json").read_bytes() == before
    assert "3 predictions" in said[-1].text
    first = (folder / "000.png").stat().st_mtime_ns
    train(seg, tmp_path, replace(CPU, save_predictions=2))
    assert (folder / "000.png").stat().st_mtime_ns == first


def test_a_task_without_pictures_says_so_before_it_begins(tiny, tmp_path):
    with pytest.raises(ConfigError, match="task classify has no pictures of predictions"):
        train(tiny, tmp_path, replace(CPU, save_predictions=1))
    with pytest.raises(ConfigError, match="classify has no detections to export"):
        train(tiny, tmp_path, replace(CPU, export_coco=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"patch_size": 5}, "patch 5 does not divide a 16 px image; nearest that do: 4, 8"),
        ({"head": "unet"}, "unknown head 'unet'; did you mean upernet"),
        ({"class_names": ("a", "b", "c")}, "class_names has 3 names, num_classes is 4"),
        ({"slide_stride": 17}, "slide_stride 17 is more than the window, 16 px"),
        ({"mixup": 0.2}, "mixup is not an option of the task segment"),
        ({"augment": "three_augment"}, "unknown augment 'three_augment'; there is: flip, none, resize_crop"),
        ({"num_classes": 256}, "num_classes 256 must be at most 255"),
        ({"lr_schedule": "line"}, "unknown lr_schedule 'line'"),
        ({"task": "classify", "head": "upernet"}, "unknown head 'upernet'; there is: avg, linear, map"),
    ],
)
def test_what_a_recipe_cannot_be_is_said_with_the_numbers(seg, fields, said):
    with pytest.raises(ConfigError, match=said):
        edit(seg, **fields)


def test_recipes_of_before_keep_their_names(tiny):
    assert not {"head", "steps", "schedule", "objects", "unlabelled"} & set(json.loads(canonical(tiny)))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3", "deit3_small_patch16_224"])
@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_any_plain_vit_of_timms_works_with_these_heads(seg, name, head):
    config = edit(seg, backbone=f"timm:{name}", head=head, pos_embed="learned", patch_size=8)
    task = SegmentationTask(config, 10)
    assert task(torch.zeros(1, 3, 24, 40, dtype=torch.uint8)).shape == (1, 4, 24, 40)
    loss = task.training_step(scenes(config, 2), 0)
    loss.backward()
    assert math.isfinite(loss.item())


def test_a_run_on_timms_vit_has_its_flops_counted(seg, tmp_path):
    config = edit(seg, backbone="timm:vit_tiny_patch16_224", pos_embed="learned", num_train=16, epochs=1)
    record = train(config, tmp_path, CPU)
    known = edit(seg, backbone="deit_tiny", pos_embed="learned")
    assert record.flops_per_image == pytest.approx(costs.recipe_flops(known), rel=0.01)


def test_timms_vit_that_takes_one_size_alone_is_evaluated_in_windows(seg):
    config = edit(seg, backbone="timm:beit_base_patch16_224", pos_embed="learned", patch_size=8)
    with pytest.raises(ConfigError, match="--slide-stride 10"):
        SegmentationTask(config, 10)
    task = SegmentationTask(edit(config, slide_stride=10), 10).eval()
    assert task(torch.zeros(1, 3, 20, 24, dtype=torch.uint8)).shape == (1, 4, 20, 24)


def _hide_openmmlab():
    """As if it were not installed, in a process that has read it."""

    class Without:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in ("mmcv", "mmengine", "mmseg", "mmdet"):
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [m for m in sys.modules if m.split(".")[0] in ("mmcv", "mmengine", "mmseg", "mmdet")]:
        del sys.modules[name]
    sys.meta_path.insert(0, Without())
    openmmlab.ready.cache_clear()


def test_without_openmmlab_the_command_that_installs_it_is_said_and_nothing_is_written(call, tmp_path):
    results = tmp_path / "results"
    done = call("experiments/run.py", "shapes.seg_nano", "--results", results, before=_hide_openmmlab)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "pip install '.[dense]'" in line
    assert not results.exists()
    other = call("experiments/run.py", "shapes.deit_nano", "--print-recipe", before=_hide_openmmlab)
    assert (other.returncode, other.stderr) == (0, "")


def test_a_label_that_is_no_class_stops_a_sweep_with_one_line_that_names_file_and_value(call, tmp_path):
    for split in ("train", "test"):
        for kind in ("images", "annotations"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (40, 32)).save(tmp_path / "images" / split / f"{number}.jpg")
            Image.new("L", (40, 32), 7 if number == 3 else 1).save(tmp_path / "annotations" / split / f"{number}.png")
    words = ["--data", "folder", "--data-root", tmp_path, "--num-classes", "3", "--batch", "2", "--objects", "1"]
    words += ["--results", tmp_path / "results", "--train-images", "0", "--test-images", "0"]
    done = call("experiments/sweep.py", "shapes.seg_nano", "--patch", "8,4", *words)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(r"error: label .*3\.png has the value 7; 3 classes are 0 to 2, 255 is no class", line)
    assert not list((tmp_path / "results").glob("*/record.json"))


def test_a_sweeps_runs_share_images_in_memory_with_workers(call, tmp_path):
    """Sent to a worker one by one, so many tensors would be too many."""
    for split, count in (("train", 140), ("test", 4)):
        for kind in ("images", "annotations"):
            (tmp_path / kind / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16)).save(tmp_path / "images" / split / f"{number}.png")
            Image.new("L", (16, 16), number % 3).save(tmp_path / "annotations" / split / f"{number}.png")
    words = ["--data", "folder", "--data-root", tmp_path, "--num-classes", "3", "--batch", "28", "--objects", "1"]
    words += ["--train-images", "0", "--test-images", "0", "--augment", "resize_crop", "--image", "16", "--epochs", "1"]
    done = call(
        "experiments/sweep.py", "shapes.seg_nano", "--patch", "8", *words, "--workers", "1", "--results", tmp_path / "r"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mIoU" in done.stdout


def test_what_is_printed_of_a_recipe_that_starts_elsewhere_is_read_again(call, tmp_path):
    printed = call("experiments/run.py", "ade20k.adventurer_tiny", "--patch", "8", "--print-recipe").stdout
    (tmp_path / "mine.yaml").write_text(printed)
    again = call("experiments/run.py", "ade20k.adventurer_tiny", "--config", tmp_path / "mine.yaml", "--print-recipe")
    assert (again.returncode, again.stdout) == (0, printed)
    free = call(
        "experiments/run.py", "ade20k.adventurer_tiny", "--patch", "8", "--weights", "", "--print-recipe"
    ).stdout
    assert yaml.safe_load(free)["init"]["kind"] == "scratch"
