"""The report of a GPU: every part is kept, whatever becomes of the others, and contenders of the scan are equals."""

import sys
import types
from pathlib import Path

import pandas as pd
import pytest
import torch
from rich.console import Console

from experiments import benchmark, gpu_report
from experiments.benchmarks import scans
from scaling.backbones.ssd.mamba2_mixer import mix_ref
from scaling.errors import ConfigError


@pytest.fixture
def small(monkeypatch, tmp_path):
    """One length of a nano model, results in a folder of the test, and nothing compiled, which takes a minute."""
    monkeypatch.setattr(scans, "PLANS", {"cpu": ("adventurer_nano", (20,), 40, torch.float32)})
    monkeypatch.setattr(scans, "RESULTS", tmp_path)
    monkeypatch.setattr(scans.torch, "compile", lambda function, dynamic: function)
    monkeypatch.setattr(scans.torch.cuda, "is_available", lambda: False)
    return tmp_path


def test_every_contender_of_the_scan_is_measured_and_kept(small):
    table = scans.scans()
    kept = pd.read_csv(small / "scans.csv")
    assert list(kept["contender"]) == ["this project, PyTorch", "compiled"]
    assert kept["failed"].isna().all()
    assert (kept[["milliseconds", "megabytes"]] > 0).all().all()
    assert (kept["images"] == 2).all()
    text = _printed(table)
    assert text.count("fastest") == 1
    assert "mixer of adventurer_nano, forward and backward, float32 on cpu" in text


def _printed(table):
    console = Console(width=110, record=True)
    console.print(table)
    return console.export_text()


def test_a_contender_that_is_wrong_or_dies_has_its_reason_in_the_table(small, monkeypatch):
    def dies(x, w):
        raise RuntimeError("no kernel image is available for execution on the device")

    there = scans.contenders("cpu")
    others = {"off": lambda x, w: 2 * scans.plain(x, w), "dies": dies}
    monkeypatch.setattr(scans, "contenders", lambda device: {**there, **others})
    assert "- RuntimeError: no kernel image is available" in _printed(scans.scans())
    kept = pd.read_csv(small / "scans.csv").set_index("contender")
    assert kept.loc["off", "failed"] == "differs from the definition by 1 of its largest value"
    assert list(kept.index[kept["milliseconds"].notna()]) == list(there)


def simple_gla(q, k, v, g, scale):
    """What the documentation of fla.ops.simple_gla says, a token at a time: (B, T, H, K) and (B, T, H, V)."""
    state = torch.zeros(*q.shape[:1], *q.shape[2:], v.shape[-1], dtype=q.dtype)
    outputs = []
    for t in range(q.shape[1]):
        state = g[:, t].exp()[..., None, None] * state + k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        outputs.append(scale * (q[:, t].unsqueeze(-1) * state).sum(-2))
    return torch.stack(outputs, 1), None


def test_simple_gated_linear_attention_is_the_scan(monkeypatch):
    stub = types.ModuleType("fla.ops.simple_gla")
    stub.chunk_simple_gla = simple_gla
    monkeypatch.setitem(sys.modules, "fla.ops.simple_gla", stub)
    w = scans.Weights(*(t.detach().double() for t in scans.drawn_weights("adventurer_nano", "cpu")))
    x_BLX = torch.randn(2, 30, sum(w.splits), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = scans.around(x_BLX, w, scans.gated_linear_attention)
    torch.testing.assert_close(found.double(), mix_ref(x_BLX, w, scans.EPS), atol=1e-6, rtol=1e-6)


@pytest.fixture
def on_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_report, "_facts", lambda: {"card": "a card of the future"})


def test_a_part_that_fails_costs_no_other_and_the_report_says_so(on_a_card, monkeypatch, tmp_path, capsys):
    parts = {"scans": ("-c", "print('fast'); raise SystemExit(3)"), "long": ("-m", "this"), "rope": ("-m", "nothing")}
    monkeypatch.setattr(gpu_report, "PARTS", parts)
    monkeypatch.setattr(gpu_report, "REPOSITORY", Path(__file__).parent)
    assert gpu_report.main(["--out", str(tmp_path), "--only", "long,rope"]) == 1
    text = (tmp_path / gpu_report.NAME).read_text()
    assert "- card: a card of the future" in text
    assert "Beautiful is better than ugly." in text
    assert "No module named nothing" in text
    assert "failed with status 1" in text
    assert f"wrote {tmp_path / gpu_report.NAME}" in capsys.readouterr().out


def test_every_part_is_a_benchmark_that_there_is_or_the_tests():
    known = {*benchmark.QUICK, *benchmark.SLOW}
    assert {name for name, (script, *_) in gpu_report.PARTS.items() if script == gpu_report.BENCHMARK} <= known
    assert (gpu_report.REPOSITORY / gpu_report.BENCHMARK).is_file()


def test_goals_are_compared_with_the_fastest_scan():
    rows = [
        ["adventurer_base", 224, 1, "torch", 3.0, 100.0, 400.0],
        ["adventurer_base", 224, 1, "mamba-ssm", 6.0, 50.0, 400.0],
        ["adventurer_base", 224, 2, "mamba-ssm", 60.0, 5.0, 100.0],
        ["deit_base", 224, 1, "sdpa", float("nan"), float("nan"), 400.0],
    ]
    columns = ["model", "image", "patch", "scan", "images_per_second", "hours", "hours_paper"]
    assert gpu_report.against_paper(pd.DataFrame(rows, columns=columns)) == [
        "adventurer_base at patch 1, 224 px: 6.0 images/s by mamba-ssm, 8.00 times the paper's A100; goal 4 times: met",
        "deit_base at patch 1, 224 px: not measured",
    ]


@pytest.mark.parametrize(
    ("words", "said"), [([], "torch finds none"), (["--only", "tests,scan"], "unknown part 'scan'")]
)
def test_without_a_card_or_with_a_part_that_is_none_nothing_is_written(words, said, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=said):
        gpu_report.main([*words, "--out", str(tmp_path / "out")])
    assert not list(tmp_path.iterdir())
