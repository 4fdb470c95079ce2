"""Run folders and YAML files of the version before the config tree are read: by their run_ids, and as they are."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.golden import adapter, ids

V1_RUNS = Path(__file__).parents[1] / "fixtures" / "v1_runs"
FOLDERS = sorted(path.parent for path in V1_RUNS.glob("*/record.json"))
LATER_STAGES = (
    "intermediate",
    "finetune",
)  # their files cannot be given: a field is set in all stages, so start differs
# Recipes that use version 2 of the embedded data since November 2026; as printed before, they keep their run IDs.
ON_DATA_1 = {
    "shapes.deit_nano": "classify-shapes-deit_nano-16px-p8-s0-a0571af3",
    "shapes.seg_nano": "segment-shapes-adventurer_nano-32px-p8-s0-46770739",
    "shapes.det_nano": "detect-shapes-adventurer_nano-64px-p8-s0-28e71921",
}
YAML_FILES = sorted((V1_RUNS / "print_recipe").iterdir())


def named(path):
    return path.name


def on_file(folder):
    return json.loads((folder / "record.json").read_text())


def test_the_folders_are_of_every_task_of_stages_of_a_file_of_weights_and_of_a_failure():
    records = [on_file(folder) for folder in FOLDERS]
    assert {record["recipe"]["task"] for record in records} == {"classify", "segment", "detect"}
    assert {record["recipe"]["stage"] for record in records} == {"", "pretrain", "intermediate", "finetune"}
    assert any(record["recipe"]["weights_digest"] for record in records)
    assert any(record["status"] == "failed" for record in records)


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_record_holds_what_it_held(folder):
    found, expected = adapter.record(folder), on_file(folder)
    assert {name: found[name] for name in expected if name != "recipe"} == {
        name: value for name, value in expected.items() if name != "recipe"
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=named)
def test_a_recipe_keeps_its_run_id_and_group(folder):
    expected = on_file(folder)
    flat = adapter.from_json((folder / "recipe.json").read_text())
    assert flat == expected["recipe"]
    assert adapter.identity(flat) == (folder.name, expected["group"])
    assert adapter.resolved([str(folder)]) == [flat]


def test_all_runs_of_a_results_folder_are_rows_in_the_groups_that_they_were_in():
    table = adapter.run_table(V1_RUNS).set_index("run_id")
    assert set(table.index) == {folder.name for folder in FOLDERS}
    for folder in FOLDERS:
        expected, row = on_file(folder), table.loc[folder.name]
        assert (row.group, row.patch, row.status) == (
            expected["group"],
            expected["recipe"]["patch"],
            expected["status"],
        )
        if expected["status"] == "finished":
            assert row.test_loss == expected["test_loss"]
    assert table[table.status == "finished"].group.value_counts().max() == 2  # two patches of one sweep


def command(file):
    """The recipe's name, and the option of its stage, that a file was printed with."""
    name, stage = ".".join(file.stem.split(".")[:2]), "".join(file.stem.split(".")[2:])
    return name, ["--stage", stage] if stage else []


@pytest.mark.parametrize("file", YAML_FILES, ids=named)
def test_a_printed_recipe_is_the_recipe_of_that_name(file):
    name, options = command(file)
    flat = adapter.from_json(json.dumps(yaml.safe_load(file.read_text())))
    assert flat == yaml.safe_load(file.read_text())
    if name in ON_DATA_1:
        assert adapter.identity(flat)[0] == ON_DATA_1[name]
        return
    assert adapter.resolved([name, "--patch", "8", *options]) == [flat]
    ids_of_stages = ids.expected()[f"{name} --patch 8"]
    assert list(adapter.identity(flat)) in ids_of_stages


@pytest.mark.parametrize("file", [f for f in YAML_FILES if f.stem.split(".")[-1] not in LATER_STAGES], ids=named)
def test_a_printed_recipe_is_read_as_a_config(file):
    name, options = command(file)
    (flat,) = adapter.resolved([name, "--config", str(file), *options])
    assert flat == yaml.safe_load(file.read_text())


@pytest.mark.parametrize(
    "folder", [f for f in FOLDERS if "shapes" in f.name and on_file(f)["status"] == "finished"], ids=named
)
def test_a_finished_run_is_not_trained_again(folder, tmp_path):
    shutil.copytree(folder, tmp_path / folder.name)
    flat = adapter.from_json((folder / "recipe.json").read_text())
    assert adapter.run_again(flat, tmp_path) == on_file(folder)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
