"""A record says how its run was trained, and a micro-batch is remembered by all that its memory depends on."""

from dataclasses import replace

import pytest
import torch

from scaling.backbones.ssd.backend import backend
from scaling.config.edit import edit, make_config
from scaling.config.reference import by_leaf, rows
from scaling.config.runtime import RuntimeConfig
from scaling.costs.conditions import Conditions, conditions_of, strategy_for, threads_for, workers_for
from scaling.data.datamodule import default_workers
from scaling.engine.environment import machine
from scaling.engine.memory_key import IDLE, memory_key
from scaling.engine.train import train
from scaling.engine.trainer import useful_threads

PLAIN = Conditions("cuda", 1, "single", "bf16-mixed", "", False, False, False, 4, 3, 1)
WHOLE = make_config(
    task="detect",
    head="cascade_mask_rcnn",
    dataset="coco",
    img_size=224,
    patch_size=16,
    resize_short=800,
    max_long=1333,
)


def test_a_record_says_all_that_decides_numbers_and_speed_beside_recipe_and_hardware(tmp_path, tiny):
    config = edit(tiny, backbone="adventurer_nano", epochs=1, precision="auto")
    settings = RuntimeConfig(
        accelerator="cpu", threads=1, num_workers=0, max_parallel_runs=2, grad_checkpointing=True, channels_last=True
    )
    said = train(config, tmp_path, settings).machine
    how = {name: said[name] for name in Conditions._fields}
    assert how == {
        "device": "cpu",
        "nodes": 1,
        "strategy": "single",
        "precision": "32-true",  # what auto became
        "scan": backend("cpu").name,
        "compile": False,
        "recompute": True,
        "channels_last": True,
        "threads": 1,
        "workers": 0,
        "jobs": 2,
    }
    assert said["devices"] == 1
    plain = train(
        edit(tiny, epochs=1), tmp_path, replace(settings, grad_checkpointing=False, channels_last=False)
    ).machine
    assert (plain["scan"], plain["recompute"], plain["channels_last"]) == ("", False, False)


def test_threads_are_those_of_now_in_every_stage_of_a_process():
    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            torch.set_num_threads(threads)
            assert machine()["threads"] == threads
    finally:
        torch.set_num_threads(before)


def test_conditions_are_compared_as_far_as_they_decide():
    said = {"cores": 4, **PLAIN._asdict()}
    assert conditions_of(said) == PLAIN._replace(threads=0, workers=-1)  # a GPU computes; one worker a core but one
    assert conditions_of({**said, "device": "cpu"}) == PLAIN._replace(device="cpu", workers=-1)
    assert conditions_of({**said, "workers": 0}) == PLAIN._replace(threads=0, workers=0)
    for name in Conditions._fields:
        assert conditions_of({key: value for key, value in said.items() if key != name}) is None
    assert [strategy_for("auto", 1), strategy_for("auto", 2), strategy_for("fsdp", 1)] == ["single", "ddp", "fsdp"]


def test_a_plan_and_a_run_count_threads_and_workers_alike(tiny, monkeypatch):
    for cores in (1, 2, 16):
        monkeypatch.setattr("scaling.engine.trainer.usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr("scaling.data.datamodule.usable_cores", lambda cores=cores: cores)
        assert useful_threads(edit(tiny, patch_size=1), 2) == threads_for(edit(tiny, patch_size=1), cores, 2)
        assert default_workers() == workers_for(cores)


OTHERS = {
    "task": {"task": "segment", "head": "linear"},
    "head": {"task": "segment", "head": "upernet"},
    "head_channels": {"head_channels": 64},
    "dataset": {"dataset": "nuclei"},  # images of other sizes
    "data_digest": {"data_digest": "0123456789abcdef"},  # other images, wherever they lie
    "backbone": {"backbone": "deit_tiny"},
    "img_size": {"img_size": 256},
    "patch_size": {"patch_size": 8},
    "num_classes": {"num_classes": 80},
    "global_batch_size": {"global_batch_size": 32},
    "resize_short": {"resize_short": 400},
    "max_long": {"max_long": 900},
    "augment": {"augment": "lsj"},
    "max_objects": {"max_objects": 3},
    "model_ema_decay": {"model_ema_decay": 0.99},
    "embed_patch_size": {"embed_patch_size": 32},
    "pos_embed": {"pos_embed": "sincos"},
    "precision": {"precision": "32"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_micro_batch_is_not_remembered_for_a_recipe_that_takes_another_memory(name):
    before, after = (memory_key(config, PLAIN, "a card", 1) for config in (WHOLE, edit(WHOLE, **OTHERS[name])))
    assert before != after


@pytest.mark.parametrize("name", [name for name in Conditions._fields if name not in ("threads", "workers", "jobs")])
def test_a_micro_batch_is_not_remembered_across_conditions(name):
    value = getattr(PLAIN, name)
    other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else "another"
    assert memory_key(WHOLE, PLAIN, "a card", 1) != memory_key(WHOLE, PLAIN._replace(**{name: other}), "a card", 1)


def test_a_micro_batch_is_remembered_whatever_does_not_take_memory():
    key = memory_key(WHOLE, PLAIN, "a card", 1)
    same = edit(WHOLE, seed=5, lr=1e-4, epochs=3, num_train=100, weight_decay=0.1)
    assert memory_key(same, PLAIN._replace(threads=1, workers=0, jobs=2), "a card", 1) == key
    assert memory_key(WHOLE, PLAIN, "a card", 2) != key
    assert memory_key(WHOLE, PLAIN, "another", 1) != key
    assert memory_key(edit(WHOLE, model_ema_decay=0.9), PLAIN, "", 1) == memory_key(
        edit(WHOLE, model_ema_decay=0.99), PLAIN, "", 1
    )
    assert set(IDLE) <= set(by_leaf(rows()))
