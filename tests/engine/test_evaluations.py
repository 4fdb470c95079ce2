"""A run is evaluated on the way at the ends of every eval_every-th epoch, whatever it is cut into."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scaling.runs.record import CHECKPOINT, CURVE, WEIGHTS
from tests.toy_task import run, toy_recipe, toy_runs


def evaluated(results, config):
    """Steps at which the curve has a test loss."""
    rows = [row.split(",") for row in (results / config.run_id / CURVE).read_text().splitlines()[1:]]
    return [int(row[0]) for row in rows if row[4]]


def wanted(config):
    """The steps of evaluations, the last of which is the run's end."""
    per_epoch = (config.data.num_train or 0) // config.optim.global_batch_size
    total = config.schedule.max_steps or config.schedule.epochs * per_epoch
    every = (config.evaluation.val_interval or 0) * per_epoch
    return [step for step in range(1, total) if every and step % every == 0] + [total]


@st.composite
def cases(draw):
    """A recipe, the micro-batch of one that is not cut, and where another is cut and with which micro-batches."""
    config = toy_recipe(
        epochs=draw(st.integers(1, 3)),
        steps_per_epoch=draw(st.integers(1, 3)),
        eval_every=draw(st.integers(0, 3)),
        batch=draw(st.sampled_from([4, 6])),
        max_steps=draw(st.sampled_from([0, 0, 5])) or None,
        warmup_steps=1,
    )
    sizes = st.sampled_from([n for n in (1, 2, 3, 4, 6) if config.optim.global_batch_size % n == 0])
    cuts = draw(st.sets(st.integers(1, wanted(config)[-1]), max_size=5))
    first = draw(sizes)
    return config, first, sorted(cuts), [draw(st.one_of(st.just(first), sizes)) for _ in range(len(cuts) + 1)]


def check(config, size, cuts, sizes):
    with toy_runs() as toy, tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole"), Path(folder, "cut")
        run(config, whole, size)
        expected = wanted(config)
        on_the_way = [("evaluate", step) for step in expected[:-1]]
        assert toy.seen == [*on_the_way, ("test", expected[-1])]  # and no evaluation of the end but the end's own
        assert evaluated(whole, config) == expected
        toy.seen.clear()
        for begun, stop, its in zip([0, *cuts], [*cuts, 0], sizes, strict=True):
            run(config, cut, its, cut=stop)
            held = torch.load(cut / config.run_id / CHECKPOINT, weights_only=True)
            assert held["global_step"] == (stop or expected[-1])
            if begun < expected[-1]:  # no step is half done
                counts = held["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"]
                assert counts == held["global_step"] * (config.optim.global_batch_size // its)
        assert evaluated(cut, config) == expected
        assert [what for what in toy.seen if what[0] == "evaluate"] == on_the_way
        if set(sizes) == {size}:
            a, b = (torch.load(r / config.run_id / WEIGHTS, weights_only=True)["model"] for r in (whole, cut))
            assert all(torch.equal(a[name], b[name]) for name in a)


@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])
@given(cases())
def test_it_is_evaluated_at_the_same_steps_wherever_it_is_cut_and_however_steps_are(case):
    check(*case)


@pytest.mark.parametrize("sizes", [[2] * 6, [1, 4, 2, 1, 4, 2]])
def test_cut_after_every_step_it_is_evaluated_at_the_same_steps(sizes):
    check(toy_recipe(epochs=3, steps_per_epoch=2, eval_every=1), 2, [1, 2, 3, 4, 5], sizes)
