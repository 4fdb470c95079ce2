"""Rates of dropped tokens: their distributions, the numbers that arXiv 2307.06304 prints, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scaling.config.edit import edit, leaf_values, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import SequencePacking
from scaling.config.token_drop import TOKEN_DROPS, BetaDrop, ConstantDrop, NoDrop, ResolutionDrop, ScheduledDrop
from scaling.errors import ConfigError

COUNT = 100_000
SHARES = np.random.default_rng(0).random(COUNT)
START = np.zeros(1)


def drawn(drop, place=0.0, progress=0.0):
    return np.broadcast_to(drop.rates(SHARES, np.array(place), np.array(progress)), SHARES.shape)


@pytest.mark.parametrize(("mean", "most"), [(0.25, 0.9), (0.5, 0.9), (0.7, 0.9), (0.5, 0.7), (0.1, 0.4)])
def test_beta_rates_have_the_mean_and_the_variance_of_the_paper(mean, most):
    rates, u = drawn(BetaDrop(drop_mean=mean, drop_most=most)), mean / most
    assert rates.mean() == pytest.approx(mean, abs=0.005)
    assert rates.var() == pytest.approx(most**2 * 0.3 * u * (1 - u), rel=0.02)
    assert 0 <= rates.min() <= rates.max() <= most
    both = 7 / 3
    wanted = stats.beta(both * u, both * (1 - u), scale=most)
    assert stats.kstest(rates, wanted.cdf).pvalue > 0.01


# Shares of images of which less than 10 % is dropped [%], printed in figure 15a, by d_max and the mean rate.
PRINTED = {
    0.4: {0.10: 60.3, 0.25: 11.5, 0.35: 1.3},
    0.7: {0.10: 66.9, 0.25: 27.3, 0.50: 2.3, 0.65: 0.1},
    0.9: {0.10: 70.4, 0.25: 33.5, 0.50: 5.9, 0.70: 0.9, 0.85: 0.1},
}


@pytest.mark.parametrize(("most", "mean", "percent"), [(k, m, p) for k, of in PRINTED.items() for m, p in of.items()])
def test_the_share_of_nearly_whole_images_is_the_printed_one(most, mean, percent):
    rates = BetaDrop(drop_mean=mean, drop_most=most).rates((np.arange(20000) + 0.5) / 20000, START, START)
    assert 100 * (rates < 0.1).mean() == pytest.approx(percent, abs=0.6)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_rates_by_resolution_are_normal_and_cut_around_a_mean_that_is_linear(place):
    mean = 0.2 + 0.5 * place
    rates = drawn(ResolutionDrop(drop_smallest=0.2, drop_largest=0.7), place)
    wanted = stats.truncnorm(-2, 2, mean, 0.02)
    assert stats.kstest(rates, wanted.cdf).pvalue > 0.01
    assert np.abs(rates - mean).max() <= 0.04 + 1e-12


def test_rates_stay_in_their_bounds_at_the_ends():
    assert drawn(ResolutionDrop(drop_smallest=0.0)).min() == 0
    assert drawn(ResolutionDrop(drop_largest=0.99), place=1.0).max() < 1


def test_a_schedule_is_the_logistic_curve_of_the_paper_up_or_down():
    progress = np.linspace(0, 1, 11)
    for start, end in ((0.2, 0.8), (0.8, 0.2)):
        drop = ScheduledDrop(drop_start=start, drop_end=end, drop_middle=0.4, drop_width=0.05)
        wanted = start + (end - start) / (1 + np.exp(-(progress - 0.4) / 0.05))
        np.testing.assert_allclose(drop.rates(START, START, progress), wanted, rtol=1e-12)
        assert drop.rates(START, START, np.array([0.4])) == pytest.approx(0.5)


@given(st.sampled_from(list(TOKEN_DROPS.values())), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_rate_is_a_share(kind, share, place, progress):
    (rate,) = np.broadcast_to(kind().rates(np.array([share]), np.array([place]), np.array([progress])), (1,))
    assert 0 <= rate < 1


def test_none_and_constant_do_not_depend_on_the_image():
    assert not drawn(NoDrop()).any()
    assert set(drawn(ConstantDrop(drop_rate=0.3))) == {0.3}


def test_an_image_has_its_place_between_the_smallest_and_the_largest_size():
    packing = SequencePacking(image_sizes="8-16")
    assert [packing.place_of(size**2) for size in (4, 8, 16, 32)] == [0, 0, 1, 1]
    assert packing.place_of(160) == pytest.approx((160 - 64) / (256 - 64))
    assert SequencePacking(image_sizes="16").place_of(256) == 0


def test_a_parameter_alone_chooses_its_kind():
    packed = make_config(packing="sequences")
    for field, kind in (("drop_rate", "constant"), ("drop_mean", "beta"), ("drop_end", "schedule")):
        changed = edit(packed, **{field: 0.3})
        assert changed.packing.token_drop.kind == kind
        assert leaf_values(changed)[field] == 0.3
        assert ExperimentConfig.from_dict(changed.to_dict()) == changed
        assert changed.run_id != packed.run_id


def test_without_dropping_a_run_has_the_id_that_it_had_before():
    packed = make_config(packing="sequences")
    assert packed == edit(packed, token_drop="none")
    assert "token_drop" not in packed.canonical


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"drop_rate": 1.0}, r"^drop_rate 1.0 must be in \[0, 1\)"),
        ({"drop_rate": -0.1}, r"^drop_rate -0.1 must be in \[0, 1\)"),
        ({"drop_most": 1.5}, r"^drop_most 1.5 must be in \[0, 1\)"),
        ({"drop_mean": 0.9}, "^drop_mean 0.9 must be above 0 and below drop_most, 0.9"),
        ({"drop_mean": 0.0}, "^drop_mean 0.0 must be above 0"),
        ({"drop_start": 1}, "^drop_start 1 must be in"),
        ({"drop_width": 0.0}, "^drop_width 0.0 must be above 0"),
        ({"drop_middle": 2.0}, "^drop_middle 2.0 must be in"),
        ({"drop_largest": 0.5}, "^token_drop resolution needs images of several sizes, and image_sizes is native"),
        ({"drop_largest": 0.5, "image_sizes": "16"}, "and image_sizes is 16: give a range"),
        ({"token_drop": "often"}, "^unknown token_drop 'often'"),
        ({"drop_rate": 0.5, "drop_end": 0.5}, "exclude each other"),
        ({"packing": "none", "drop_rate": 0.5}, "^drop_rate does not apply to packing none; choose --packing seq"),
        ({"packing": "none", "token_drop": "beta"}, "^token_drop does not apply to packing none"),
    ],
)
def test_what_is_no_rate_is_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**{"packing": "sequences", **fields})


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_tasks_with_an_answer_in_every_patch_are_refused(task):
    with pytest.raises(ConfigError, match=f"^token_drop constant leaves out patches, and the task {task} "):
        make_config(task=task, packing="sequences", token_drop="constant")
