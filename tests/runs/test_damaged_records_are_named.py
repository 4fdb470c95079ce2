"""A record that cannot be read is named, wherever runs are read; what is left of a folder is still read."""

import pytest

from analysis.fit_laws import main
from analysis.planning.throughput_records import measured_on
from analysis.records.run_set import load
from analysis.report.law_report import law_input, report
from experiments.cli import arguments
from experiments.launch.outcome import recorded
from scaling.costs.hardware import CARDS
from scaling.errors import ConfigError
from scaling.recipe import Recipe
from scaling.runs.record import RECIPE, RECORD, RunRecord
from tests.analysis.test_fit_laws import save

DAMAGE = {"brackets": "[" * 200_000, "half": '{"run_id": "x', "empty": "", "number": "1"}


@pytest.fixture(params=DAMAGE)
def damaged(request, tmp_path):
    """A folder with one record, which is damaged."""
    folder = save(tmp_path / "results", Recipe(patch=4), 1.0)
    (folder / RECORD).write_text(DAMAGE[request.param])
    return folder


def test_every_reader_passes_a_damaged_record_over_or_says_it_in_a_line(damaged):
    with pytest.raises(ConfigError, match=RECORD) as said:
        RunRecord.load(damaged)
    assert len(str(said.value).splitlines()) == 1
    assert [one.folder for one in load(damaged.parent).corrupt] == [damaged.name]
    assert measured_on(CARDS["a100"], damaged.parent) == []
    assert recorded(damaged) is None


def test_the_laws_of_a_folder_with_only_a_damaged_record_name_it(damaged, capsys):
    assert main(["--results", str(damaged.parent)]) == 2
    said = capsys.readouterr().err
    assert "none of 1 run has finished" in said
    assert str(damaged / RECORD) in said
    assert len(said.splitlines()) == 1


def test_where_too_few_patch_sizes_are_left_the_damaged_record_is_named(tmp_path, capsys):
    folders = [save(tmp_path / "results", Recipe(patch=patch), 1.0 + patch / 10) for patch in (16, 8, 4, 2)]
    for folder in folders[2:]:
        (folder / RECORD).write_text("{")
    assert main(["--results", str(tmp_path / "results")]) == 2
    said = capsys.readouterr().err
    assert "deit_nano has 2 patch sizes" in said
    first = min(folders[2:])
    assert f"damaged: {first / RECORD} is no run record" in said
    assert said.endswith("and 1 other\n")
    assert not (tmp_path / "results" / "analysis").exists()


def test_a_frame_of_damaged_records_has_no_report(damaged, tmp_path):
    with pytest.raises(ConfigError, match=damaged.name):
        report(law_input(load(damaged.parent)), tmp_path / "out")


def test_a_run_whose_recipe_is_brackets_is_one_line(tmp_path):
    (tmp_path / RECIPE).write_text("[" * 200_000)
    with pytest.raises(ConfigError, match="cannot be read as a recipe"):
        arguments.resolve(str(tmp_path), 4, {})
