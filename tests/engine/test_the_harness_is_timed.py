"""What the benchmark of the harness's overhead calls is there."""

from experiments.benchmarks import instruments, overhead
from scaling.config.edit import edit


def test_the_harness_is_timed_beside_the_bare_loop(tiny):
    """`make bench` ended in a TypeError here: nothing called it."""
    bare, harness = overhead._in_turn(tiny)
    assert (len(bare), len(harness)) == (12, 12)


def test_an_empty_step_of_lightning_is_timed_beside_a_bare_one(monkeypatch):
    monkeypatch.setattr(overhead, "STEPS", {16: 8})
    bare, lightning = overhead._empty_in_turn()
    assert len(bare) == len(lightning) > 0


def test_steps_with_instruments_are_timed_beside_steps_without(tiny, monkeypatch):
    monkeypatch.setattr(instruments, "BLOCK", 2)
    seconds = instruments._seconds(edit(tiny, epochs=2), 2)
    assert len(seconds) == 8
    step, added, share = instruments._medians(seconds)
    assert step > 0
    assert share == 100 * added / step
