"""The rule for loss spikes on series that are known, and the gradient noise scale of a quadratic."""

import math
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling.config.step_shapes import StepShape
from scaling.engine.callbacks.gradient_noise import GradientNoise, noise_parts, noise_scale
from scaling.engine.callbacks.loss_spikes import LIMIT, SPIKE_WINDOW, LossSpikes, SpikeRule


def spikes_of(losses):
    rule = SpikeRule()
    return [n for n, loss in enumerate(losses) if rule.is_spike(loss)]


def learning(steps=3000):
    """Losses of a run that learns, with noise."""
    return 2.3 * np.exp(-np.arange(steps) / 800) + 0.1 * np.random.default_rng(1).standard_normal(steps)


def test_a_loss_that_falls_with_noise_has_no_spikes_and_those_put_in_are_found():
    losses = learning()
    assert spikes_of(losses) == []
    put = [70, 500, 501, 502, 2900]
    losses[put] += 2.0
    assert spikes_of(losses) == put


def test_no_step_is_judged_before_the_window_is_full():
    assert spikes_of([1.0, 1.1] * 10 + [99.0]) == []


def test_a_falling_step_and_equal_losses_are_no_spikes():
    assert spikes_of([1.0] * 200 + [0.0] + [1.0] * 100) == []


@given(st.lists(st.floats(-9, 9), min_size=SPIKE_WINDOW, max_size=SPIKE_WINDOW + 40))
def test_the_rule_is_that_of_medians(losses):
    expected = []
    for n in range(SPIKE_WINDOW, len(losses)):
        window = losses[n - SPIKE_WINDOW : n]
        middle = median(window)
        if losses[n] - middle > LIMIT * median(abs(x - middle) for x in window):
            expected.append(n)
    assert spikes_of(losses) == expected


def test_steps_of_another_shape_are_judged_among_themselves():
    """Patch 16 has another level of loss than patch 4: a change of level is no spike."""
    spikes, trainer = LossSpikes(SimpleNamespace(step=None)), SimpleNamespace(world_size=1)
    coarse, fine = (SimpleNamespace(shape=StepShape(patch, 32)) for patch in (16, 4))
    noise = 0.05 * np.random.default_rng(2).standard_normal(400)
    for n, x in enumerate(noise):
        batch, level = (coarse, 2.0) if n % 2 else (fine, 1.0)
        spikes.state.step = SimpleNamespace(loss=torch.tensor(level + x))
        spikes.on_train_batch_end(trainer, None, None, batch, 0)
    assert spikes.cells(trainer) == {"loss_spikes": 0}
    for batch, loss in ((fine, 2.0), (coarse, 2.0)):  # the same loss is high at one patch size alone
        spikes.state.step = SimpleNamespace(loss=torch.tensor(loss))
        spikes.on_train_batch_end(trainer, None, None, batch, 0)
    assert spikes.cells(trainer) == {"loss_spikes": 1}


def test_expected_squares_give_the_parts_exactly():
    signal, noise, small, large = 3.0, 40.0, 4, 64
    found = noise_parts(signal + noise / small, signal + noise / large, small, large)
    assert found == pytest.approx((signal, noise))
    assert noise_scale(*found)["noise_scale"] == pytest.approx(noise / signal)
    assert noise_scale(-0.1, 40.0) == noise_scale(0.0, 40.0) == {}


def test_the_noise_scale_of_a_quadratic_is_known():
    """Loss (1/2) |w - x|^2 with x of mean 0 and variances v: the gradient of an image is w - x, so |G|^2 = |w|^2 and
    tr(S) = sum of v. 4,000 steps of 8 micro-batches of 4 images."""
    w, v = np.array([0.5, -1.0, 0.25]), np.array([1.0, 4.0, 0.25])
    image_SMBD = w - np.random.default_rng(3).standard_normal((4000, 8, 4, 3)) * np.sqrt(v)
    small = (image_SMBD.mean(2) ** 2).sum(-1).mean(1)
    large = (image_SMBD.mean((1, 2)) ** 2).sum(-1)
    signal, noise = np.mean([noise_parts(s, b, 4, 32) for s, b in zip(small, large, strict=True)], axis=0)
    assert signal == pytest.approx((w**2).sum(), rel=0.05)
    assert noise == pytest.approx(v.sum(), rel=0.05)
    assert noise_scale(signal, noise)["noise_scale"] == pytest.approx(v.sum() / (w**2).sum(), rel=0.08)


def test_the_record_has_the_ratio_of_means_not_the_mean_of_ratios():
    rows = [
        {"grad_signal": 1.0, "grad_noise": 4.0, "noise_scale": 4.0},
        {},
        {"grad_signal": 3.0, "grad_noise": 6.0, "noise_scale": 2.0},
    ]
    found = GradientNoise(SimpleNamespace()).summary(rows, [1, 1, 3])
    assert found["grad_signal"] == 2.5
    assert found["noise_scale"] == pytest.approx(5.5 / 2.5)
    assert math.isfinite(found["noise_scale"])
    assert "noise_scale" not in GradientNoise(SimpleNamespace()).summary([{}], [4])
