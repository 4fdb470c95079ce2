"""How a batch is cut: the sizes there are, the search for the largest that fits, and what a cut does to counts."""

import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.costs import MemoryPolicy, memory_bytes, recipe_parameters
from scaling.costs.training_memory import SHARE
from scaling.engine.micro_batch import MicroBatch, _least, _recount, largest, needed
from scaling.engine.micro_batch_sizes import sizes
from scaling.engine.train import train
from scaling.errors import ConfigError
from tests.served import context

POWERS = [2**n for n in range(11)]


@given(st.integers(1, 300), st.integers(1, 8), st.booleans())
def test_sizes_are_all_that_cut_each_devices_share_evenly(share, world, even):
    wanted = [n for n in range(1, share + 1) if share % n == 0 and (n % 2 == 0 or not even)]
    if wanted:
        assert sizes(share * world, world, even) == wanted
    else:
        assert even
        assert share % 2
        with pytest.raises(ConfigError, match="mix pairs"):
            sizes(share * world, world, even)


def test_devices_that_cannot_share_a_batch_are_told_what_would_do():
    with pytest.raises(ConfigError, match="batch 64 cannot be divided among 3 devices; nearest that can: 63, 66"):
        sizes(64, 3, even=False)
    with pytest.raises(ConfigError, match=r"batch 2 cannot be divided among 3 devices; nearest that can: 3$"):
        sizes(2, 3, even=False)
    with pytest.raises(
        ConfigError, match=r"leaves 3 image\(s\) to each of 2 device\(s\); take a batch with an even share"
    ):
        sizes(6, 2, even=True)


def search(possible, planned, limit):
    """What largest finds where `limit` images fit, and what it tried."""
    tried = []

    def fits(images):
        tried.append(images)
        return images <= limit

    return largest(possible, planned, fits), tried


@given(st.integers(1, 600), st.integers(0, 2000), st.integers(1, 2000))
def test_what_is_found_fits_and_nothing_above_a_failure_is_tried(batch, planned, limit):
    """A step that runs out of memory is slow, and one beyond it is slower and as vain."""
    possible = sizes(batch, 1, even=False)
    found, tried = search(possible, planned, limit)
    assert found in possible
    assert found <= limit
    assert found in tried
    failed = None
    for images in tried:
        assert failed is None or images < failed
        failed = images if images > limit else failed
    assert len(set(tried)) == len(tried)


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_of_powers_of_two_the_largest_that_fits_is_found(planned, limit):
    assert search(POWERS, planned, limit)[0] == max(n for n in POWERS if n <= limit)


@given(st.integers(1, 600), st.integers(1, 2000))
def test_from_a_plan_that_fits_doubling_ends_at_the_last_or_where_twice_as_many_do_not_fit(batch, limit):
    possible = sizes(batch, 1, even=False)
    found, _ = search(possible, 1, limit)
    above = [n for n in possible if n > found]
    assert not above or max([n for n in above if n <= 2 * found], default=above[0]) > limit


def test_where_nothing_fits_it_is_said_what_may_help():
    with pytest.raises(ConfigError, match=r"micro-batch of 2 .*--grad-checkpointing"):
        search([2, 4, 8], 8, 1)


@given(st.integers(1, 50), st.integers(0, 1), st.integers(1, 8), st.integers(1, 8), st.integers(0, 7))
def test_a_run_goes_on_at_the_same_step_with_another_cut(steps, lag, before, now, half):
    """lag: how far `completed` is behind, which is one micro-batch at a checkpoint right after a step. half:
    micro-batches of a step that was not done, in checkpoints of an earlier version: it is begun again."""
    ready = steps * before + half % before
    counts = {"ready": ready, "completed": ready - lag, "started": ready, "processed": ready}
    loops = {"epoch_loop.batch_progress": {s: dict(counts) for s in ("total", "current")}}
    loops["epoch_loop.batch_progress"]["is_last_batch"] = False
    _recount(loops, steps, now)
    found = loops["epoch_loop.batch_progress"]
    ready = steps * now
    for span in ("total", "current"):
        assert found[span] == {"ready": ready, "completed": ready - lag, "started": ready, "processed": ready}
    assert found["is_last_batch"] is False


# What a plan goes by


@pytest.mark.parametrize("backbone", ["deit_micro", "deit3_small", "adventurer_micro", "adventurer_tiny"])
def test_a_plan_grows_with_images_and_tokens_and_shrinks_by_recomputing(backbone):
    config = make_config(backbone=backbone, img_size=64, patch_size=8, global_batch_size=4096)
    for finer in (config, edit(config, patch_size=4)):
        few, many, less = needed(finer, 128, False), needed(finer, 256, False), needed(finer, 256, True)
        assert 0 < few < many < 2 * few
        assert less < many
    assert needed(edit(config, patch_size=4), 128, False) > needed(config, 128, False)


def test_a_plan_leaves_out_what_is_there_already():
    config = make_config(backbone="deit_tiny", img_size=224, patch_size=16, global_batch_size=64)
    weights = 4 * recipe_parameters(config)
    assert needed(config, 8, False) == memory_bytes(config, 8) - weights
    averaged = edit(config, model_ema_decay=0.99)
    assert needed(averaged, 8, True) == memory_bytes(averaged, 8, MemoryPolicy(grad_checkpointing=True)) - 2 * weights


def room_for(config, images):
    """Free memory in which so many images fit and no more [bytes]."""
    return int((needed(config, images, False) + 1) / SHARE) + 1


def planned_run(tmp_path, monkeypatch, config, free):
    monkeypatch.setattr("scaling.engine.micro_batch._free", lambda device: free)
    found = []
    before = MicroBatch.on_fit_start

    def watched(self, trainer, pl_module):
        before(self, trainer, pl_module)
        found.append((self.micro_batches, trainer.accumulate_grad_batches, self.data.micro_batches))

    monkeypatch.setattr(MicroBatch, "on_fit_start", watched)
    record = train(config, tmp_path, RuntimeConfig(accelerator="cpu", threads=1, num_workers=0))
    assert found == [(found[0][0],) * 3]
    return record, found[0][0]


def test_on_a_cpu_the_free_memory_bounds_the_micro_batch(tmp_path, tiny, monkeypatch, doubles):
    whole, cut = planned_run(tmp_path / "a", monkeypatch, tiny, room_for(tiny, 16))
    assert cut == 1
    small, cut = planned_run(tmp_path / "b", monkeypatch, tiny, room_for(tiny, 4))
    assert cut == 4  # of 16 images, 4 at a time
    least, cut = planned_run(tmp_path / "c", monkeypatch, tiny, 0)
    assert cut == 16  # what does not fit is tried all the same, image by image
    assert small.test_loss == pytest.approx(whole.test_loss, rel=1e-9)
    assert least.test_loss == pytest.approx(whole.test_loss, rel=1e-9)


@pytest.fixture
def as_if_on_a_gpu(tmp_path, tiny, monkeypatch):
    """find(images that fit) -> the micro-batch found and the sizes tried, on a device with room for that many."""
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA Imagined")
    monkeypatch.setattr("scaling.engine.micro_batch._free", lambda device: room_for(tiny, 4))
    cuda = SimpleNamespace(type="cuda")
    task = SimpleNamespace(
        device=cuda,
        config=tiny,
        backbone=SimpleNamespace(_compiled_call_impl=None, scan_backend=lambda device: ""),
        channels_last=False,
    )
    strategy = SimpleNamespace(root_device=cuda)
    trainer = SimpleNamespace(world_size=1, is_global_zero=True, num_nodes=1, precision="bf16-mixed", strategy=strategy)

    def find(room):
        tried = []
        monkeypatch.setattr(
            "scaling.engine.micro_batch._fits", lambda task, data, n, shape: tried.append(n) or n <= room
        )
        finder = MicroBatch(tiny, None, 0, tmp_path, grad_checkpointing=False)
        return finder._found([1, 2, 4, 8, 16], trainer, task), tried, finder

    return find


def test_on_a_gpu_steps_are_tried_and_what_was_found_is_remembered(tmp_path, as_if_on_a_gpu):
    found, tried, finder = as_if_on_a_gpu(room=9)
    assert (found, tried) == (8, [4, 8, 16])
    (key,) = json.loads((tmp_path / "micro_batch.json").read_text())
    assert key.startswith("NVIDIA Imagined, classify linear deit_nano 16/8 bf16-mixed, ")
    assert as_if_on_a_gpu(room=2)[:2] == (8, [])  # not tried again
    finder.forget()  # it did not fit after all
    assert as_if_on_a_gpu(room=9)[:2] == (4, [])


def test_a_damaged_memory_is_as_none(tmp_path, as_if_on_a_gpu):
    (tmp_path / "micro_batch.json").write_text("[1")
    assert as_if_on_a_gpu(room=1)[:2] == (1, [4, 2, 1])


def _agree(rank, file, found, pipe):
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    pipe.send(_least(found, 2, torch.device("cpu")))
    torch.distributed.destroy_process_group()


def test_all_ranks_take_what_fits_on_the_smallest(tmp_path):
    pipes = [context().Pipe(duplex=False) for _ in range(2)]
    ranks = [
        context().Process(target=_agree, args=(rank, tmp_path / "meet", found, pipes[rank][1]))
        for rank, found in enumerate((16, 4))
    ]
    for process in ranks:
        process.start()
    for ours, _ in pipes:
        assert ours.poll(120), "a process died or hangs"
        assert ours.recv() == 4
    for process in ranks:
        process.join()
