"""Devices that share a run take as many images at a time each, found without leaving one waiting for another."""

from types import SimpleNamespace

import pytest

from scaling.engine.micro_batch import MicroBatch, needed

POSSIBLE = [1, 2, 4, 8]


@pytest.fixture
def find(tmp_path, tiny, monkeypatch):
    """find(kind of device, sharded) -> what is found where 8 images fit and the other rank has less, the sizes tried,
    and what this rank would have taken alone, in turn."""
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA Imagined")
    monkeypatch.setattr("scaling.engine.micro_batch.conditions", lambda *of_the_run: None)
    monkeypatch.setattr("scaling.engine.micro_batch.memory_key", lambda *of_the_run: "the same")
    monkeypatch.setattr("scaling.engine.micro_batch._free", lambda device: 10 * needed(tiny, 16, False))

    def found(kind, sharded=False, others=4):
        tried, alone = [], []
        monkeypatch.setattr("scaling.engine.micro_batch._fits", lambda task, data, n, shape: tried.append(n) or True)

        def least(value, world, device):
            alone.append(value)
            return min(value, others)

        monkeypatch.setattr("scaling.engine.micro_batch._least", least)
        finder = MicroBatch(tiny, None, 0, tmp_path, grad_checkpointing=False)
        task = SimpleNamespace(device=SimpleNamespace(type=kind), sharded=sharded)
        return finder._found(POSSIBLE, SimpleNamespace(world_size=2, is_global_zero=True), task), tried, alone

    return found


def test_on_cpus_the_least_of_what_is_free_decides_for_all(find):
    assert find("cpu") == (4, [], [8])


def test_devices_with_sharded_weights_try_no_steps_and_take_what_is_planned_for_the_least(find):
    assert find("cuda", sharded=True) == (4, [], [0, 8])
    assert find("cuda", sharded=True) == (4, [], [4, 4])  # remembered, so that one that did not fit can be halved


def test_what_only_one_machine_remembers_is_tried_by_all(find):
    assert find("cuda")[:2] == (4, [8])
    assert find("cuda")[:2] == (4, [])
    assert find("cuda", others=0)[1] == [8]
