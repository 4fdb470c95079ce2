"""A sweep says how long it takes from its first run on: what was planned, and the start-up that the first showed."""

import math
from dataclasses import replace

import pytest

from experiments.launch.eta import Clock, weight
from experiments.sweep import arguments, print_plan
from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig

RUNS = [make_config(patch_size=patch, num_train=4096) for patch in (16, 8, 4)]
PLANNED = {run.run_id: seconds for run, seconds in zip(RUNS, (2.0, 3.0, 7.0), strict=True)}


def test_after_the_first_run_it_is_the_plan_and_the_first_ones_start_up():
    clock = Clock(PLANNED)
    assert math.isnan(clock.eta(RUNS))
    clock.add(RUNS[0], 12.0)
    assert clock.eta(RUNS[1:]) == pytest.approx(3.0 + 10.0 + 7.0 + 10.0)
    assert clock.eta([]) == 0


def test_a_start_up_is_that_of_any_backbone_and_the_plan_one_of_each():
    other = make_config(backbone="adventurer_nano", patch_size=16, num_train=4096)
    clock = Clock({**PLANNED, other.run_id: 5.0})
    clock.add(RUNS[0], 12.0)
    assert clock.eta([other]) == pytest.approx(15.0)
    clock.add(RUNS[0], 1.0)  # quicker than planned: no start-up, and the middle of both
    assert clock.eta([other]) == pytest.approx(10.0)


def test_a_run_of_no_epochs_takes_the_start_up_alone():
    """Studies of transfer have one per rule: with the first of them the time of all others became unknown."""
    evaluated = [edit(RUNS[0], epochs=0, seed=seed) for seed in (0, 1)]
    clock = Clock({**PLANNED, **{run.run_id: 0.0 for run in evaluated}})
    clock.add(evaluated[0], 4.0)
    assert clock.eta([RUNS[0], evaluated[1]]) == pytest.approx(2.0 + 4.0 + 4.0)
    clock.add(RUNS[1], 4.0 + 3e-9 * weight(RUNS[1]))
    assert clock.eta([RUNS[2], evaluated[1]]) == pytest.approx(4.0 + 3e-9 * weight(RUNS[2]) + 4.0)


def test_what_nobody_planned_stays_unknown():
    clock = Clock({RUNS[0].run_id: 2.0})
    clock.add(RUNS[1], 4.0)
    assert math.isnan(clock.eta([RUNS[0]]))
    clock.add(RUNS[0], 4.0)
    assert math.isnan(clock.eta([edit(RUNS[0], seed=1, backbone="adventurer_nano")]))


def test_the_plan_that_a_sweep_prints_is_what_its_clock_goes_by(tmp_path, capsys):
    runs, args = arguments(["shapes.deit_nano", "--patch", "16,4", "--results", str(tmp_path), "--accelerator", "cpu"])
    settings = RuntimeConfig(devices="1", accelerator="cpu", max_parallel_runs=1)
    one, two = (print_plan(runs, args, replace(settings, threads=threads)) for threads in (1, 2))
    assert list(one) == [run.run_id for run in runs]
    assert 0 < one[runs[0].run_id] < one[runs[1].run_id]
    assert [2 * seconds for seconds in two.values()] == pytest.approx(list(one.values()))
