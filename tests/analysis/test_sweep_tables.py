"""A sweep becomes a table that a terminal can show."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from analysis.report.sweep_table import group_table, render_table, short, sweep_table


def frame() -> pd.DataFrame:
    """Two groups; patch 8 of the first has two seeds, patch 4 of it failed."""
    rows = [
        ("g1", "deit_nano", 16, 0, "finished", 1.0),
        ("g1", "deit_nano", 8, 0, "finished", 0.8),
        ("g1", "deit_nano", 8, 1, "finished", 0.9),
        ("g1", "deit_nano", 4, 0, "failed", math.nan),
        ("g0", "adventurer_nano", 16, 0, "finished", 1.1),
    ]
    made = pd.DataFrame(rows, columns=["group", "backbone", "patch", "seed", "status", "test_loss"])
    return made.assign(
        tokens=(16 // made["patch"]) ** 2,
        parameters=210_000,
        flops_per_image=made["patch"] * 1e9,
        top1=55.555,
        images_per_second=1234.5,
        peak_memory=1_500_000_000,
        wall_time=12.34,
    )


def test_a_sweep_table_has_a_row_a_patch_size_and_means_over_seeds():
    table = sweep_table(frame())
    assert list(table["patch [px]"]) == [16, 16, 8, 4]
    assert list(table["group"]) == ["g0", "g1", "g1", "g1"]
    assert list(table["seeds"]) == [1, 1, 2, 0]
    assert table["loss [nats]"].iloc[2] == pytest.approx(0.85)
    assert math.isnan(table["loss [nats]"].iloc[3])


def test_large_numbers_take_a_unit_that_the_column_names():
    table = sweep_table(frame())
    assert table["params [k]"].iloc[0] == pytest.approx(210)
    assert table["FLOPs [G]"].iloc[0] == pytest.approx(16)
    assert table["memory [GB]"].iloc[0] == pytest.approx(1.5)


def test_a_table_prints_within_80_columns_with_missing_numbers_as_dashes(capsys):
    table = sweep_table(frame()).query("group == 'g1'").drop(columns=["group", "backbone"])
    render_table(table, "deit [nano]")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("deit [nano]")
    assert max(map(len, lines)) <= 80
    assert lines[3].split() == ["[px]", "seeds", "tokens", "[k]", "[G]", "[nats]", "[%]", "[1/s]", "[GB]", "[s]"]
    assert "  -" in lines[-2]
    assert "\x1b" not in "".join(lines)


def test_a_table_fits_a_narrow_terminal():
    drawn = io.StringIO()
    render_table(sweep_table(frame()).drop(columns=["group"]), console=Console(file=drawn, width=100))
    assert max(map(len, drawn.getvalue().splitlines())) <= 100


def mixed() -> pd.DataFrame:
    """frame() and two groups of another task, one of which has failed."""
    other = frame().query("group == 'g1'").assign(group="g2", top1=math.nan, miou=44.44)
    failed = other.assign(group="g3", status="failed", miou=math.nan, test_loss=math.nan)
    return pd.concat([frame(), other, failed], ignore_index=True)


def test_a_metric_has_a_column_only_where_some_run_has_it():
    assert not [name for name in sweep_table(frame()) if name.startswith("mIoU")]
    table = sweep_table(mixed())
    assert list(table.columns)[7:10] == ["loss [nats]", "top-1 [%]", "mIoU [%]"]
    of_other = sweep_table(mixed().query("group == 'g2'"))
    assert [name for name in of_other if name.endswith("[%]")] == ["mIoU [%]"]
    nothing = sweep_table(mixed().query("group == 'g3'"))
    assert not [name for name in nothing if name.endswith("[%]")]


def test_a_groups_table_has_its_own_metric_and_fits_80_columns(capsys):
    table = sweep_table(mixed())
    shown = {group: [n for n in group_table(table, group) if n.endswith("[%]")] for group in ("g0", "g1", "g2", "g3")}
    assert shown == {"g0": ["top-1 [%]"], "g1": ["top-1 [%]"], "g2": ["mIoU [%]"], "g3": []}
    assert ["seeds" in group_table(table, group) for group in ("g0", "g1")] == [False, True]
    render_table(group_table(table, "g2"), "adventurer_nano segment upernet shapes 32 px   (segment-shapes-adv-123456)")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "44.44" in "".join(lines)


def test_a_large_number_is_short():
    assert [short(n) for n in (7, 999, 1234, 56_780, 1.5e9, 3.3e12)] == [
        "7.00",
        "999",
        "1.23k",
        "56.8k",
        "1.50G",
        "3.30T",
    ]
