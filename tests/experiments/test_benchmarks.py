"""The benchmarks measure what they say: contenders are equals, and the numbers behind the tables are right."""

import math
from functools import partial

import pandas as pd
import pytest
import torch
from rich.console import Console

from analysis.plots.studies import crossing_figure
from experiments import benchmark
from experiments.benchmarks import curve_coverage, curve_losses, mixer, models, table6
from experiments.benchmarks.timing import interleaved
from experiments.cli import arguments
from scaling import costs
from scaling.config.edit import make_config
from scaling.costs import hardware


def test_all_contenders_of_the_mixer_give_the_same():
    ours, peers, reference = mixer.make_contenders()
    x = torch.randn(2, 70, mixer.WIDTH, generator=torch.Generator().manual_seed(0))
    mixer.check_equal({"ours": ours, **peers, "reference": reference}, x)


def test_contenders_take_turns_and_each_is_timed():
    order = []

    seconds = interleaved({name: partial(order.append, name) for name in ("a", "b")}, turns=2)
    assert order == ["a", "b"] * 3  # the first turn warms up
    assert all(took > 0 for took in seconds.values())


def frame(deit, adventurer, tokens=(100, 1000)):
    rows = [("deit_tiny", t, s) for t, s in zip(tokens, deit, strict=True)]
    rows += [("adventurer_tiny", t, s) for t, s in zip(tokens, adventurer, strict=True)]
    return pd.DataFrame(rows, columns=["backbone", "tokens", "seconds_per_image"])


def test_the_crossing_lies_where_two_power_laws_meet():
    # 1e-4 t^1.5 = 1e-2 t^0.5 at t = 100
    points = (10.0, 1000.0)
    found = frame([1e-4 * t**1.5 for t in points], [1e-2 * t**0.5 for t in points], tokens=points)
    assert models.crossing_tokens(found) == pytest.approx(100)


def test_backbones_that_do_not_cross_have_no_crossing():
    assert math.isnan(models.crossing_tokens(frame((1.0, 2.0), (3.0, 4.0))))


def test_the_figure_of_the_crossing_names_both_lines_and_has_units():
    axes = crossing_figure(frame((1.0, 20.0), (2.0, 10.0))).axes[0]
    assert {text.get_text() for text in axes.texts} == {"deit_tiny", "adventurer_tiny"}
    assert "[s]" in axes.get_ylabel()


def test_a_step_is_measured_in_a_process_of_its_own():
    asked = {"image": 32, "patch": 16, "batch": 2, "steps": 2, "device": "cpu", "optimise": True, "checkpointing": True}
    got = models.in_process("adventurer_nano", **asked)
    assert len(got["seconds"]) == 2
    assert got["weights"] == 8 * costs.parameters("adventurer_nano", 32, 16, 1000)  # float32, and a gradient each
    assert got["peak"] > 0
    assert models.measure("deit_nano", **asked)["weights"] == 8 * costs.parameters("deit_nano", 32, 16, 1000)


def test_what_dies_is_said_and_not_raised(monkeypatch, tmp_path):
    dies = tmp_path / "python"
    dies.write_text("#!/bin/sh\necho Traceback >&2\necho 'ConfigError: patch 16 does not divide' >&2\nexit 1\n")
    dies.chmod(0o755)
    for executable, said in ((dies, "ConfigError: patch 16 does not divide"), ("/bin/false", "status 1")):
        monkeypatch.setattr(models.sys, "executable", str(executable))
        assert models.in_process("deit_tiny", image=30, patch=16, batch=1, device="cpu") == {"failed": said}


def test_cards_are_known_by_torchs_names():
    assert costs.peak_flops("NVIDIA H200") == 989e12
    assert costs.peak_flops("NVIDIA GeForce RTX 4090") == 165.2e12
    assert costs.peak_flops("a card of the future") == 0


def test_an_unknown_benchmark_is_refused_with_the_names(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmark.py", "mixr"])
    with pytest.raises(SystemExit) as ended:
        arguments.guarded(benchmark.main)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "did you mean mixer?" in said
    assert len(said.splitlines()) == 1


def measured(name, batch, **options):
    """A machine that takes 4 images of 0.1 s and 10 MiB at a time, and nothing below 4 px patches."""
    if batch > 4 or options["patch"] < 4:
        return {"failed": "out of memory: so it says"}
    moments = 8 * costs.recipe_parameters(
        make_config(backbone=name, img_size=options["image"], patch_size=options["patch"], num_classes=1000)
    )
    return {"seconds": [0.4, 0.4, 0.4], "batch": batch, "peak": 4 * 10 * 2**20 + moments}


def test_table_6_stands_beside_what_is_measured_and_what_is_predicted(monkeypatch, tmp_path):
    monkeypatch.setattr(table6, "in_process", measured)
    a100 = hardware.card_called("a100")
    row = table6.row("deit_base", 224, 16, 64, "cuda", "sdpa", a100)
    assert (row["batch"], row["images_per_second"], row["memory"]) == (4, pytest.approx(10), pytest.approx(10))
    assert row["hours"] == pytest.approx(costs.IMAGENET_IMAGES / 10 / 3600)
    assert (row["hours_paper"], row["memory_paper"]) == (0.36, 62)
    assert row["hours_predicted"] == pytest.approx(0.36, rel=0.15)
    assert row["memory_predicted"] == pytest.approx(62, rel=0.1)
    other = table6.row("deit_tiny", 224, 16, 64, "cuda", "sdpa", a100)
    assert math.isnan(other["hours_paper"])


def test_a_patch_that_does_not_fit_is_said_with_the_bytes_that_it_wants(monkeypatch):
    monkeypatch.setattr(table6, "in_process", measured)
    rows = [table6.row("deit_tiny", 64, patch, 8, "cpu", "sdpa", hardware.card_called("cpu")) for patch in (16, 2)]
    console = Console(width=100, record=True)
    console.print(table6.shown(pd.DataFrame(rows), 64, "cpu"))
    said = console.export_text()
    assert "GiB for" in said
    assert rows[1]["wants"] > rows[0]["wants"] > 0
    assert rows[1]["batch"] == 0


def test_test_losses_along_a_run_are_timed_beside_its_steps():
    table = curve_losses.curve_losses(patches=(16,), turns=1, images=1536)
    shares = [float(share) for share in table.columns[3].cells]
    assert len(shares) == len(curve_losses.RECIPES) + 1
    assert all(share > 0 for share in shares)


@pytest.mark.parametrize("points", ["curves", "ends"])
def test_coverage_is_of_runs_whose_law_and_shares_are_those_of_the_truth(points):
    runs = curve_coverage.runs_of(0, 2, (2, 4, 6))
    assert len(runs) == 5 * 2 * (2 + 4 + 6)
    truth = curve_coverage.TRUTH
    above = truth["A"] * 6.4e5 ** -truth["a"]
    assert curve_coverage.removed(1) == pytest.approx(above / (above + truth["B"]))
    cells = curve_coverage.row_of(points, 2, sets=1)
    assert set(cells[2:]) <= {"0.0", "100.0"}
    assert len(cells) == len(curve_coverage.COLUMNS)
