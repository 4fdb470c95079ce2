import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from analysis.planning.throughput_model import image_seconds
from experiments import plan
from experiments.cli.resolve import recipes
from experiments.planning import cost_estimate, counted_plan, plan_report
from experiments.stages import chain_of
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.costs.hardware import CARDS, processor
from scaling.errors import ConfigError
from tests.analysis.test_cost_model import BASE, record
from tests.conftest import ROOT

A100 = cost_estimate.Device(CARDS["a100"])


def said(capsys, *words) -> str:
    assert plan.main([*map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_plan_of_a_chain_sums_all_stages_and_prices_them(capsys, tmp_path):
    words = ["imagenet.adventurer_base", "--patch", "16,8,4,2,1", "--gpu", "a100", "--price", "2.5"]
    text = said(capsys, *words, "--results", tmp_path)
    found = cost_estimate.chains([r for p in (16, 8, 4, 2, 1) for r in recipes()["imagenet.adventurer_base"](p)], A100)
    assert [len(chain.runs) for chain in found] == [3] * 5
    hours = [sum(one.device_hours for one in chain.runs) for chain in found]
    assert hours == pytest.approx(
        [99, 384, 1496, 5984, 25_083], rel=0.05
    )  # experiments/recipes/imagenet.py, from Table 6
    for one in hours:
        assert plan_report.money(2.5 * one) in text
    assert f"{2.5 * sum(hours):,.0f} (at 2.50 per GPU-hour)" in text
    assert f"15 runs, {sum(hours):,.0f} GPU-h" in text
    for word in ("pretrain 128 px", "intermed 224 px", "finetune 224 px", "50,176", "PFLOPs", "MB/image", "accum"):
        assert word in text
    assert max(map(len, text.replace(str(tmp_path), "results").splitlines())) <= 80
    assert not list(tmp_path.iterdir())


def test_residuals_are_printed_not_hidden(capsys, tmp_path):
    text = said(capsys, "imagenet.deit_base", "--patch", "16", "--gpu", "a100", "--results", tmp_path)
    assert len(re.findall(r"[+-]\d+\.\d%", text)) == 15
    (header,) = [line for line in text.splitlines() if line.startswith("patch DeiT")]
    assert header.split() == [
        "patch",
        *(cell for name in ("DeiT", "Adventurer", "ViT") for cell in (name, "predicted", "error")),
    ]
    assert "2 efficiencies fitted to 10 values" in text
    assert "leave-one-out" in text
    assert "Table 6 of arXiv" not in said(capsys, "imagenet.deit_base", "--gpu", "h200", "--results", tmp_path)
    with_them = said(capsys, "imagenet.deit_base", "--gpu", "h200", "--residuals", "--results", tmp_path)
    assert "Table 6 of arXiv" in with_them


@pytest.mark.parametrize(
    "words",
    [
        ["table5", "--gpu", "l40s", "--devices", "8", "--price", "1.234"],
        ["figure4", "--gpu", "rtx4090", "--recompute", "--residuals"],
        ["figure2", "--gpu", "h200"],
        ["shapes.deit_nano,shapes.adventurer_nano,shapes.table5", "--gpu", "cpu", "--price", "0.1"],
        ["coco.adventurer_tiny,nuclei.adventurer_nano", "--patch", "32,16", "--gpu", "h100"],
        ["imagenet.deit_huge", "--patch", "14,7,2,1", "--gpu", "h200", "--nodes", "2", "--devices", "8"],
        [
            "imagenet.deit_tiny",
            "--backbone",
            "timm:vit_small_patch14_dinov2.lvd142m",
            "--drop-path",
            "0",
            "--gpu",
            "a100",
        ],
    ],
)
def test_every_plan_keeps_to_80_columns(capsys, tmp_path, words):
    text = said(capsys, *words, "--results", tmp_path)
    assert max(map(len, text.replace(str(tmp_path), "results").splitlines())) <= 80, text
    assert "nan" not in text.replace("nano", "")


def test_accumulation_times_micro_batch_times_devices_is_the_batch():
    for run in chain_of(recipes()["imagenet.adventurer_base"](4)):
        for cards in (1, 2, 8):
            one = cost_estimate.forecast(run, A100._replace(cards=cards))
            assert one.accumulation * one.micro_batch_size * cards == run.optim.global_batch_size, (
                run.stage or "",
                cards,
            )
            assert one.device_hours == pytest.approx(cards * one.hours)
            assert one.hours == pytest.approx(cost_estimate.forecast(run, A100).hours / cards, rel=0.01), (
                run.stage or "",
                cards,
            )


def test_devices_that_cannot_share_a_batch_and_cuts_that_do_not_go_up_are_refused_as_a_run_refuses_them():
    with pytest.raises(ConfigError, match="batch 1024 cannot be divided among 3 devices; nearest that can: 1023, 1026"):
        cost_estimate.forecast(BASE, A100._replace(cards=3))
    with pytest.raises(
        ConfigError, match="micro_batch_size 5 does not divide global_batch_size 1024 evenly; these do: 1, 2, 4"
    ):
        cost_estimate.forecast(BASE, A100._replace(micro_batch_size=5))
    assert cost_estimate.forecast(BASE, A100._replace(micro_batch_size=32)).micro_batch_size == 32


def test_the_largest_micro_batch_that_fits_is_taken_and_no_larger_one():
    from scaling.costs import MemoryPolicy, memory_bytes

    bf16 = MemoryPolicy(number=2)

    for patch in (16, 4, 1):
        one = cost_estimate.forecast(edit(BASE, patch_size=patch), A100)
        assert memory_bytes(one.run, one.micro_batch_size, bf16) < 80e9
        assert (
            memory_bytes(one.run, 2 * one.micro_batch_size, bf16) > 0.7 * 80e9
            or one.micro_batch_size == BASE.optim.global_batch_size
        )


def test_a_patch_of_which_not_one_image_fits_says_what_it_wants(capsys, tmp_path):
    words = ["imagenet.deit_base", "--gpu", "rtx4090", "--results", tmp_path]
    text = " ".join(said(capsys, *words, "--patch", "8,1").split())
    assert "patch 1 at 224 px does not fit: the smallest step needs 3" in text
    assert "of 24.0 GB" in text
    assert re.search(r"with --grad-checkpointing it needs [\d.]+ GB and fits, \d+ at a time", text)
    assert "excludes 1 run without an estimate" in text
    assert "none" in text
    with_it = " ".join(said(capsys, *words, "--patch", "1", "--recompute").split())
    assert "does not fit" not in with_it
    small = " ".join(said(capsys, *words, "--patch", "1", "--memory", "4").split())
    assert "and does not fit either" in small


def test_where_the_rates_are_from_is_said(capsys, tmp_path):
    words = ["imagenet.deit_base", "--patch", "16,8", "--gpu", "a100", "--results", tmp_path]
    before = " ".join(said(capsys, *words).split())
    assert "rates: a100's data sheet and the efficiencies of Table 6; no record of this card in" in before
    (run,) = chain_of(recipes()["imagenet.deit_base"](16))
    plain = cost_estimate.forecast(run, A100)
    gpu = {"gpus": ["NVIDIA A100-SXM4-80GB"], "devices": 1, "micro_batch": plain.micro_batch_size}
    rate = 1 / image_seconds(run, CARDS["a100"], plain.micro_batch_size)
    record(run, tmp_path, rate / 1.5, **gpu)
    after = " ".join(said(capsys, *words).split())
    assert "rates: hours of 2 runs calibrated by 1 record of this card, x1.50" in after
    assert "left to do in" in after
    on = cost_estimate.device("a100", 1, tmp_path)
    assert cost_estimate.forecast(run, on).hours == pytest.approx(1.5 * plain.hours)
    assert cost_estimate.forecast(run, on, own=False).hours == pytest.approx(plain.hours)


def test_what_is_extrapolated_is_said(capsys, tmp_path):
    words = ["--patch", "16", "--results", tmp_path]
    assert "extrapolated:" not in said(capsys, "imagenet.deit_base", "--gpu", "a100", *words)
    text = " ".join(said(capsys, "ade20k.adventurer_tiny", "--gpu", "h200", "--devices", "2", *words).split())
    assert "extrapolated: from the A100 to h200 by data sheet; models other than Base (adventurer_tiny)" in text
    assert "tasks other than classification; linear speed-up on 2 devices" in text


def test_finished_runs_are_held_against_what_is_said_of_them(capsys, tmp_path):
    here = processor()
    words = ["shapes.deit_nano", "--patch", "8,4", "--gpu", "cpu", "--measured", "--results", tmp_path]
    assert "none of these runs is finished on this card" in " ".join(said(capsys, *words).split())
    for patch, slower in ((8, 2.0), (4, 3.0)):
        (run,) = chain_of(recipes()["shapes.deit_nano"](patch))
        rate = 1 / image_seconds(run, here, run.optim.global_batch_size) / slower
        record(run, tmp_path, rate, gpus=[], processor=here.words[0], threads=1)
    text = said(capsys, *words)
    assert re.search("run +measured s +uncalibrated +ratio +leave-one-out +ratio", text)
    lines = [line.split() for line in text.splitlines() if line.startswith("deit_nano p")]
    rough, by_others = ([float(line[i][1:]) for line in lines] for i in (5, 7))
    assert by_others[0] == pytest.approx(3 * rough[0], rel=0.1)  # each by the other's record
    assert by_others[1] == pytest.approx(2 * rough[1], rel=0.1)


def test_seeds_are_counted_and_shown_once(capsys, tmp_path):
    text = said(capsys, "shapes.deit_nano", "--patch", "8", "--seeds", "0,1,2", "--gpu", "cpu", "--results", tmp_path)
    assert "total: 3 runs" in text
    assert text.count("16 px") == 1


def test_data_whose_size_nobody_knows_is_said(capsys, tmp_path):
    words = ["shapes.deit_nano", "--data", "folder", "--train-images", "0", "--patch", "8", "--gpu", "a100"]
    assert "folder: unknown number of training images" in said(capsys, *words, "--results", tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shapes.deit_nano --gpu v100", "unknown GPU 'v100'; known: a100"),
        ("shapes.deit_nano --patch 5", "nearest that do: 4, 8"),
        ("imagenet.adventurer_base --patch 5 --gpu a100", "patch 5 does not divide a 128 px image"),
        ("shapes.deit_nano --price -1", "price -1.0 must be 0 or more"),
        ("shapes.deit_nano --memory -1", "memory -1.0 must be 0 or more"),
        ("shapes.deit_nano --devices many", "devices 'many' must be auto"),
        ("imagenet.deit_base --gpu a100 --devices 3", "cannot be divided among 3 devices"),
        ("shapes.deit_nan", "did you mean shapes.deit_nano?"),
    ],
)
def test_bad_words_are_refused_in_one_line(tmp_path, words, says):
    results = tmp_path / "results"
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        plan.main([*words.split(), "--results", str(results)])
    assert "\n" not in str(refused.value)
    assert not results.exists()


def test_the_script_says_what_is_wrong_in_one_line_with_status_2(call, tmp_path):
    done = call("experiments/plan.py", "shapes.deit_nan", "--results", tmp_path / "results")
    assert (done.returncode, done.stdout) == (2, "")
    assert "did you mean shapes.deit_nano?" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_plan_needs_no_torch_and_a_sweeps_no_pandas_either():
    for heavy, more in (
        ("{'torch', 'lightning', 'timm'}", "'--gpu', 'a100'"),
        ("{'torch', 'pandas', 'scipy'}", "'--gpu', 'h100'"),
    ):
        code = (
            "import sys\nfrom experiments import plan\n"
            f"plan.main(['imagenet.deit_base', '--results', 'nowhere', {more}])\n"
            f"assert not {heavy} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_numbers_keep_three_digits():
    told = [plan_report.number(x) for x in (math.nan, 0.0, 1e-5, 0.0123, 0.123, 1.234, 12.34, 123.4, 12345.6)]
    assert told == ["?", "0.000", "<0.001", "0.012", "0.12", "1.23", "12.3", "123", "12,346"]


def test_a_machines_gpus_are_all_taken_where_nobody_says(monkeypatch, tmp_path):
    monkeypatch.setattr(cost_estimate, "gpus_here", lambda: ["NVIDIA H200", "NVIDIA H200"])
    plain = RuntimeConfig()
    assert cost_estimate.device_of(plain, tmp_path).name == "2 x h200"
    assert cost_estimate.device_of(replace(plain, devices="0,1", num_nodes=2), tmp_path).cards == 4
    assert cost_estimate.device_of(replace(plain, devices="1"), tmp_path).name == "h200"
    assert cost_estimate.device_of(replace(plain, accelerator="cpu"), tmp_path).card.cores > 0
    monkeypatch.setattr(cost_estimate, "gpus_here", lambda: ["NVIDIA GeForce GTX 1080"])
    with pytest.raises(ConfigError, match="no data sheet for this machine's NVIDIA GeForce GTX 1080"):
        cost_estimate.device_of(plain, tmp_path)


def test_a_backbone_that_nobody_can_count_has_no_hours(monkeypatch):
    monkeypatch.setattr("scaling.engine.counted_costs.flops_of", lambda *given: 1 / 0)
    run = make_config(backbone="timm:vit_tiny_patch16_224", img_size=16, patch_size=16)
    monkeypatch.setattr(counted_plan, "_counted", {})
    one = cost_estimate.forecast(run, A100)
    assert math.isnan(one.hours)
    assert "no cost model for this backbone" in " ".join(plan_report.unfit_lines([one], A100))


def test_a_backbone_without_a_cost_model_is_planned_by_what_torch_counts():
    """timm's ViT-Ti is DeiT-Ti: the counts are those of its cost model, and so are the hours within a tenth."""
    known = make_config(backbone="deit_tiny", img_size=224, patch_size=16, num_classes=1000, num_train=1000)
    ours = cost_estimate.forecast(known, A100)
    one = cost_estimate.forecast(edit(known, backbone="timm:vit_tiny_patch16_224"), A100)
    assert one.parameters == ours.parameters
    assert one.epoch_flops == pytest.approx(ours.epoch_flops, rel=1e-3)
    assert one.image_bytes == pytest.approx(ours.image_bytes, rel=0.2)
    assert one.hours == pytest.approx(ours.hours, rel=0.1)
    assert "counted by torch" in counted_plan.counted_line([one.run])


def test_a_threshold_of_adaptive_patches_has_no_hours():
    run = make_config(patch_size=2, img_size=16, split_threshold=1.0, num_train=64)
    one = cost_estimate.forecast(run, A100)
    assert math.isnan(one.hours)
    assert one.image_bytes > 0
    assert plan_report.unfit_lines([one], A100)[0].startswith("adaptive patches with a split_threshold above 0")
