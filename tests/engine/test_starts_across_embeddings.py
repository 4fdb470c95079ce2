"""A flexible run that starts from a fixed model, and the reverse: the same outputs before the first step."""

import pytest
import torch

from experiments.run import main
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromRun
from scaling.config.runtime import RuntimeConfig
from scaling.engine.teachers import set_teacher
from scaling.engine.train import train
from scaling.engine.warm_start import start_from
from scaling.errors import ConfigError
from scaling.inference import load
from scaling.tasks.classification import ClassificationTask
from tests.conftest import TINY

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0, micro_batch_size=16)
IMAGE = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
FLEXIBLE = {"patch_embed": "flexible", "pos_embed": "grid"}


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """The results of a run of one epoch at patch 4 for each family, by family."""
    results = tmp_path_factory.mktemp("fixed")
    runs = {}
    for backbone in ("deit_nano", "adventurer_nano"):
        runs[backbone] = edit(TINY, backbone=backbone, patch_size=4, epochs=1, drop_path=0.0)
        train(runs[backbone], results, CPU)
    return results, runs


@pytest.fixture(scope="module")
def flexible(tmp_path_factory):
    """The results and the configuration of a flexible run of one epoch."""
    results = tmp_path_factory.mktemp("flexible")
    config = edit(TINY, patch_size=4, epochs=1, step_shapes="random_patch", grid_antialias=False, **FLEXIBLE)
    train(config, results, CPU)
    return results, config


def started(config, results):
    task = ClassificationTask(config, 1)
    start_from(task, config, results)
    return task.eval()


@torch.no_grad()
def logits(task, patch=None):
    return task(IMAGE, patch) if patch else task(IMAGE)


@pytest.mark.parametrize("road", ["run", "folder"])
@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_a_fixed_run_made_flexible_has_its_logits_at_its_patch(fixed, backbone, road):
    results, config = fixed[0], fixed[1][backbone]
    wanted = logits(load(results / config.run_id).module)
    start = (
        {"init": FromRun(config=config)}
        if road == "run"
        else {"initial_checkpoint": str(results / config.run_id), "load_head": True}
    )
    for patch_size, kernel in ((4, 4), (2, 4), (4, 32), (2, 32)):
        made = edit(config, patch_size=patch_size, kernel_size=kernel, grid_size=4, **FLEXIBLE)
        found = logits(started(edit(made, **start), results), 4)
        if kernel == 4:
            assert torch.equal(found, wanted)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano"])
def test_positions_by_sines_stay_where_they_are_at_any_finest_patch(tmp_path, backbone):
    config = edit(TINY, backbone=backbone, patch_size=4, num_train=16, epochs=1, drop_path=0.0, pos_embed="sincos")
    train(config, tmp_path, CPU)
    made = edit(config, patch_size=2, patch_embed="flexible", kernel_size=4, init=FromRun(config=config))
    wanted = logits(load(tmp_path / config.run_id).module)
    torch.testing.assert_close(logits(started(made, tmp_path), 4), wanted, atol=1e-6, rtol=1e-5)
    back = edit(made, patch_size=8, patch_embed="conv", init=FromRun(config=made))
    train(made, tmp_path, CPU)
    wanted = logits(load(tmp_path / made.run_id).module, 8)
    torch.testing.assert_close(logits(started(back, tmp_path)), wanted, atol=1e-6, rtol=1e-5)


def test_it_can_be_trained_at_random_patches(fixed):
    results, config = fixed[0], fixed[1]["deit_nano"]
    changed = {"patch_size": 2, "kernel_size": 4, "grid_size": 4, "step_shapes": "random_patch", **FLEXIBLE}
    record = train(edit(config, init=FromRun(config=config), **changed), results, CPU)
    assert record.status == "finished"
    assert [row["patch_size"] for row in record.evaluations] == [2, 4, 8, 16]


@pytest.mark.parametrize("road", ["run", "folder"])
@pytest.mark.parametrize("patch", [8, 2])
def test_a_flexible_run_made_fixed_has_its_logits_at_that_patch(flexible, road, patch):
    results, config = flexible
    wanted = logits(load(results / config.run_id).module, patch)
    start = (
        {"init": FromRun(config=config)}
        if road == "run"
        else {"initial_checkpoint": str(results / config.run_id), "load_head": True}
    )
    made = edit(TINY, patch_size=patch, **start)
    torch.testing.assert_close(logits(started(made, results)), wanted, atol=1e-6, rtol=1e-5)


def test_a_fixed_student_starts_from_a_flexible_teacher_at_its_own_patch(flexible):
    results, config = flexible
    taught = {"objectives": "distillation", "teacher": str(results / config.run_id), "init": "teacher"}
    student = ClassificationTask(edit(TINY, patch_size=8, **taught), 1).eval()
    set_teacher(student)
    wanted = logits(load(results / config.run_id).module, 8)
    torch.testing.assert_close(logits(student), wanted, atol=1e-6, rtol=1e-5)


def test_a_patch_that_the_flexible_run_has_not_is_refused(flexible):
    results, config = flexible
    made = edit(TINY, img_size=15, patch_size=5, init=FromRun(config=config))
    with pytest.raises(ConfigError, match="patch 5 does not divide a 16 px image"):
        started(made, results)


def test_two_fixed_runs_have_one_patch():
    with pytest.raises(ConfigError, match="patch_size 4 differs from 8"):
        edit(TINY, patch_size=4, init=FromRun(config=TINY))


def test_a_flexible_model_tuned_at_a_coarse_patch_is_evaluated_at_fine_ones(flexible):
    results, config = flexible
    tuned = edit(config, patch_size=8, step_shapes="fixed", eval_patches=(4, 2), init=FromRun(config=config), seed=1)
    before = {patch: logits(started(tuned, results), patch) for patch in (8, 4, 2)}
    trained = load(results / config.run_id).module
    for patch, found in before.items():
        assert torch.equal(found, logits(trained, patch))
    record = train(tuned, results, CPU)
    assert [row["patch_size"] for row in record.evaluations] == [8, 2, 4]
    after = load(results / tuned.run_id).module
    assert all(not torch.equal(before[patch], logits(after, patch)) for patch in before)


@pytest.mark.parametrize(
    ("backbone", "without", "options", "said"),
    [
        ("deit_micro", "", [], "96 channels wide; this backbone is 48"),
        ("deit_nano", "", ["--load-head", "true", "--num-classes", "3"], "a head of 5 classes, the data 3"),
        ("deit_nano", "patch_embed.proj.weight", [], "these are not weights of a plain ViT"),
        ("deit_nano", "blocks.1.attn.qkv.bias", [], "missing blocks.1.attn.qkv.bias"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_nothing_is_written(
    tmp_path, monkeypatch, backbone, without, options, said
):
    monkeypatch.chdir(tmp_path)
    net = build_backbone(make_config(img_size=16, patch_size=4, backbone=backbone))
    tensors = {**net.checkpoint_module.state_dict(), "head.weight": torch.zeros(5, 48), "head.bias": torch.zeros(5)}
    torch.save({name: t for name, t in tensors.items() if name != without}, tmp_path / "w.pth")
    given = ["--patch", "2", "--patch-embed", "flexible", "--initial-checkpoint", "w.pth", "--num-train", "32"]
    with pytest.raises(ConfigError, match=said) as e:  # which a program prints, and exits with status 2
        main(["shapes.deit_nano", *given, "--num-val", "8", *options, "--results", "results"])
    assert "\n" not in str(e.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]
