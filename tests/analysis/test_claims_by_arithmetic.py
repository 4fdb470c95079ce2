"""Every arithmetic claim has the verdict and the numbers that are known from elsewhere, and the formulas that this
project implements are those of its own code."""

import math

import numpy as np
import pytest
import torch

from analysis.claims import formulas
from analysis.claims.estimates import ESTIMATES
from analysis.claims.ledger import assess, load
from analysis.claims.verdict import Verdict
from scaling.backbones import resampling
from scaling.packing.row_plan import first_fit

# id: numbers of its estimates, by hand, from the sources or from the specification of issue 22; those of memory beside
# batches (A29a, B5, B28, B38) as the memory model has them, which is compared with the allocator elsewhere.
KNOWN = {
    "A2": [0],
    "A5": [1, 1, 1],
    "A7a": [1],
    "A7b": [0.5],
    "A7c": [0.520],
    "A8": [0.237],
    "A10": [(224 // 16) ** 2 + 1 - ((448 // 16) ** 2 + 1)],
    "A21": [0],
    "A28": [1, 1, 1],
    "A29a": [0.254, 0.255],
    "A29b": [1, 1],
    "A31": [0],
    "A42a": [math.log2(4.45)],
    "A42b": [3.675],
    "A43a": [4],
    "A43b": [(785 / 197) ** 2],
    "A49": [0, 0, 0],
    "B1": [1, 1, 1],
    "B3": [0, 0, 0],
    "B4": [math.log2((785 / 197) ** 2)],
    "B5": [1.729, 1.913, 1.976],
    "B6a": [1, 1, 1],
    "B6b": [256],
    "B7": [1, 1, 1],
    "B10": [0],
    "B11": [1, 1, 1],
    "B12": [0],
    "B17b": [(27 * 27 + 3) * 12 / (2 * 196 * 768)],
    "B18": [13 * 13 * 12 / (15 * 15 * 768)],
    "B19": [0],
    "B27a": [90, 40],
    "B27b": [177, 57],
    "B27c": [0, 0],
    "B28a": [0.0017, 0.0017],
    "B28b": [0.224],
    "B28c": [0.822],
    "B29a": [4],
    "B29b": [4 / 3],
    "B31b": [4 * 8 * 16 * 32],
    "B32": [0],
    "B33a": [55],
    "B35a": [math.sqrt(48 * 2 / (48 + 768)), math.sqrt(3 * 2 / (3 + 768))],
    "B38a": [3.826, 3.953],
    "B38b": [2, 2],
    "F1": [0, 0, 0],
    "F2": [1.53, 0.456],
    "F3": [0.906, 1.01],
    "F4": [16 / 64],
    "F5": [4],
    "N2": [384 / 768, 768 / 1024],
    "N3": [0.15, 0.31, 0.59],
}
CONTRADICTED = {
    *("A7c", "A29b", "A31", "A42b"),
    *("B3", "B4", "B5", "B6b", "B17b", "B18", "B27a", "B27b", "B27c", "B28a", "B28b", "B29a", "B29b", "B31b", "B32"),
    *("B33a", "B35a", "B38b", "F4", "F5"),
}
CLAIMS = {claim.id: claim for claim in load().claims if claim.kind == "arithmetic"}


def test_every_arithmetic_claim_is_asserted():
    assert set(CLAIMS) == set(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_a_claim_has_its_numbers_and_its_verdict(name):
    row = assess(CLAIMS[name])
    assert [one.value for one in row.estimates] == pytest.approx(KNOWN[name], rel=0.015, abs=1e-6)
    assert all(one.low == one.value == one.high for one in row.estimates)
    assert row.verdict == (Verdict.CONTRADICTED if name in CONTRADICTED else Verdict.SUPPORTED)


def test_estimates_do_not_change_from_call_to_call():
    for name in {claim.estimate for claim in CLAIMS.values()}:
        assert ESTIMATES[name]() == ESTIMATES[name](), name


@pytest.mark.parametrize(("old", "new"), [(4, 8), (8, 12), (1, 16), (8, 4), (16, 4)])
def test_the_resize_is_that_of_torch_and_of_the_backbones(old, new):
    ours = formulas.resize_matrix(old, new)
    np.testing.assert_allclose(ours, resampling.resize_matrix(old, new, antialias=False), atol=1e-12)
    image = np.random.default_rng(0).normal(size=(old, old))
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None, None], size=(new, new), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(ours @ image @ ours.T, theirs[0, 0].numpy(), atol=1e-12)


def test_positions_interpolated_by_torch_stay_linear():
    old = (torch.arange(7.0) + 0.5) / 7
    new = torch.nn.functional.interpolate(old[None, None], size=14, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(new[1:-1], ((torch.arange(14.0) + 0.5) / 14)[1:-1])


def test_yarn_has_the_values_of_the_specification():
    """s = 2, base 100, 8 bands: grids of 14 and of 224 tokens per axis."""
    assert formulas.yarn(14, 100, 8)[:3] == pytest.approx([0.520, 0.504, 0.5], abs=6e-4)
    at_224 = [1, 0.807, 0.666, 0.586, 0.541, 0.516, 0.502, 0.5]
    assert formulas.yarn(224, 100, 8) == pytest.approx(at_224, abs=6e-4)


def test_the_layer_norm_is_that_of_torch():
    tokens = np.random.default_rng(1).normal(size=(5, 96))
    theirs = torch.nn.functional.layer_norm(torch.from_numpy(tokens), (96,), eps=1e-6).numpy()
    np.testing.assert_allclose(formulas._layer_norm(tokens), theirs, atol=1e-12)


def test_the_projection_of_patches_is_a_convolution_of_torch():
    rng = np.random.default_rng(2)
    image, kernel = rng.normal(size=(3, 8, 8)), rng.normal(size=(5, 3, 4, 4))
    convolved = torch.nn.functional.conv2d(torch.from_numpy(image)[None], torch.from_numpy(kernel), stride=4)[0]
    patch = image[:, 4:, :4].ravel()
    np.testing.assert_allclose(kernel.reshape(5, -1) @ patch, convolved[:, 1, 0].numpy(), atol=1e-12)


def test_an_overlapping_convolution_of_torch_has_55_tokens_per_side():
    embed = torch.nn.Conv2d(1, 1, kernel_size=7, stride=4, padding=(7 - 4) // 2)
    assert embed(torch.zeros(1, 1, 224, 224)).shape[-1] == 55


def test_two_lengths_share_a_row_in_the_packing_of_this_project():
    assert [sorted(row) for row in first_fit([100, 156], 256)] == [[0, 1]]


def test_drawn_shares_of_dropped_tokens_agree_with_those_printed():
    rng = np.random.default_rng(0)
    for (largest, mean), printed in formulas.PRINTED.items():
        u = mean / largest
        draws = largest * rng.beta(7 / 3 * u, 7 / 3 * (1 - u), size=40_000)
        assert draws.mean() == pytest.approx(mean, abs=0.01)
        assert 100 * (draws < 0.1).mean() == pytest.approx(printed, abs=1.5)
