"""What a record says of training in numbers: means over steps, sums over the devices that share the run."""

from types import SimpleNamespace

import pytest
import torch

from scaling.engine.callbacks.keeper import Keeper
from scaling.runs.environment import Memory
from tests.toy_task import toy_recipe


@pytest.fixture
def keeper(tmp_path):
    data = SimpleNamespace(total_steps=20, steps_per_epoch=10, epochs=2, micro_batches=1)
    recipe = toy_recipe(epochs=2, steps_per_epoch=10, eval_every=0)
    return Keeper(recipe, tmp_path, data, 10.0, lambda event: None, Memory(cuda=False))


def row(step, train_loss="", test_loss=""):
    return [step, step / 10, "", train_loss, test_loss, 0.0]


def test_the_training_loss_is_the_mean_over_the_steps_of_the_last_epoch_whatever_rows_hold(keeper):
    losses = [float(n * n) for n in range(1, 21)]  # of steps 1 to 20
    ends = [3, 6, 9, 10, 13, 16, 19, 20]  # a row every third step, and at the ends of epochs
    for begin, end in zip([0, *ends], ends, strict=False):
        keeper.rows.append(row(end, sum(losses[begin:end]) / (end - begin)))
    keeper.rows.insert(4, row(10, test_loss=9e9))
    assert keeper.train_loss == pytest.approx(sum(losses[10:]) / 10, rel=1e-12)


def shared(*others):
    """A trainer of a run that this device shares with others, which have these values to add."""

    def reduce(value, reduce_op):
        assert reduce_op == "sum"
        return value + sum(others)

    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    return SimpleNamespace(world_size=1 + len(others), strategy=strategy)


def test_skipped_images_are_those_of_all_devices_before_and_after_a_cut(keeper, tmp_path):
    keeper._skipped_here = 2
    keeper._count_skipped(shared(3))
    assert keeper.skipped == {"skipped_later": 5.0}
    keeper._count_skipped(shared(0))  # nothing new
    saved = keeper.state_dict()
    keeper.skipped, keeper._skipped_here = {}, 0
    keeper.load_state_dict(saved)  # as every device does, from the file that the first one wrote
    keeper._skipped_here = 1
    keeper._count_skipped(shared(1))
    assert keeper.skipped == {"skipped_later": 7.0}


def test_where_nothing_was_skipped_nothing_is_said(keeper):
    keeper._count_skipped(shared(0))
    assert keeper.skipped == {}
