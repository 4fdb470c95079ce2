"""Instruments read what a loop over parameters reads, and change nothing in training."""

import csv
import math
import signal
from dataclasses import replace
from types import SimpleNamespace

import lightning as L
import pytest
import torch

import scaling.engine.train as engine
from scaling.config.edit import edit
from scaling.config.runtime import RuntimeConfig
from scaling.engine.callbacks.curve_logger import CurveLogger
from scaling.engine.callbacks.instrument import WINDOW, Instrument
from scaling.engine.callbacks.run_callbacks import run_callbacks
from scaling.engine.environment import Memory
from scaling.engine.parameter_groups import parameter_groups
from scaling.engine.train import train
from scaling.errors import TrainingInterrupted
from scaling.runs.record import CHECKPOINT, CURVE
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.gradient_norms import clip_gradients, gradient_norms
from tests.conftest import ROOT, TINY
from tests.engine.test_train import at_step
from tests.instrument_names import without_noise
from tests.toy_task import Toy, run, toy_recipe, toy_runs

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
EVERY = "scaling.engine.callbacks.instrument.EVERY"
PLACES = {"patch_embed": "embedding", "pos_embed": "positions", "head": "head"}  # parts of a parameter's name


def group_of(name):
    """By the parameter's name alone."""
    words = name.split(".")
    if "blocks" in words:
        return f"block_{int(words[words.index('blocks') + 1]) + 1}"
    return next((group for word, group in PLACES.items() if word in words), "other")


class Loops(L.Callback):
    """What instruments read, by loops over parameters, micro-batch by micro-batch. steps: a dictionary per step."""

    def __init__(self):
        self.steps, self.now, self.sums = [], {}, {}

    def on_fit_start(self, trainer, task):
        def see(module, arguments, output):
            self.now.setdefault("tokens", []).extend(output[0].double().flatten().tolist())

        task.backbone.checkpoint_module.patch_embed.register_forward_hook(see)

    def on_after_backward(self, trainer, task):
        parts, count = self.now.setdefault("small", []), trainer.accumulate_grad_batches
        square = 0.0
        for name, p in task.named_parameters():
            if p.grad is not None:
                before = self.sums.get(name, torch.zeros_like(p))
                square += ((p.grad - before) * count).square().sum().item()
                self.sums[name] = p.grad.clone()
        parts.append(square)

    def on_before_optimizer_step(self, trainer, task, optimizer):
        squares = {}
        for name, p in task.named_parameters():
            if p.grad is not None:
                squares[group_of(name)] = squares.get(group_of(name), 0.0) + p.grad.square().sum().item()
        self.now |= {"squares": squares, "before": {name: p.detach().clone() for name, p in task.named_parameters()}}

    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        if trainer.global_step == len(self.steps):
            return
        moved = held = 0.0
        for name, p in task.named_parameters():
            if p.requires_grad and p.ndim > 1:
                before = self.now["before"][name]
                moved += (p.detach() - before).square().sum().item()
                held += before.square().sum().item()
        tokens, large, small = self.now["tokens"], sum(self.now["squares"].values()), self.now["small"]
        self.steps.append({
            **{f"grad_norm_{group}": math.sqrt(square) for group, square in self.now["squares"].items()},
            "grad_norm": math.sqrt(large),
            "update_ratio": math.sqrt(moved / held),
            "embedding_rms": math.sqrt(sum(x * x for x in tokens) / len(tokens)),
            "small": sum(small) / len(small),
        })  # fmt: skip
        self.now, self.sums = {}, {}


@pytest.fixture
def loops(monkeypatch):
    """The same run's numbers by loops, read at every step."""
    made, make = Loops(), engine.make_trainer
    monkeypatch.setattr(EVERY, 1)
    monkeypatch.setattr(engine, "make_trainer", lambda c, s, callbacks, *rest: make(c, s, [*callbacks, made], *rest))
    return made


def rows_of(results, config):
    """Rows of training, by column; None: an empty cell."""
    with open(results / config.run_id / CURVE) as f:
        rows = [{k: float(v) if v else None for k, v in row.items() if k != "seconds"} for row in csv.DictReader(f)]
    return [row for row in rows if row["train_loss"] is not None]


@pytest.mark.parametrize(("clip", "micro"), [(2.5, 16), (None, 4)])
def test_columns_equal_loops_over_parameters(tmp_path, tiny, loops, doubles, clip, micro):
    config = edit(tiny, max_grad_norm=clip)
    record = train(config, tmp_path, replace(CPU, micro_batch_size=micro))
    rows = rows_of(tmp_path, config)
    assert len(rows) == len(loops.steps) == 12
    names = [name for name in loops.steps[0] if name != "small"]
    assert {"grad_norm_embedding", "grad_norm_positions", "grad_norm_block_1", "grad_norm_head"} < set(names)
    for number, (row, step) in enumerate(zip(rows, loops.steps, strict=True)):
        for name in names:
            assert row[name] == pytest.approx(step[name], rel=1e-9), name
        seen = [before["grad_norm"] for before in loops.steps[max(0, number + 1 - WINDOW) : number + 1]]
        variance = torch.tensor(seen).var().item() if number else None
        assert row["grad_norm_var"] == (variance and pytest.approx(variance, rel=1e-6))
        if clip:
            assert row["clipped_steps"] == 100 * (step["grad_norm"] > clip)
        large, small, size = step["grad_norm"] ** 2, step["small"], 16
        if micro == size:
            assert row["grad_signal"] is row["grad_noise"] is row["noise_scale"] is None
        else:
            assert row["grad_signal"] == pytest.approx((size * large - micro * small) / (size - micro), rel=1e-6)
            assert row["grad_noise"] == pytest.approx((small - large) / (1 / micro - 1 / size), rel=1e-6)
    for name in names:
        assert record.metrics[name] == pytest.approx(sum(step[name] for step in loops.steps) / 12, rel=1e-9)
    if clip:
        share = sum(step["grad_norm"] > clip for step in loops.steps) / 12
        assert 0 < share < 1
        assert record.metrics["clipped_steps"] == pytest.approx(100 * share)
    assert record.metrics["loss_spikes"] == 0
    assert ("grad_noise" in record.metrics) == (micro < 16)


def test_noise_knows_the_batch_of_each_shape_of_a_schedule(tmp_path, tiny, loops, doubles):
    schedule = {"patch_schedule": "8@0.5,4@0.5", "batch_in": "tokens", "patch_embed": "flexible"}
    config = edit(tiny, patch_size=4, pos_embed="grid", **schedule)
    train(config, tmp_path, replace(CPU, micro_batch_size=4))
    sizes = [64] * 6 + [16] * 6
    for row, step, size in zip(rows_of(tmp_path, config), loops.steps, sizes, strict=True):
        large, small = step["grad_norm"] ** 2, step["small"]
        assert row["grad_signal"] == pytest.approx((size * large - 4 * small) / (size - 4), rel=1e-6)
        assert row["grad_noise"] == pytest.approx((small - large) / (1 / 4 - 1 / size), rel=1e-6)


def test_norms_do_not_depend_on_the_micro_batch(tmp_path, tiny, doubles, monkeypatch):
    monkeypatch.setattr(EVERY, 2)
    for micro in (16, 4):
        train(tiny, tmp_path / str(micro), replace(CPU, micro_batch_size=micro))
    for whole, parts in zip(rows_of(tmp_path / "16", tiny), rows_of(tmp_path / "4", tiny), strict=True):
        for name in without_noise(whole):
            assert whole[name] == (parts[name] and pytest.approx(parts[name], rel=1e-6)), name


@pytest.mark.parametrize("step", [3, 8])
def test_a_resumed_run_has_the_same_columns(tmp_path, tiny, monkeypatch, step):
    monkeypatch.setattr("scaling.engine.callbacks.step.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("scaling.engine.callbacks.curve_logger.CURVE_ROWS", 3)  # cut between rows
    monkeypatch.setattr("scaling.engine.callbacks.loss_spikes.SPIKE_WINDOW", 3)
    monkeypatch.setattr(EVERY, 2)
    settings = replace(CPU, micro_batch_size=4)
    whole = train(tiny, tmp_path / "whole", settings)
    with pytest.raises(TrainingInterrupted):
        train(tiny, tmp_path / "cut", settings, at_step(step, lambda: signal.raise_signal(signal.SIGINT)))
    resumed = train(tiny, tmp_path / "cut", settings)
    assert rows_of(tmp_path / "whole", tiny) == rows_of(tmp_path / "cut", tiny)
    assert whole.metrics == resumed.metrics
    assert whole.metrics["grad_noise"] > 0


def test_training_has_the_same_bits_whether_steps_are_read_or_not(tmp_path, tiny, monkeypatch):
    settings, states = replace(CPU, micro_batch_size=4), []
    for every in (1, 10**9):
        monkeypatch.setattr(EVERY, every)
        train(tiny, tmp_path / str(every), settings)
        states.append(torch.load(tmp_path / str(every) / tiny.run_id / CHECKPOINT, weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_clipping_has_the_bits_of_torch(tiny, factor):
    ours, theirs = (list(ClassificationTask(tiny, 1).parameters()) for _ in range(2))
    gradients = [factor * torch.randn(p.shape, generator=torch.Generator().manual_seed(n)) for n, p in enumerate(ours)]
    for parameters in (ours, theirs):
        for p, gradient in zip(parameters[1:], gradients[1:], strict=True):  # the first has none
            p.grad = gradient.clone()
    norms = clip_gradients(ours, 1.0)
    total = torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    assert torch.equal(torch.linalg.vector_norm(norms.norm_P), total)
    assert len(norms.parameters) == len(gradients) - 1
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        assert torch.equal(a.grad, b.grad)


def test_without_a_gradient_there_is_nothing_to_read():
    assert gradient_norms([torch.nn.Parameter(torch.ones(2))]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"backbone": "adventurer_nano"},
        {"backbone": "deit_nano", "pos_embed": "relative_mlp"},
        {"backbone": "timm:vit_tiny_patch16_224", "drop_path": 0.0},
        {"patch_embed": "flexible"},
    ],
)
def test_every_trained_parameter_is_in_one_group(tiny, changes):
    task = ClassificationTask(edit(tiny, **changes), 1)
    groups = parameter_groups(task)
    held = [id(p) for parameters in groups.values() for p in parameters]
    assert sorted(held) == sorted(id(p) for p in task.parameters() if p.requires_grad)
    blocks = [f"block_{n + 1}" for n in range(task.backbone.depth)]
    assert list(groups) == [*[g for g in ("embedding", "positions") if g in groups], *blocks, "head", "other"]
    assert "embedding" in groups


def test_loggers_get_the_columns(tmp_path, monkeypatch):
    logged = []
    logger = SimpleNamespace(log_metrics=lambda values, step: logged.append(values), finalize=lambda status: None)
    monkeypatch.setattr("scaling.engine.logged_run.make_loggers", lambda *_: [logger])
    with toy_runs():
        run(toy_recipe(epochs=1, steps_per_epoch=3, eval_every=0), tmp_path)
    assert [values["loss_spikes"] for values in logged[:3]] == [0, 0, 0]
    assert logged[0]["grad_norm"] == logged[0]["grad_norm_head"] > 0  # the toy has no other part
    assert "grad_norm" not in logged[1]  # nothing is clipped, so few steps are read


def test_numbers_of_a_phase_are_those_of_its_steps():
    class Read(Instrument):
        columns = ("read",)

    state = SimpleNamespace(config=TINY, data=SimpleNamespace(total_steps=10))
    curve = CurveLogger(state, [Read()])
    for step, cells in ((4, {"read": 1.0}), (6, {"read": math.inf}), (7, {}), (10, {"read": 4.0})):
        row = {"step": step, "train_loss": 2.0} | cells
        curve.rows.append([row.get(name, "") for name in curve.columns])
    curve.rows.append([12, 3.0, "", "", 1.0])  # of an evaluation, by an earlier version
    assert curve.read_by_instruments() == {"read": (4 * 1 + 3 * 4) / 7}
    assert curve.read_by_instruments(0, 4) == {"read": 1.0}
    assert curve.read_by_instruments(2, 8) == {"read": (2 * 1 + 1 * 4) / 3}
    assert curve.read_by_instruments(4, 7) == {}


def test_the_page_states_what_every_column_is(callbacks):
    text = (ROOT / "docs" / "stability.md").read_text()
    names = {
        column.replace("_head", "_GROUP") for each in callbacks for column in each.columns if "_other" not in column
    }
    assert len(names) > 8
    assert not {name for name in names if f"`{name}`" not in text}


@pytest.fixture
def callbacks(tmp_path):
    """The instruments of a run that has begun, of a model without blocks."""
    data = SimpleNamespace(total_steps=9, steps_per_epoch=3, epochs=3, micro_batches=1)
    found = run_callbacks(TINY, tmp_path, data, 10.0, 0, None, lambda event: None, Memory(cuda=False)).curve.instruments
    task = Toy(TINY, 9)
    for each in found:
        each.on_fit_start(None, task)
    return found
