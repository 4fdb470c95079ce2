import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.backbones.drop_path import DropPath, set_sample_keys
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.model_specs import MODEL_SPECS
from scaling.rng import SampleKey, uniform


@given(rate=st.floats(0.01, 0.99), draws=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1, max_size=20))
def test_the_images_whose_draw_is_below_the_rate_are_dropped_and_the_others_scaled(rate, draws):
    drop = DropPath(rate).train()
    drop.uniform_B = torch.tensor(draws)
    out = drop(torch.ones(len(draws), 3, 2))
    wanted = torch.where(drop.uniform_B < rate, 0.0, 1 / (1 - rate)).view(-1, 1, 1).expand(-1, 3, 2)
    torch.testing.assert_close(out, wanted)


def test_the_mean_over_draws_is_the_branch_itself():
    drop = DropPath(0.3).train()
    drop.uniform_B = torch.from_numpy(uniform([SampleKey(0, i) for i in range(20_000)], 0, "flip")[:, 0]).float()
    assert drop(torch.ones(20_000, 1)).mean().item() == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_draws_torchs_generator_decides_at_the_same_rate_in_any_precision(dtype):
    """Draws of bfloat16, in steps of 1/256, would drop 5.2 % where 5 % are asked for."""
    drop = DropPath(0.05).train()
    torch.manual_seed(3)
    first = drop(torch.ones(1_000_000, 1, dtype=dtype))
    assert first.dtype == dtype
    assert (first == 0).float().mean().item() == pytest.approx(0.05, abs=0.001)
    torch.manual_seed(3)
    assert torch.equal(drop(torch.ones(1_000_000, 1, dtype=dtype)), first)


def test_nothing_is_dropped_in_evaluation_or_at_rate_zero():
    x = torch.rand(4, 3, 2)
    for drop in (DropPath(0.9).eval(), DropPath(0.0).train()):
        drop.uniform_B = torch.zeros(4)
        assert torch.equal(drop(x), x)


def backbone(name, rate=0.5):
    return build_backbone(make_config(backbone=name, img_size=16, patch_size=8, drop_path=rate))


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
def test_a_column_goes_to_every_branch_from_the_first_block_to_the_last(name):
    model, keys = backbone(name), [SampleKey(2, i, i % 2) for i in range(6)]
    set_sample_keys(model, keys, seed=5)
    drops = [m for m in model.modules() if isinstance(m, DropPath)]
    wanted_BS = uniform(keys, 5, "drop_path", 2 * MODEL_SPECS[name].depth)
    assert np.array_equal(torch.stack([d.uniform_B for d in drops], 1), wanted_BS.astype(np.float32))
    assert [d.rate for d in drops] == pytest.approx(np.repeat(np.linspace(0, 0.5, MODEL_SPECS[name].depth), 2))


def test_a_model_that_drops_nothing_draws_nothing():
    model = backbone("deit_nano", rate=0.0)
    set_sample_keys(model, [SampleKey(0, 0)], seed=0)
    assert all(m.uniform_B is None for m in model.modules() if isinstance(m, DropPath))


@pytest.mark.parametrize("name", ["deit_nano", "adventurer_nano"])
@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=5, derandomize=True)
def test_what_an_image_loses_does_not_depend_on_the_batch_around_it(name, cut, seed):
    model, keys = backbone(name).train(), [SampleKey(0, i) for i in range(6)]
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(seed))

    def summary(part, seed=seed):
        set_sample_keys(model, keys[part], seed)
        return model(images[part]).pooled_ND

    whole = summary(slice(None))
    torch.testing.assert_close(torch.cat([summary(slice(cut)), summary(slice(cut, None))]), whole, rtol=1e-3, atol=1e-4)
    # Of another seed other branches are dropped: another result.
    assert not torch.allclose(summary(slice(None), seed + 1), whole, rtol=0.01)
