"""A linear layer with aligned rows is nn.Linear."""

import pytest
import torch
from torch import nn

from scaling.backbones.aligned_linear import VECTOR, AlignedLinear


def both(out_features, dtype=torch.float64):
    torch.manual_seed(0)
    aligned = AlignedLinear(6, out_features).to(dtype)
    plain = nn.Linear(6, out_features, bias=False).to(dtype)
    plain.load_state_dict(aligned.state_dict())
    return aligned, plain


@pytest.mark.parametrize("shape", [(7, 6), (2, 5, 6), (2, 3, 4, 6), (0, 6), (2, 0, 6)])
@pytest.mark.parametrize("out_features", [1, 8, 13])
def test_outputs_and_gradients_are_those_of_a_linear_layer(shape, out_features):
    x = torch.randn(shape, dtype=torch.float64)
    g = torch.randn(*shape[:-1], out_features, dtype=torch.float64)

    def found(layer):
        leaf = x.clone().requires_grad_()
        y = layer(leaf)
        y.backward(g)
        return y, leaf.grad, layer.weight.grad

    for ours, theirs in zip(*(found(layer) for layer in both(out_features)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dtype", "out_features"), [(torch.float32, 227), (torch.float64, 131)])
def test_rows_begin_where_vectors_do(dtype, out_features):
    y = both(out_features, dtype)[0](torch.randn(2, 5, 6, dtype=dtype))
    assert y.stride(-1) == 1
    assert all(stride * y.element_size() % VECTOR == 0 for stride in y.stride()[:-1])
    assert y.stride(1) * y.element_size() < out_features * y.element_size() + VECTOR


def test_rows_that_are_aligned_are_left_as_they_are():
    assert both(228, torch.float32)[0](torch.randn(2, 5, 6)).is_contiguous()


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_gradients_that_nobody_needs(frozen):
    aligned, plain = both(13)
    x = torch.randn(5, 6, dtype=torch.float64, requires_grad=frozen == "weight")
    for layer in (aligned, plain):
        layer.weight.requires_grad_(frozen == "input")
        layer(x).square().sum().backward()
    if frozen == "input":
        torch.testing.assert_close(aligned.weight.grad, plain.weight.grad, rtol=1e-12, atol=1e-12)
    else:
        assert aligned.weight.grad is None


def test_it_has_two_derivatives():
    aligned, x = both(13)[0], torch.randn(3, 6, dtype=torch.float64, requires_grad=True)

    def product(x, weight):
        return torch.func.functional_call(aligned, {"weight": weight}, (x,))

    assert torch.autograd.gradcheck(product, (x, aligned.weight))
    assert torch.autograd.gradgradcheck(product, (x, aligned.weight))


def test_what_has_rules_of_its_own_gets_a_linear_layer():
    aligned, plain = both(13)
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(aligned)(x), plain(x), rtol=1e-12, atol=1e-12)
    compiled = torch.compile(aligned, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), plain(x), rtol=1e-12, atol=1e-12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert both(13, torch.float32)[0](x.float()).dtype == torch.bfloat16
