"""A plan's hours are corrected by runs on the same hardware under the same conditions, and by no others."""

import json
import math

import pytest

from analysis.planning.throughput_model import image_seconds
from analysis.planning.throughput_records import measured_on
from experiments import plan
from experiments.planning import cost_estimate
from scaling.config.edit import edit, make_config
from scaling.config.runtime import OLD_NAMES, RuntimeConfig
from scaling.costs.conditions import Conditions
from scaling.costs.hardware import CARDS, processor
from tests.analysis.test_cost_model import BASE, record

A100 = CARDS["a100"]
GPU = {"gpus": ["NVIDIA A100-SXM4-80GB"], "micro_batch": 64}
SMALL = make_config(backbone="adventurer_nano", img_size=16, patch_size=4)
OTHERWISE = [
    {"nodes": 2},
    {"strategy": "ddp"},
    {"strategy": "fsdp"},
    {"precision": "32-true"},
    {"compile": True},
    {"recompute": True},
    {"channels_last": True},
    {"workers": 0},
    {"jobs": 2},
]


def slow(config, results, slower=3.0, card=A100, **machine):
    """A record of a run that took so much longer than the model says."""
    record(config, results, 1 / image_seconds(config, card, 64) / slower, **machine)


def on(results, **settings) -> cost_estimate.Device:
    return cost_estimate.device("a100", 1, results)._replace(**settings)


@pytest.mark.parametrize("how", OTHERWISE, ids=str)
def test_a_run_under_other_conditions_corrects_no_hours(tmp_path, how):
    slow(BASE, tmp_path, **GPU, **how)
    (found,) = measured_on(A100, tmp_path)
    assert found.conditions is not None
    assert math.isnan(cost_estimate.forecast(BASE, on(tmp_path)).ratio)
    (name,) = how
    if name not in ("precision", "nodes"):  # the recipe's; a second node is a second device
        asked = on(tmp_path, **{OLD_NAMES.get(name, name): how[name]})
        assert cost_estimate.forecast(BASE, asked).ratio == pytest.approx(3.0 * (3 / 4 if name == "recompute" else 1))


@pytest.mark.parametrize("how", [{"threads": 2}, {"jobs": 3}, {"cores": 999}, {"scan": "mamba-ssm"}], ids=str)
def test_on_a_processor_threads_jobs_and_cores_are_conditions_too(tmp_path, how):
    here = processor()
    plain = {"gpus": [], "processor": here.words[0], "micro_batch": 64, "threads": 1, "jobs": 1}
    device = cost_estimate.device("cpu", 1, tmp_path)._replace(threads=1, max_parallel_runs=1)
    slow(SMALL, tmp_path, card=here, **{**plain, **how})
    device = device._replace(records=tuple(measured_on(here, tmp_path)))
    assert math.isnan(cost_estimate.forecast(SMALL, device).ratio)
    slow(edit(SMALL, seed=1), tmp_path, card=here, **plain)
    device = device._replace(records=tuple(measured_on(here, tmp_path)))
    assert cost_estimate.forecast(SMALL, device).ratio == pytest.approx(3.0)


def test_a_record_that_does_not_say_how_it_ran_loads_and_corrects_nothing(tmp_path, capsys):
    slow(BASE, tmp_path, **GPU)
    path = tmp_path / BASE.run_id / "record.json"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if '"compile"' not in line))
    (found,) = measured_on(A100, tmp_path)
    assert found.conditions is None
    assert math.isnan(cost_estimate.forecast(BASE, on(tmp_path)).ratio)
    words = ["imagenet.deit_base", "--patch", "16", "--gpu", "a100", "--results", str(tmp_path)]
    assert plan.main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "no record of this card under these conditions in" in said
    assert "1 record not used: conditions not recorded" in said


def test_a_plan_says_how_many_records_it_left_out_and_in_what_they_differ(tmp_path, capsys):
    config = edit(BASE, epochs=7)
    slow(config, tmp_path, 1.5, **GPU)
    slow(edit(config, seed=1), tmp_path, **GPU, compile=True)
    slow(edit(config, seed=2), tmp_path, **GPU, channels_last=True, jobs=2)
    words = ["imagenet.deit_base", "--patch", "16", "--gpu", "a100", "--results", str(tmp_path)]
    assert plan.main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "calibrated by 1 record of this card, x1.50" in said
    assert "2 records not used: different channels last and jobs, different compile" in said
    assert plan.main([*words, "--compile"]) == 0
    assert "calibrated by 1 record of this card, x3.00" in " ".join(capsys.readouterr().out.split())


def test_a_record_that_says_nonsense_of_its_machine_stops_no_plan(tmp_path):
    slow(BASE, tmp_path, **GPU)
    path = tmp_path / BASE.run_id / "record.json"
    values = json.loads(path.read_text())
    values["machine"] |= {"devices": "two", "micro_batch": None, "cores": "many", "threads": [1]}
    path.write_text(json.dumps(values))
    (found,) = measured_on(A100, tmp_path)
    assert found.devices == 1


def test_a_run_on_the_processor_of_a_machine_with_a_gpu_is_no_run_of_the_gpu(tmp_path):
    slow(BASE, tmp_path, **GPU, device="cpu", processor="some processor")
    assert measured_on(A100, tmp_path) == []


def test_a_card_with_less_memory_or_on_another_bus_is_another_card(tmp_path):
    slow(BASE, tmp_path, **{**GPU, "gpus": ["NVIDIA A100-SXM4-40GB"]})
    slow(edit(BASE, seed=1), tmp_path, **{**GPU, "gpus": ["NVIDIA H100 PCIe"]})
    assert measured_on(A100, tmp_path) == []
    assert measured_on(CARDS["h100"], tmp_path) == []
    assert len(measured_on(CARDS["a100-40gb"], tmp_path)) == len(measured_on(CARDS["h100-pcie"], tmp_path)) == 1


def test_of_several_devices_runs_on_as_many_count_and_else_those_of_one_alone(tmp_path, capsys):
    slow(BASE, tmp_path, 1.5, **GPU)
    eight = on(tmp_path, cards=8)
    assert cost_estimate.forecast(BASE, eight).ratio == pytest.approx(1.5)
    words = ["imagenet.deit_base", "--patch", "16", "--gpu", "a100", "--devices", "8", "--results", str(tmp_path)]
    assert plan.main(words) == 0
    assert "extrapolated: linear speed-up on 8 devices" in " ".join(capsys.readouterr().out.split())
    slow(edit(BASE, seed=1), tmp_path, 2.0 / 8, **GPU, devices=8)
    eight = eight._replace(records=tuple(measured_on(A100, tmp_path)))
    assert cost_estimate.forecast(BASE, eight).ratio == pytest.approx(2.0)
    assert cost_estimate.forecast(BASE, eight._replace(cards=1)).ratio == pytest.approx(1.5)
    assert math.isnan(cost_estimate.forecast(BASE, eight._replace(cards=2, records=eight.records[-1:])).ratio)


def test_a_plan_names_every_condition_that_a_record_has(tmp_path):
    assert set(cost_estimate.conditions(BASE, on(tmp_path))._fields) == set(Conditions._fields)
    asked = {"nodes": 2, "strategy": "ddp", "compile": True, "channels_last": True, "workers": 3, "jobs": 4}
    asked_of = {OLD_NAMES.get(name, name): value for name, value in asked.items()}
    settings = RuntimeConfig(**asked_of, devices="1", grad_checkpointing=True, threads=5)
    said = cost_estimate.conditions(BASE, cost_estimate.device_of(settings, tmp_path, "a100"))._asdict()
    assert {name: said[name] for name in asked} == asked
    assert (said["recompute"], said["precision"], said["threads"]) == (True, "bf16-mixed", 0)
    here = cost_estimate.device_of(settings, tmp_path, "cpu")
    assert cost_estimate.conditions(BASE, here).threads == 5
