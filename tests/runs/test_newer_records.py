"""Records of a newer version are neither misread nor overwritten; damaged ones are said and done again."""

import json

import pytest

from experiments.launch.outcome import recorded as outcome
from scaling.config.flat import to_flat
from scaling.errors import ConfigError, NewerRecordError
from scaling.runs.record import RECORD, RunRecord
from tests.toy_task import run, toy_recipe, toy_runs

RECIPE = toy_recipe(epochs=1, steps_per_epoch=1, eval_every=0)


@pytest.fixture
def path(tmp_path):
    """The record of a finished run."""
    with toy_runs():
        assert run(RECIPE, tmp_path).status == "finished"
        yield tmp_path / RECIPE.run_id / RECORD


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return path.read_bytes()


def test_a_field_of_a_newer_version_is_passed_over(path, tmp_path):
    before = RunRecord.load(path.parent)
    text = edit(path, lambda values: values.update(energy=3.5))
    assert RunRecord.load(path.parent) == before == run(RECIPE, tmp_path)
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["config"]["optim"].update(optimizer="muon"),
        lambda values: values["config"].update(schema=3),
        lambda values: values["config"].update(packing={"kind": "rows", "row_tokens": 256}),
        lambda values: values["config"].update(
            init={"kind": "run", "config": {**values["config"], "optimizer": "muon"}}
        ),
        lambda values: values.update(recipe={**to_flat(RECIPE), "optimizer": "muon"}) or values.pop("config"),
    ],
    ids=["a field", "a schema", "a kind", "of the run that it starts from", "of version 1"],
)
def test_a_recipe_with_a_field_of_a_newer_version_is_never_overwritten(path, tmp_path, change):
    text = edit(path, change)
    with pytest.raises(NewerRecordError, match=r"written by a newer version \(.*\); update this one"):
        RunRecord.load(path.parent)
    with pytest.raises(ConfigError, match="written by a newer version"):
        run(RECIPE, tmp_path)
    assert path.read_bytes() == text
    assert outcome(path.parent).status == 1  # a sweep does not do it again either


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, '{"recipe": 5}', '{"recipe": {"start": "["}}', '{"config": 5}']
)
def test_a_damaged_record_is_said_in_a_line_and_the_run_done_again(path, tmp_path, text):
    path.write_text(text)
    notes = []
    done = run(RECIPE, tmp_path, report=lambda event: notes.append(event.text) if event.kind == "note" else None)
    assert RunRecord.load(path.parent) == done
    (note,) = notes
    assert note.startswith(f"{path} is no run record (")
    assert note.endswith("); the same command trains the run again")
    assert "\n" not in note
