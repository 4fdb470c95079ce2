"""Kernels for other patch sizes against definitions written out in loops, against timm, and by what must not change."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from scaling.backbones.resampling import enlarge_kernel, kernel_matrix, resize_kernel, resize_matrix, resize_positions
from scaling.config.patch_embeds import RESIZE_METHODS
from scaling.errors import ConfigError

SIDES = st.integers(1, 33)
PAIRS = [(8, 16), (16, 8), (5, 7), (7, 5), (4, 1), (1, 4), (32, 12)]


def double(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def bilinear_loop(image, side):
    """A square image at another size: every new pixel interpolates the four old ones around its centre, those beyond
    the edge being repeated; no antialiasing (big_vision's resize with antialias=False)."""
    p, out = len(image), np.zeros((side, side))
    for i in range(side):
        for j in range(side):
            y, x = ((n + 0.5) * p / side - 0.5 for n in (i, j))
            for row in (int(np.floor(y)), int(np.floor(y)) + 1):
                for column in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(y - row)) * (1 - abs(x - column))
                    out[i, j] += weight * image[min(max(row, 0), p - 1), min(max(column, 0), p - 1)]
    return out


def big_vision_loop(kernel, side):
    """PI-resize as big_vision's models/proj/flexi/vit.py defines it: the resize of every unit image is a column of a
    matrix of side^2 x p^2 numbers; the pseudo-inverse of its transpose acts on each channel of each filter."""
    p = kernel.shape[-1]
    units = np.eye(p * p).reshape(-1, p, p)
    resize = np.stack([bilinear_loop(unit, side).ravel() for unit in units], 1)
    inverse = np.linalg.pinv(resize.T)
    return np.array([[(inverse @ channel.ravel()).reshape(side, side) for channel in one] for one in kernel])


def triangle_loop(p, q):
    """Antialiased linear resizing of p samples to q, sample by sample."""
    found = np.zeros((q, p))
    for i in range(q):
        centre, support = (i + 0.5) * p / q, max(1, p / q)
        for j in range(p):
            found[i, j] = max(0, 1 - abs(j + 0.5 - centre) / support)
        found[i] /= found[i].sum()
    return found


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_pi_resize_is_that_of_big_vision(p, q):
    kernel = double(2, 3, p, p)
    found = resize_kernel(kernel, q, "pi", antialias=False)
    np.testing.assert_allclose(found, big_vision_loop(kernel.numpy(), q), atol=1e-10)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_pi_resize_is_that_of_timm(p, q, antialias):
    kernel = double(4, 3, p, p).float()
    theirs = resample_patch_embed(kernel, [q, q], "bilinear", antialias)
    torch.testing.assert_close(resize_kernel(kernel, q, "pi", antialias), theirs, atol=1e-4, rtol=1e-4)


@given(SIDES, SIDES)
@settings(deadline=None, max_examples=60)
def test_the_matrix_of_a_resize_is_that_of_its_definition(p, q):
    np.testing.assert_allclose(resize_matrix(p, q, True), triangle_loop(p, q), atol=1e-12)
    plain, image = resize_matrix(p, q, False), double(p, p).numpy()
    np.testing.assert_allclose(plain @ image @ plain.T, bilinear_loop(image, q), atol=1e-12)


@given(SIDES, SIDES, st.booleans())
@settings(deadline=None, max_examples=60)
def test_of_a_square_the_pseudo_inverse_is_the_product_of_those_of_its_sides(p, q, antialias):
    p, q = p % 9 + 1, q % 9 + 1  # the square's matrix has (p q)^2 numbers
    line = resize_matrix(p, q, antialias)
    inverse = kernel_matrix(p, q, True, antialias)
    np.testing.assert_allclose(np.kron(inverse, inverse), np.linalg.pinv(np.kron(line, line).T), atol=1e-10)


def tokens_apart(p, q, method):
    """Largest difference between tokens of patches and tokens of the same patches resized from p to q."""
    patch, kernel = double(5, 3, p, p, seed=1), double(2, 3, p, p)
    line = torch.from_numpy(resize_matrix(p, q, True))
    resized = resize_kernel(kernel, q, method)
    tokens = torch.einsum("ncyx,dcyx->nd", patch, kernel)
    return (torch.einsum("ncyx,dcyx->nd", line @ patch @ line.T, resized) - tokens).abs().max().item()


@given(SIDES, SIDES)
@settings(deadline=None, max_examples=60)
def test_tokens_do_not_move_where_patch_and_kernel_are_enlarged_together(p, q):
    assert tokens_apart(min(p, q), max(p, q), "pi") < 1e-10


@pytest.mark.parametrize("method", [m for m in RESIZE_METHODS if m != "pi"])
def test_with_any_other_method_they_move(method):
    assert tokens_apart(8, 16, method) > 0.1
    assert tokens_apart(8, 12, method) > 0.1


def test_towards_smaller_patches_pi_resize_errs_least_over_patches_of_noise():
    patch, kernel = double(2000, 1, 8, 8, seed=1), double(4, 1, 8, 8)
    line = torch.from_numpy(resize_matrix(8, 4, True))
    tokens = torch.einsum("ncyx,dcyx->nd", patch, kernel)

    def error(method):
        resized = resize_kernel(kernel, 4, method)
        return (torch.einsum("ncyx,dcyx->nd", line @ patch @ line.T, resized) - tokens).square().mean().item()

    errors = {method: error(method) for method in RESIZE_METHODS}
    assert min(errors, key=errors.get) == "pi", errors


def test_the_methods_are_their_formulas():
    kernel, line = double(3, 2, 4, 4), torch.from_numpy(resize_matrix(4, 6, True))
    plain = torch.stack([torch.stack([line @ channel @ line.T for channel in one]) for one in kernel])
    torch.testing.assert_close(resize_kernel(kernel, 6, "vanilla"), plain)
    torch.testing.assert_close(resize_kernel(kernel, 6, "area"), plain * 16 / 36)
    kept = resize_kernel(kernel, 6, "norm")
    torch.testing.assert_close(kept.flatten(1).norm(dim=1), kernel.flatten(1).norm(dim=1))
    torch.testing.assert_close(kept, plain * (kept[:, :1, :1, :1] / plain[:, :1, :1, :1]))


def test_of_a_constant_kernel_pi_and_area_agree_inside_and_in_sum():
    """Doubled, each pixel counts a quarter: the token of a constant patch is the same."""
    kernel = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(resize_kernel(kernel, 8, "area"), torch.full((1, 1, 8, 8), 0.25, dtype=torch.float64))
    torch.testing.assert_close(resize_kernel(kernel, 8, "pi").sum(), kernel.sum())


@given(SIDES, SIDES)
@settings(deadline=None, max_examples=40)
def test_there_and_back_is_the_same_kernel_where_it_was_enlarged(p, q):
    small, large, kernel = min(p, q), max(p, q), double(2, 1, min(p, q), min(p, q))
    enlarged = resize_kernel(kernel, large, antialias=False)
    line = torch.from_numpy(resize_matrix(small, large, False))
    torch.testing.assert_close(line.T @ enlarged @ line, kernel, atol=1e-9, rtol=1e-9)


@given(st.integers(1, 8), st.sampled_from([1, 2, 4]))
@settings(deadline=None, max_examples=20)
def test_pi_resize_of_pi_resize_is_one_where_resizes_compose(p, factor):
    """Resizes of 1 to n repeat the pixel, so they compose; those of other sizes do so only about."""
    kernel = double(2, 1, 1, 1)
    twice = resize_kernel(resize_kernel(kernel, p), p * factor)
    first, second = resize_matrix(1, p, True), resize_matrix(p, p * factor, True)
    np.testing.assert_allclose(second @ first, resize_matrix(1, p * factor, True), atol=1e-12)
    patch = double(1, 1, seed=2).numpy()
    both = second @ first @ patch @ first.T @ second.T
    np.testing.assert_allclose((twice[:, 0].numpy() * both).sum((1, 2)), kernel[:, 0, 0, 0] * patch[0, 0], atol=1e-10)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", RESIZE_METHODS)
def test_a_kernel_is_enlarged_to_one_that_is_resized_to_it(method, antialias):
    for q, p in ((16, 32), (4, 32), (5, 7), (1, 4), (8, 8)):
        kernel = double(2, 3, q, q)
        large = enlarge_kernel(kernel, p, method, antialias)
        assert large.shape == (2, 3, p, p)
        torch.testing.assert_close(resize_kernel(large, q, method, antialias), kernel, atol=1e-10, rtol=1e-10)
    with pytest.raises(ConfigError, match="resize"):
        enlarge_kernel(kernel, p, "bicubic")


def test_the_token_of_an_enlarged_kernel_is_that_of_the_reduced_patch():
    kernel, patch = double(4, 3, 8, 8), double(3, 32, 32, seed=1)
    reduce = torch.from_numpy(resize_matrix(32, 8, True))
    wanted = (kernel * (reduce @ patch @ reduce.T)).sum((1, 2, 3))
    torch.testing.assert_close((enlarge_kernel(kernel, 32) * patch).sum((1, 2, 3)), wanted, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize(("p", "q"), [(3, 5), (5, 3)])
def test_gradients_reach_the_kernel(p, q, method):
    kernel = double(2, 1, p, p).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize_kernel(x, q, method), kernel)


def test_at_its_own_size_a_kernel_is_itself():
    kernel = double(2, 3, 4, 4)
    assert resize_kernel(kernel, 4) is kernel


def test_float32_has_an_error_of_rounding_only_and_autocast_changes_nothing():
    kernel = double(8, 3, 32, 32)
    for side in (1, 2, 8, 48):
        exact, single = resize_kernel(kernel, side), resize_kernel(kernel.float(), side)
        assert (single - exact).abs().max() < 1e-5 * exact.abs().max()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(resize_kernel(kernel.float(), side), single)


def test_what_inference_mode_has_cached_can_be_trained_through():
    kernel = torch.randn(1, 1, 11, 11, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = resize_kernel(kernel, 7)
    learned = kernel.clone().requires_grad_()
    after = resize_kernel(learned, 7)
    after.sum().backward()
    assert torch.equal(before, after.detach())
    assert learned.grad is not None


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match=r"^unknown resize 'are'; did you mean area\?"):
        resize_kernel(double(1, 1, 2, 2), 3, "are")


@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_positions_are_those_of_each_channel_resized_like_an_image(g, h, w):
    table = double(1, g * g, 4)
    found = resize_positions(table, (h, w)).view(h, w, 4)
    rows, columns = triangle_loop(g, h), triangle_loop(g, w)
    for channel in range(4):
        np.testing.assert_allclose(found[..., channel], rows @ table[0, :, channel].view(g, g).numpy() @ columns.T)


def test_positions_at_their_own_grid_are_themselves_and_gradients_reach_them():
    table = double(1, 9, 2).requires_grad_()
    assert resize_positions(table, (3, 3)) is table
    assert torch.autograd.gradcheck(lambda x: resize_positions(x, (2, 5)), table)


def test_positions_that_rise_along_the_image_do_so_at_every_grid():
    """At the centres of patches that lie inside the outermost centres of the table."""
    centre = (torch.arange(7, dtype=torch.float64) + 0.5) / 7
    table = torch.stack(torch.meshgrid(centre, centre, indexing="ij"), 2).view(1, 49, 2)
    found = resize_positions(table, (14, 21)).view(14, 21, 2)
    torch.testing.assert_close(found[1:-1, 5, 0], ((torch.arange(14, dtype=torch.float64) + 0.5) / 14)[1:-1])
    torch.testing.assert_close(found[5, 1:-1, 1], ((torch.arange(21, dtype=torch.float64) + 0.5) / 21)[1:-1])


@pytest.mark.parametrize("side", [5, 7, 15, 30])
@pytest.mark.parametrize("antialias", [True, False])
def test_positions_are_those_of_timm_by_the_same_filter(side, antialias):
    table = double(1, 15 * 15, 6).float()
    given = {"num_prefix_tokens": 0, "interpolation": "bilinear", "antialias": antialias}
    wanted = resample_abs_pos_embed(table, [side, side], **given)
    torch.testing.assert_close(resize_positions(table, (side, side), antialias), wanted, atol=1e-5, rtol=1e-5)
