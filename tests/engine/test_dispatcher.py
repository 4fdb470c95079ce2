"""Several callbacks as one for Lightning: hooks reach those that override them, in order, and their states return."""

import lightning as L
import torch

from scaling.engine.callbacks.dispatcher import HOOKS, HookDispatcher

CALLS = []


def recording(name, *hooks):
    """A callback with these hooks, which keeps how often they were called."""

    def made(hook):
        def called(self, *args, **kwargs):
            CALLS.append((name, hook))
            self.calls += 1

        return called

    members = {hook: made(hook) for hook in hooks} | {
        "calls": 0,
        "state_dict": lambda self: {"calls": self.calls},
        "load_state_dict": lambda self, state: setattr(self, "calls", state["calls"]),
    }
    return type(name, (L.Callback,), members)()


def trained(tmp_path, callbacks, ckpt_path=None, steps=3):
    CALLS.clear()
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(8, 1), batch_size=1), ckpt_path=ckpt_path)
    return trainer, list(CALLS)


class Line(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def three():
    return [
        recording("First", "on_train_batch_end", "on_train_start", "setup"),
        recording("Second", "on_train_batch_end", "on_before_backward", "on_exception"),
        recording("Third", "on_train_batch_end", "on_train_batch_start", "on_train_end", "teardown"),
    ]


def test_lightning_calls_the_same_hooks_in_the_same_order_as_of_several_callbacks(tmp_path):
    _, one_by_one = trained(tmp_path, three())
    _, together = trained(tmp_path, [HookDispatcher(three())])
    assert together == one_by_one
    assert len(together) == 3 * 5 + 4


def test_a_hook_that_no_callback_overrides_is_lightnings_own():
    dispatcher = HookDispatcher(three())
    assert (
        {"on_train_batch_end", "on_exception", "setup", "teardown"} <= vars(dispatcher).keys() <= {*HOOKS, "callbacks"}
    )
    assert "on_after_backward" not in vars(dispatcher)


def test_states_return_from_a_checkpoint(tmp_path):
    callbacks = three()
    trainer, _ = trained(tmp_path, [HookDispatcher(callbacks)])
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    counts = [callback.calls for callback in callbacks]
    resumed = three()
    trained(tmp_path, [HookDispatcher(resumed)], ckpt_path=tmp_path / "one.ckpt", steps=4)
    before = HookDispatcher(three())
    before.load_state_dict(HookDispatcher(callbacks).state_dict())
    assert [callback.calls for callback in before.callbacks] == counts
    assert all(callback.calls > count for callback, count in zip(resumed, counts, strict=True))
