"""Published numbers load, and a sweep becomes a table that a terminal can show."""

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from analysis.paper_tables import load_published, published_names, render_table, sweep_table
from scaling.recipe import BadInput


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


def test_every_published_file_loads_and_is_described():
    assert len(published_names()) == 9
    for name in published_names():
        assert len(load_published(name)) > 0
    assert len(load_published("figure1_test_loss.csv")) == 45


def test_an_unknown_published_name_says_what_there_is():
    with pytest.raises(BadInput, match="did you mean table1_imagenet_patch"):
        load_published("table1_imagenet")


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
