"""What a record says of training in numbers: means over steps, sums over the devices that share the run."""

from types import SimpleNamespace

import pytest
import torch

from scaling.engine.callbacks.run_callbacks import run_callbacks
from scaling.engine.environment import Memory
from tests.toy_task import toy_recipe


@pytest.fixture
def callbacks(tmp_path):
    data = SimpleNamespace(total_steps=20, steps_per_epoch=10, epochs=2, micro_batches=1)
    config = toy_recipe(epochs=2, steps_per_epoch=10, eval_every=0)
    return run_callbacks(config, tmp_path, data, 10.0, 0, None, lambda event: None, Memory(cuda=False))


def row(step, train_loss="", test_loss=""):
    return [step, step / 10, "", train_loss, test_loss, 0.0]


def test_the_training_loss_is_the_mean_over_the_steps_of_the_last_epoch_whatever_rows_hold(callbacks):
    losses = [float(n * n) for n in range(1, 21)]  # of steps 1 to 20
    ends = [3, 6, 9, 10, 13, 16, 19, 20]  # a row every third step, and at the ends of epochs
    for begin, end in zip([0, *ends], ends, strict=False):
        callbacks.curve.rows.append(row(end, sum(losses[begin:end]) / (end - begin)))
    callbacks.curve.rows.insert(4, row(10, test_loss=9e9))
    assert callbacks.curve.train_loss == pytest.approx(sum(losses[10:]) / 10, rel=1e-12)


def shared(*others):
    """A trainer of a run that this device shares with others, which have these values to add."""

    def reduce(value, reduce_op):
        assert reduce_op == "sum"
        return value + sum(others)

    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    return SimpleNamespace(world_size=1 + len(others), strategy=strategy)


def saved(skipped, trainer):
    """What a checkpoint holds of the skipped images."""
    checkpoint = {}
    skipped.on_save_checkpoint(trainer, None, checkpoint)
    return checkpoint


def test_skipped_images_are_those_of_all_devices_before_and_after_an_interruption(callbacks):
    skipped, batch = callbacks.skipped, SimpleNamespace(skipped=1)
    for _ in range(2):
        skipped.on_train_batch_end(None, None, None, batch, 0)
    saved(skipped, shared(3))
    assert skipped.counts == {"skipped_later": 5.0}
    checkpoint = saved(skipped, shared(0))  # nothing new
    resumed = type(skipped)()
    resumed.on_load_checkpoint(None, None, checkpoint)  # as every device does, from the file that the first one wrote
    resumed.on_train_batch_end(None, None, None, batch, 0)
    saved(resumed, shared(1))
    assert resumed.counts == {"skipped_later": 7.0}


def test_where_nothing_was_skipped_nothing_is_counted(callbacks):
    assert saved(callbacks.skipped, shared(0)) == {"skipped_images": {}}
    assert callbacks.skipped.counts == {}
