"""Stages that start from runs: the chains of Tables 8 to 10 (arXiv 2502.03738), their names, and a small one run."""

import csv
import itertools
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from experiments import run
from experiments.cli.resolve import resolve
from experiments.recipes import cifar10, imagenet, shapes
from experiments.stages import linked, waits_for
from scaling.backbones.adventurer import Adventurer
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config, value_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.legacy import from_flat
from scaling.config.runtime import RuntimeConfig
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS
from scaling.runs.record import WEIGHTS, RunRecord
from tests.instrument_names import without_instruments

PUBLISHED = Path(__file__).resolve().parents[2] / "analysis" / "published" / "recipes_tables_8_9_10.csv"
LETTERS = {"T": "tiny", "S": "small", "B": "base", "L": "large", "H": "huge"}
STAGED = ("tiny", "small", "base", "large", "huge")
CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
hush()


def chain(size, image, patch=16):
    return getattr(imagenet, f"adventurer_{size}")(patch, image)


# The chains of the paper


@pytest.mark.parametrize("size", STAGED)
@pytest.mark.parametrize(
    ("image", "stages"),
    [
        (64, [("pretrain", 64)]),
        (128, [("pretrain", 128), ("finetune", 128)]),
        (224, [("pretrain", 128), ("intermediate", 224), ("finetune", 224)]),
    ],
)
def test_a_chain_has_the_stages_of_its_image_size(size, image, stages):
    assert [(r.stage or "", r.model.img_size) for r in chain(size, image)] == stages


def published():
    """(row of the tables, letter of a model, image) for all that they print."""
    with PUBLISHED.open() as file:
        return [
            (row, letter, int(image))
            for row in csv.DictReader(file)
            for letter in row["sizes"].split("/")
            for image in row["input_px"].split("|")
        ]


@pytest.mark.parametrize(("row", "letter", "image"), published(), ids=lambda v: v if isinstance(v, str) else None)
def test_a_stage_has_the_numbers_of_its_table(row, letter, image):
    (found,) = [r for r in chain(LETTERS[letter], image) if (r.stage or "", r.model.img_size) == (row["stage"], image)]
    optim, views = found.optim, found.classification
    assert found.model.backbone == f"adventurer_{LETTERS[letter]}"
    for name, value in (("weight_decay", optim.weight_decay), ("beta1", optim.beta1), ("beta2", optim.beta2)):
        assert value == float(row[name]), name
    assert optim.global_batch_size == float(row["batch"])
    assert found.schedule.epochs == (300 if image == 64 else int(row["epochs"]))  # as the appendix says of 64 px
    base, scaled = float(row["base_lr"]), row["stage"] != "finetune"
    assert optim.peak_lr == pytest.approx(base * optim.global_batch_size / 512 if scaled else base)
    twice = edit(found, global_batch_size=2 * optim.global_batch_size).optim.peak_lr
    assert twice == pytest.approx(optim.peak_lr * (2 if scaled else 1))
    assert found.schedule.warmup_epochs == float(row["warmup_epochs"])
    of_size = dict(part.split() for part in row["drop_path"].split(" / ") if " " in part)
    assert found.model.drop_path == float(of_size.get(letter, row["drop_path"].split()[-1]))
    assert optim.layer_decay == float(row["layer_decay"].replace("none", "") or 1)
    averaged = views.mixup, views.cutmix, optim.model_ema_decay, found.schedule.min_lr
    assert averaged == (0.8, 1.0, 0.99996, 1e-5)  # the release's defaults
    assert views.smoothing == float(row["label_smoothing"] or 0)
    assert (row["random_erasing"], views.random_erasing_prob) == ("no", 0)
    assert (views.auto_augment or "") == row["rand_augment"]
    assert views.aug_repeats == {"yes": 3, "no": 1}[row["repeated_augmentation"]]
    assert views.augment == {"yes": "three_augment", "no": "resized_crop"}[row["three_augment"]]
    assert (found.model.pos_embed.kind, found.init.source) == ("learned", None)


@pytest.mark.parametrize(
    ("size", "peak"), [("tiny", 1e-3), ("small", 1e-3), ("base", 1e-3), ("large", 1.6e-3), ("huge", 1.6e-3)]
)
def test_deits_have_the_learning_rates_that_their_papers_print(size, peak):
    """arXiv 2012.12877, Table 9: 1e-3 at 1024; arXiv 2111.06377, appendix: 1e-4 at 256, so 1.6e-3 at 4096."""
    assert getattr(imagenet, f"deit_{size}")(16).optim.peak_lr == pytest.approx(peak)


# Names


@pytest.mark.parametrize("image", [128, 224])
def test_a_stage_starts_from_the_canonical_recipe_of_the_one_before(image):
    stages = chain("base", image, 8)
    assert stages[0].predecessor is None
    for before, after in itertools.pairwise(stages):
        assert after.predecessor == before
        assert waits_for(after) == before.run_id
    assert ExperimentConfig.from_dict(stages[-1].to_dict()) == stages[-1]


def test_patches_and_seeds_are_runs_of_their_own_and_one_group_a_stage():
    chains = [resolve("imagenet.adventurer_small", p, {"img_size": 224, "seed": s}) for p in (16, 8, 2) for s in (0, 1)]
    ids = {r.run_id for stages in chains for r in stages}
    assert len(ids) == 3 * 2 * 3
    groups = [{stages[n].group for stages in chains} for n in range(3)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_a_group_is_another_where_a_stage_before_is_another():
    first, last = chain("small", 128)
    other = linked([edit(first, epochs=299), last])[1]
    assert other.group != last.group
    assert edit(other, init="scratch") == edit(last, init="scratch")


# The recipes on shapes as they were with version 1 of the data.
DATA_1 = {
    "data_version": 1,
    "num_classes": 12,
    "epochs": 2,
    "num_train": 8192,
    "warmup_epochs": 0.5,
}


@pytest.mark.parametrize(
    ("config", "run_id", "group"),
    [
        (edit(shapes.deit_nano(16), **DATA_1), "classify-shapes-deit_nano-16px-p16-s0-5c5a0e2e", "0c12e1d1"),
        (edit(shapes.adventurer_nano(1), **DATA_1), "classify-shapes-adventurer_nano-16px-p1-s0-b1759963", "eb45c11a"),
        (cifar10.deit_nano(16), "classify-cifar10-deit_nano-32px-p16-s0-2ae49828", "655aaaec"),
        (cifar10.adventurer_nano(1), "classify-cifar10-adventurer_nano-32px-p1-s0-acb6f54f", "c14b5ab7"),
        (
            make_config(
                backbone="adventurer_nano",
                scan_direction="alternate",
                initial_checkpoint="w.pth",
                seed=3,
                data_version=1,
                num_classes=12,
            ),
            "classify-shapes-adventurer_nano-16px-p4-s3-88192d02",
            "",
        ),
    ],
    ids=lambda v: "",
)
def test_runs_from_before_there_were_stages_keep_their_names(config, run_id, group):
    """As commit a63ad07 named them."""
    assert config.run_id == run_id
    assert config.group.endswith(group)


# The command line


def test_a_field_goes_to_all_stages_and_the_chain_holds():
    stages, _ = run.arguments(
        ["imagenet.adventurer_base", "--image", "224", "--patch", "8", "--epochs", "3", "--seed", "5"]
    )
    assert [(r.stage or "", r.schedule.epochs, r.seed, r.model.patch_size) for r in stages] == [
        (stage, 3, 5, 8) for stage in ("pretrain", "intermediate", "finetune")
    ]
    assert [r.model.img_size for r in stages] == [128, 224, 224]
    assert stages == linked(stages)
    assert stages[2].predecessor.predecessor == stages[0]


def test_one_stage_can_be_asked_for_and_is_the_one_of_the_chain():
    whole, _ = run.arguments(["imagenet.adventurer_base", "--patch", "8"])
    (one,), _ = run.arguments(["imagenet.adventurer_base", "--patch", "8", "--stage", "finetune"])
    assert one == whole[-1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "imagenet.adventurer_base --stage finetun",
            "this recipe has no stage 'finetun'; its stages: pretrain, intermediate",
        ),
        ("imagenet.adventurer_base --image 128 --stage intermediate", "its stages: pretrain, finetune"),
        ("shapes.deit_nano --patch 4 --stage pretrain", "none, it is one run"),
        ("imagenet.adventurer_base --patch 14", "patch 14 does not divide a 128 px image"),
        ("shapes.deit_nano --patch 4 --judged averaged", "set model_ema_decay, such as 0.9999"),
        ("shapes.deit_nano --patch 4 --rand-augment rand-m9", "needs augment to be one of resized_crop"),
        ("shapes.deit_nano --patch 4 --extend 2", "embed_patch_size 2 is below patch_size 4"),
        ("shapes.deit_nano --patch 4 --extend 5", "patch 5 does not divide a 16 px image"),
        ("shapes.deit_nano --patch 4 --compat official", "needs initial weights"),
        ("shapes.deit_nano --patch 4 --repeats 0", "aug_repeats 0 must be in [1, 16]"),
        ("shapes.deit_nano --patch 4 --erasing 1.5", "random_erasing_prob 1.5"),
        ("shapes.deit_nano --patch 4 --layer-decay 0", "layer_decay 0"),
        ("shapes.deit_nano --patch 4 --ema 1", "model_ema_decay 1"),
        ("shapes.deit_nano --patch 4 --mixup -1", "mixup -1"),
    ],
)
def test_what_cannot_be_a_stage_is_refused_in_one_line(words, says):
    with pytest.raises(ConfigError, match=re.escape(says)) as e:
        run.arguments(words.split())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("change", [{"patch_size": 8}, {"backbone": "adventurer_tiny"}, {"num_classes": 10}])
def test_a_start_of_another_patch_backbone_or_head_is_refused_with_both_values(change):
    (name, value), first = *change.items(), chain("small", 128)[0]
    says = f"{name} {value} differs from {value_of(first, name)} of {first.run_id}"
    with pytest.raises(ConfigError, match=re.escape(says)):
        edit(chain("small", 128)[1], **change)


@pytest.mark.parametrize("start", ["{", "[]", "3", '{"epoch": 3}', '{"epochs": -1}'])
def test_a_start_that_is_no_recipe_is_refused(start):
    with pytest.raises(ConfigError, match=r"start is not|unknown field epoch|epochs -1"):
        from_flat({"start": start})


def test_rand_augment_that_timm_does_not_read_is_refused_before_anything_is_written(tmp_path, tiny):
    with pytest.raises(ConfigError, match=r"rand-m9-mstd0\.5-inc1"):
        train(edit(tiny, augment="resized_crop", auto_augment="rand-x9"), tmp_path, CPU)
    assert not list(tmp_path.iterdir())


# A chain, run


def small_chain(tiny, backbone="adventurer_nano", judged="ema"):
    """16 px to 32 px at patch 8; the second stage learns next to nothing, so its weights are those it started from."""
    first = edit(
        tiny, backbone=backbone, stage="pretrain", epochs=1, drop_path=0.0, model_ema_decay=0.5, eval_weights=judged
    )
    still = {"stage": "finetune", "lr": 1e-30, "weight_decay": 0.0, "model_ema_decay": None, "eval_weights": "raw"}
    return linked([first, edit(first, **still)])[1], linked([first, edit(first, img_size=32, **still)])


def weights_of_run(results, config):
    return torch.load(results / config.run_id / WEIGHTS, weights_only=True)


@pytest.mark.parametrize(
    ("backbone", "judged", "key"), [("adventurer_nano", "ema", "model_ema"), ("deit_nano", "raw", "model")]
)
def test_a_stage_starts_from_the_very_weights_that_were_judged(tmp_path, tiny, backbone, judged, key):
    same_size, (first, second) = small_chain(tiny, backbone, judged)
    before, after = train(first, tmp_path, CPU), train(second, tmp_path, CPU)
    left, begun = weights_of_run(tmp_path, first), weights_of_run(tmp_path, second)
    assert left.keys() == {"model", "model_ema"}
    assert begun.keys() == {"model"}
    assert left[key].keys() == begun["model"].keys() >= {"head.weight", "head.bias", "pos_embed", "cls_token"}
    for name, tensor in left[key].items():
        if name != "pos_embed":
            torch.testing.assert_close(begun["model"][name], tensor, rtol=0, atol=1e-20, msg=name)
    token = -1 if backbone == "adventurer_nano" else 0
    old, new = left[key]["pos_embed"], begun["model"]["pos_embed"]
    assert (old.shape, new.shape) == ((1, 2 * 2 + 1, 48), (1, 4 * 4 + 1, 48))
    torch.testing.assert_close(new[:, token], old[:, token], rtol=0, atol=1e-20)
    # At the same size nothing is resampled: what was judged before is judged again.
    assert train(same_size, tmp_path, CPU).test_loss == pytest.approx(before.test_loss, rel=1e-6)
    assert after.experiment().predecessor == first


def test_a_record_has_the_results_of_both_weights_and_is_judged_by_one(tmp_path, trained, tiny):
    _, (first, _) = small_chain(tiny)
    record = RunRecord.load(trained(first) / first.run_id)
    both = {f"{name}_{kind}" for name in ("test_loss", "top1", "top5") for kind in ("raw", "averaged")}
    assert without_instruments(record.metrics).keys() == both | {"top1", "top5", "train_loss"}
    assert record.test_loss == record.metrics["test_loss_averaged"] != record.metrics["test_loss_raw"]
    assert record.metrics["top1"] == record.metrics["top1_averaged"]
    raw = train(edit(first, eval_weights="raw"), tmp_path, CPU)
    assert raw.test_loss == raw.metrics["test_loss_raw"] == record.metrics["test_loss_raw"]


def test_the_weights_that_a_run_leaves_are_read_by_timm_and_by_weights(trained, tiny):
    _, (first, second) = small_chain(tiny)
    path = trained(first) / first.run_id / WEIGHTS
    left = torch.load(path, weights_only=True)
    model = Adventurer(MODEL_SPECS["adventurer_nano"], 16, 8, 3)
    timm.models.load_checkpoint(model, str(path))  # strictly, and the average where a file has one
    assert all(torch.equal(tensor, left["model_ema"][name]) for name, tensor in model.state_dict().items())
    model.load_state_dict(left["model"])
    net = build_backbone(edit(first, stage=None, initial_checkpoint=str(path))).checkpoint_module
    assert all(torch.equal(tensor, left["model"][name]) for name, tensor in net.state_dict().items())
    assert build_backbone(edit(second, initial_checkpoint=str(path))).checkpoint_module.pos_embed.shape == (1, 17, 48)


def test_a_stage_whose_predecessor_is_missing_failed_or_without_weights_is_refused(tmp_path, trained, tiny):
    _, (first, second) = small_chain(tiny)
    with pytest.raises(ConfigError, match=f"stage pretrain, run {first.run_id}, is not finished"):
        train(second, tmp_path, CPU)
    assert not list(tmp_path.iterdir())
    shutil.copytree(trained(first), tmp_path, dirs_exist_ok=True)
    record = RunRecord.load(tmp_path / first.run_id)
    (tmp_path / first.run_id / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match=f"{first.run_id}, has no {WEIGHTS} any more"):
        train(second, tmp_path, CPU)
    replace(record, status="failed", test_loss=None, failure={"reason": "it burnt"}).save(tmp_path / first.run_id)
    with pytest.raises(ConfigError, match=f"{first.run_id}, failed .it burnt.; fix"):
        train(second, tmp_path, CPU)
    assert [path.name for path in tmp_path.iterdir()] == [first.run_id]


def test_weights_stand_in_for_the_stages_before_the_first_one_asked_for():
    words = ["imagenet.adventurer_base", "--patch", "8", "--weights", "w.pth"]
    (last,) = run.arguments([*words, "--stage", "finetune"])[0]
    assert (last.stage, last.init.source, last.predecessor) == ("finetune", "w.pth", None)
    first, *others = run.arguments(words)[0]
    assert (first.init.source, first.predecessor) == ("w.pth", None)
    assert [(r.init.source or "") for r in others] == ["", ""]
    assert others[0].predecessor == first
