"""Gradient statistics against loops over images and pairs of images, and the variance of a step by enumeration."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from scaling.comparison.gradient_statistics import OF_PATCHES, GradientStatistics, gradient_statistics
from scaling.comparison.loss_surface import open_surfaces
from scaling.config.edit import edit
from scaling.engine.parameter_groups import parameter_groups

IMAGES = 6


@pytest.fixture(params=["deit_nano", "adventurer_nano"])
def surfaces(request, trained, tiny):
    """Of a flexible run at 8 and 4 px."""
    several = {"patch_embed": "flexible", "step_shapes": "random_patch", "patches": "8,4"}
    config = edit(tiny, backbone=request.param, patch_size=4, epochs=1, num_train=16, **several)
    return open_surfaces(trained(config) / config.run_id, [], IMAGES, largest=1)


def by_loop(surface):
    """The gradient of every image by group, by .grad, in float64."""
    rows = []
    for batch in surface.batches:
        surface.task.zero_grad()
        cross_entropy(surface.task(batch.images, surface.patch), batch.targets.label_B).backward()
        groups = parameter_groups(surface.task)
        rows.append({name: torch.cat([p.grad.flatten() for p in its]).double().numpy() for name, its in groups.items()})
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_products_and_variances_are_those_over_pairs_and_images(surfaces):
    found = gradient_statistics(surfaces)
    assert found.patches == [8, 4]
    assert found.images == IMAGES
    of_patch = [by_loop(surface) for surface in surfaces]
    pairs = list(itertools.permutations(range(IMAGES), 2))
    for group, product_PP in found.products.items():
        for (j, one), (k, other) in itertools.product(enumerate(of_patch), repeat=2):
            mean = np.mean([one[group][a] @ other[group][b] for a, b in pairs])
            size = np.abs(one[group]).max() * np.abs(other[group]).max() * one[group].shape[1]
            assert product_PP[j, k] == pytest.approx(mean, rel=1e-4, abs=1e-6 * size)
        traces = [its[group].var(0, ddof=1).sum() for its in of_patch]
        assert found.variances[group] == pytest.approx(traces, rel=1e-4)
    assert found.variance_P() == pytest.approx(sum(found.variances.values()), rel=1e-12)
    assert found.norm2_P(["head"]) == pytest.approx(found.products["head"].diagonal(), rel=1e-12)
    assert found.loss_P == pytest.approx([surface.loss() for surface in surfaces], rel=1e-5)


def test_a_token_has_the_gradient_of_what_enters_the_first_block(surfaces):
    """By a zero that is added there, instead of the rows themselves."""
    found = gradient_statistics(surfaces)
    for surface, variance in zip(surfaces, found.token_variance_P, strict=True):
        stream, rows = surface.task.backbone.residual_stream(), []
        for batch in surface.batches:
            added = []

            def with_zero(module, arguments, added=added):
                added.append(torch.zeros_like(arguments[0], requires_grad=True))
                return (arguments[0] + added[0], *arguments[1:])

            hook = stream.blocks[0].register_forward_pre_hook(with_zero)
            cross_entropy(surface.task(batch.images, surface.patch), batch.targets.label_B).backward()
            hook.remove()
            tokens = (batch.pixels.shape[-1] // surface.patch) ** 2
            rows.append(added[0].grad[0, stream.first_patch :][:tokens].double().numpy())
        x_ND = np.concatenate(rows)
        assert variance == pytest.approx(x_ND.var(0).sum(), rel=1e-4)


def test_weights_of_the_start_are_those_of_an_untrained_model(surfaces, trained, tiny):
    run = trained(tiny) / tiny.run_id
    (before,), (after,) = (open_surfaces(run, [8], 2, 1, trained=way) for way in (False, True))
    again = open_surfaces(run, [8], 2, 1, trained=False)[0]
    for (name, p), q in zip(before.parameters.items(), again.parameters.values(), strict=True):
        assert torch.equal(p, q), name
    assert any(not torch.equal(p, after.parameters[name]) for name, p in before.parameters.items())


def statistics(mean_PD, variance_P, images=50):
    return GradientStatistics(
        patches=list(range(len(mean_PD))),
        images=images,
        loss_P=np.zeros(len(mean_PD)),
        products={"block_1": mean_PD @ mean_PD.T},
        variances={"block_1": np.asarray(variance_P)},
        token_variance_P=np.zeros(len(mean_PD)),
    )


def test_the_variance_of_a_step_is_that_of_all_steps_that_can_be_drawn():
    rng, batch = np.random.default_rng(0), 2
    mean_PD, deviation_ID = rng.normal(size=(3, 4)), rng.normal(size=(5, 4))
    deviation_ID -= deviation_ID.mean(0)
    gradient_PID = mean_PD[:, None] + deviation_ID * np.array([0.5, 1.0, 2.0])[:, None, None]
    variance_P = gradient_PID.var(1).sum(1)
    per_step, per_image = statistics(mean_PD, variance_P).step_variances(batch)
    images = list(itertools.product(range(5), repeat=batch))  # with replacement
    of_one = [gradient_PID[p, list(drawn)].mean(0) for p in range(3) for drawn in images]
    sizes = list(itertools.product(range(3), repeat=batch))
    of_each = [gradient_PID[list(ps), list(drawn)].mean(0) for ps in sizes for drawn in images]
    assert per_step == pytest.approx(np.var(of_one, 0).sum(), rel=1e-12)
    assert per_image == pytest.approx(np.var(of_each, 0).sum(), rel=1e-12)


def test_cosines_are_of_the_common_groups_and_a_hidden_mean_has_none():
    mean_PD = np.array([[3.0, 4.0], [4.0, 3.0]])
    found = statistics(mean_PD, [1.0, 2.0])
    assert found.cosine_PP() == pytest.approx(np.array([[1.0, 0.96], [0.96, 1.0]]))
    assert found.noise_scale_P() == pytest.approx([1 / 25, 2 / 25])
    for group in OF_PATCHES:
        found.products[group] = np.array([[100.0, np.nan], [np.nan, 1.0]])
        found.variances[group] = np.zeros(2)
    assert found.cosine_PP()[0, 1] == pytest.approx(0.96)
    assert np.isnan(found.step_variances(8)).all()
    found.products["block_1"][0, 0] = -300.0
    assert np.isnan(found.noise_scale_P()[0])
    assert np.isnan(found.cosine_PP()[0]).all()
