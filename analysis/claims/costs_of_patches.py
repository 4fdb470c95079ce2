"""Estimates of claims on tokens, parameters and FLOPs, from the cost model. Letters as in scaling/costs/__init__.py."""

import math
from collections.abc import Callable, Mapping

from analysis.claims.verdict import Estimate, exact
from scaling import costs
from scaling.costs.base import EmbedInput
from scaling.model_specs import MODEL_SPECS

CLASSES = 1000
SIDE = 224  # [px]


def tokens_over_stated(image: int, stated: Mapping[int, int]) -> list[Estimate]:
    """Tokens of an image over those that a text states. image [px]; stated: tokens by patch size [px]."""
    return [
        exact(f"{patch} px: {costs.tokens(image, patch):,} tokens, over {of:,} stated", costs.tokens(image, patch) / of)
        for patch, of in stated.items()
    ]


def pairs_512() -> list[Estimate]:
    """Pairs of tokens of a 512 px image at 8 px over those at 32 px [1]."""
    return [exact("pairs of tokens, 8 px over 32 px", (costs.tokens(512, 8) / costs.tokens(512, 32)) ** 2)]


def tokens_by_halving() -> list[Estimate]:
    """Tokens at 8 px over those at 16 px [1]."""
    return [exact("tokens, 8 px over 16 px", costs.tokens(SIDE, 8) / costs.tokens(SIDE, 16))]


def attention_by_halving() -> list[Estimate]:
    """FLOPs of attention's matrix products at 8 px over those at 16 px [1]."""
    return [exact("DeiT-Base, 224 px: attention, 8 px over 16 px", _flops("deit_base", 8)["attention"] / _at_16())]


def _at_16() -> int:
    return _flops("deit_base", 16)["attention"]


def exponent_16_to_8() -> list[Estimate]:
    """The power of 1/p that FLOPs of DeiT-Base grow with from 16 to 8 px [1]."""
    return [_exponent(16)]


def exponent_2_to_1() -> list[Estimate]:
    """The same from 2 to 1 px."""
    return [_exponent(2)]


def _exponent(coarse: int) -> Estimate:
    growth = _flops("deit_base", coarse // 2).total / _flops("deit_base", coarse).total
    what = f"DeiT-Base, 224 px: log2 of FLOPs, {coarse // 2} px over {coarse} px ({growth:.3g} times)"
    return exact(what, math.log2(growth))


def attention_exponent() -> list[Estimate]:
    """The power of 1/p that FLOPs of attention per pixel grow with [1]."""
    growth = _flops("deit_base", 8)["attention"] / _at_16()
    return [exact("DeiT-Base, 224 px: log2 of attention per pixel, 8 px over 16 px", math.log2(growth))]


def projection_parameters() -> list[Estimate]:
    """Parameters of the patch projection of the cost model over D (3 p^2 + 1) [1]."""
    width, embed = MODEL_SPECS["deit_base"].width, costs.EMBED_COSTS["conv"]
    return [
        exact(
            f"{p} px: parameters over D (3 p² + 1)",
            embed.parameters(EmbedInput(width, p, p, costs.tokens(SIDE, p))) / (width * (3 * p * p + 1)),
        )
        for p in (32, 16, 8)
    ]


def position_parameters() -> list[Estimate]:
    """Parameters of learned positions of DeiT-Base over (N + 1) D [1]."""
    width = MODEL_SPECS["deit_base"].width
    return [
        exact(
            f"{p} px: parameters over (N + 1) D",
            costs.parameters_by_part("deit_base", SIDE, p, CLASSES)["positions"]
            / ((costs.tokens(SIDE, p) + 1) * width),
        )
        for p in (32, 16, 8)
    ]


def missing_positions() -> list[Estimate]:
    """Positions that were learned at 224 px less those that 448 px need, patch 16 [1]."""
    learned, needed = (
        costs.parameters_by_part("deit_base", side, 16, CLASSES)["positions"] // MODEL_SPECS["deit_base"].width
        for side in (SIDE, 2 * SIDE)
    )
    return [exact(f"{learned} positions of 224 px less {needed} tokens of 448 px", learned - needed)]


def relative_bias() -> list[Estimate]:
    """Parameters of relative bias, a number per offset and head and three for the class token, over 2 N D [1]."""
    spec, side = MODEL_SPECS["deit_base"], SIDE // 16
    heads = spec.width // spec.head_dim
    bias = ((2 * side - 1) ** 2 + 3) * heads
    return [exact(f"DeiT-Base, 14 x 14 tokens: {bias:,} parameters over 2 N D", bias / (2 * side * side * spec.width))]


def relative_window() -> list[Estimate]:
    """Parameters of relative bias in a window of 7 x 7 tokens over (2 * 7 + 1)^2 D [1]."""
    spec = MODEL_SPECS["deit_base"]
    bias = (2 * 7 - 1) ** 2 * (spec.width // spec.head_dim)
    return [exact(f"12 heads of 64 channels: {bias:,} parameters over (2·7 + 1)² D", bias / (15**2 * spec.width))]


def overlapping_grid() -> list[Estimate]:
    """Tokens per side of a convolution with kernel 7, stride 4 and padding (7 - 4) // 2 on 224 px [1]."""
    kernel, stride = 7, 4
    padding = (kernel - stride) // 2
    return [exact("tokens per side, kernel 7, stride 4, 224 px", (SIDE + 2 * padding - kernel) // stride + 1)]


def chained_strides() -> list[Estimate]:
    """Total stride of convolutions with strides 4, 8, 16, 32, one after the other [px]."""
    return [exact("total stride of strides 4, 8, 16, 32 in a chain", math.prod((4, 8, 16, 32)))]


def padded_side() -> list[Estimate]:
    """What is left of sides that are padded to a multiple of the patch [px]."""
    sides = ((500, 14), (333, 16), (224, 16))
    return [exact(f"{side} px padded to {-(-side // p) * p} px, patch {p}", -(-side // p) * p % p) for side, p in sides]


def attention_overhead() -> list[Estimate]:
    """Attention over rows of 1,024 tokens, as a share of projections and MLP [1]: of the wider model over the narrower
    one."""
    shares = {}
    for name in ("deit_small", "deit_base", "deit_large"):
        spec = MODEL_SPECS[name]
        parts = costs.COST_MODELS["deit"].flops(spec, costs.TokenCount(image=1024, extra=0, positions=0))
        shares[name] = parts["attention"] / (parts["projections"] + parts["mlp"])
    small, base, large = shares.values()
    return [
        exact(f"width 768 ({100 * base:.1f} %) over width 384 ({100 * small:.1f} %)", base / small),
        exact(f"width 1,024 ({100 * large:.1f} %) over width 768 ({100 * base:.1f} %)", large / base),
    ]


def _flops(backbone: str, patch: int) -> costs.Breakdown:
    return costs.flops_by_part(backbone, SIDE, patch, CLASSES)


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "tokens_224": lambda: tokens_over_stated(SIDE, {8: 784, 16: 196, 32: 49}),
    "tokens_512": lambda: tokens_over_stated(512, {8: 4096, 16: 1024, 32: 256}),
    "pairs_512": pairs_512,
    "tokens_by_halving": tokens_by_halving,
    "attention_by_halving": attention_by_halving,
    "exponent_16_to_8": exponent_16_to_8,
    "exponent_2_to_1": exponent_2_to_1,
    "attention_exponent": attention_exponent,
    "projection_parameters": projection_parameters,
    "position_parameters": position_parameters,
    "missing_positions": missing_positions,
    "relative_bias": relative_bias,
    "relative_window": relative_window,
    "overlapping_grid": overlapping_grid,
    "chained_strides": chained_strides,
    "padded_side": padded_side,
    "attention_overhead": attention_overhead,
}
