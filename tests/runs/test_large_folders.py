"""Shortcuts for thousands of runs find what is found without them."""

from contextlib import nullcontext
from dataclasses import replace

import pytest

from analysis.records.run_set import _plain
from analysis.records.seedless import Seedless
from analysis.records.training_length import keys_of_any_length
from experiments import sweep
from experiments.cli.resolve import resolve
from experiments.recipes import cifar10, shapes
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.identity import groups
from scaling.errors import NewerRecordError
from scaling.runs.identity import alike, folder_of, looked_through_once
from scaling.runs.run_folder import open_run, status_of
from tests.toy_task import run, toy_recipe, toy_runs


def test_a_results_folder_that_is_looked_through_once_holds_the_same_runs(tmp_path):
    runs = [
        edit(shapes.deit_nano(patch), seed=seed, lr=lr) for patch in (16, 8) for seed in (0, 1) for lr in (1e-3, 2e-3)
    ]
    for one in runs[1:]:
        open_run(one, tmp_path)
    (tmp_path / runs[2].run_id).rename(tmp_path / "renamed")
    (tmp_path / "empty").mkdir()

    def found(context):
        with context:
            return [(list(alike(one, tmp_path)), folder_of(one, tmp_path)) for one in runs]

    plain = found(nullcontext())
    assert found(looked_through_once()) == plain
    assert plain[0] == ([], tmp_path / runs[0].run_id)
    assert plain[2][0] == [tmp_path / "renamed"]
    with looked_through_once():
        assert not list(alike(runs[0], tmp_path))
    open_run(runs[0], tmp_path)
    with looked_through_once():
        assert list(alike(runs[0], tmp_path))


@pytest.mark.parametrize("name", ["shapes.deit_nano", "cifar10.adventurer_stages", "imagenet.adventurer_base"])
def test_runs_of_several_seeds_are_those_that_are_resolved_one_by_one(name):
    words = [name, "--patch", "16,8", "--seeds", "3,0,5", "--lr", "0.002"]
    runs, _ = sweep.arguments(words)
    given = {"lr": 0.002}
    one_by_one = [
        one for seed in (3, 0, 5) for patch in (16, 8) for one in resolve(name, patch, {**given, "seed": seed}, set())
    ]
    assert [one.run_id for one in runs] == list(dict.fromkeys(one.run_id for one in one_by_one))
    assert runs == list({one.run_id: one for one in one_by_one}.values())


def test_keys_that_are_found_once_for_all_seeds_are_those_of_each_recipe():
    recipes = [
        edit(recipe, seed=seed, epochs=epochs)
        for recipe in (shapes.deit_nano(4), shapes.seg_nano(4), *cifar10.adventurer_stages(8)[:1])
        for epochs in (1, 2)
        for seed in (0, 1, 2)
    ]
    recipes += [replace(one, data=replace(one.data, data_root=f"/{one.seed}/x")) for one in recipes]
    seedless = Seedless([(one, one.to_dict()) for one in recipes])
    for keys in (groups, lambda its: groups([_plain(one) for one in its]), lambda its: keys_of_any_length(its, groups)):
        assert seedless.keys(keys) == list(keys(recipes))


def test_equal_parts_of_configurations_that_are_read_are_one_object_and_the_whole_is_not():
    values = shapes.deit_nano(4).to_dict()
    first, second = (ExperimentConfig.from_dict({**values, "seed": seed}) for seed in (0, 1))
    assert first.optim is second.optim
    assert (first.seed, second.seed) == (0, 1)
    assert first == shapes.deit_nano(4)
    whole, number = (ExperimentConfig.from_dict({**values, "seed": 0}) for _ in range(2))
    assert whole == number
    with pytest.raises(NewerRecordError, match=r"unknown field optim\.new"):
        ExperimentConfig.from_dict({**values, "optim": {**values["optim"], "new": 1}})


def test_the_status_of_a_record_is_read_without_the_rest_of_it(tmp_path):
    config = toy_recipe(epochs=1, steps_per_epoch=1, eval_every=0)
    with toy_runs():
        record = run(config, tmp_path)
    folder = tmp_path / config.run_id
    assert status_of(folder) == record.status == "finished"
    (folder / "record.json").write_text("{")
    assert status_of(folder) == status_of(tmp_path / "nowhere") == ""
