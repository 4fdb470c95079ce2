"""What the benchmark of the harness's overhead calls is there."""

from experiments.benchmarks import overhead


def test_the_harness_is_timed_beside_the_bare_loop(tiny):
    """`make bench` ended in a TypeError here: nothing called it."""
    bare, harness = overhead._in_turn(tiny)
    assert (len(bare), len(harness)) == (12, 12)
