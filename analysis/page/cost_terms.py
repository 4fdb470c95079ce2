"""Cost terms: the arithmetic of scaling.costs as sums of products, which a page can evaluate.

Every cost of a classifier is a polynomial in a few numbers: L image tokens, D width, k depth, p patch [px], and t, the
tiles of the scan but the first, whose states are kept. Its coefficients are solved for exactly, in fractions, from
values that scaling.costs computes, so the page has no second cost model. tests/page/test_calculators.py compares both.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from typing import NamedTuple

from scaling.costs.base import MemoryPolicy
from scaling.costs.training_memory import model_activation_bytes
from scaling.costs.whole_model import WholeModel, classifier
from scaling.model_specs import CHUNKS, EXPAND, MIN_TILE_CHUNKS, TILE_ELEMENTS, ModelSpec

CLASSES = 1000
BF16 = 2  # bytes of an activation
SHORTEST_TILE = MIN_TILE_CHUNKS * CHUNKS[0]  # [tokens]
WAYS = {  # to keep activations for the backward pass
    "fused": MemoryPolicy(number=BF16),
    "matrices": MemoryPolicy(flash=False, number=BF16),
    "recomputed": MemoryPolicy(grad_checkpointing=True, number=BF16),
}


class Powers(NamedTuple):
    """Exponents of a product."""

    tokens: int
    width: int
    depth: int
    patch: int
    tiles: int


class Setting(NamedTuple):
    """A model on an image."""

    side: int  # of the grid [tokens]
    width: int
    depth: int
    patch: int  # [px]


# All products that a cost can have; of a scan, one block or all of them keep the states of tiles.
PRODUCTS = [
    *(Powers(*powers, 0) for powers in product(range(3), range(3), range(2), (0, 2))),
    Powers(0, 1, 0, 0, 1),
    Powers(0, 1, 1, 0, 1),
]
# As many settings, at which the products are linearly independent; the last two have several tiles.
SETTINGS = [
    *(Setting(*sizes) for sizes in product((1, 2, 3), (64, 128, 192), (1, 2), (1, 2))),
    Setting(80, 64, 1, 1),
    Setting(80, 64, 2, 1),
]
FAMILIES = ("deit", "deit3", "adventurer")


def spec_of(family: str, width: int, depth: int) -> ModelSpec:
    """A model of a family with the ratios of its published sizes; width: a multiple of 64."""
    if family == "adventurer":
        return ModelSpec(family, width, depth, 5 * width // 2, 64, 64)
    return ModelSpec(family, width, depth, 4 * width, 64)


def pairs(model: WholeModel) -> int:
    """Elements of attention's matrix of one head [1]; 0 where there is a scan instead."""
    return 0 if model.spec.has_scan else model.tokens.total**2


COSTS: dict[str, Callable[[WholeModel], int]] = {
    "pairs": pairs,
    "projection": lambda m: m.parameters["embedding"],
    "parameters": lambda m: m.parameters.total,
    "forward": lambda m: m.flops.total,
    **{
        f"memory_{name}": lambda m, policy=policy: model_activation_bytes(m, policy)  # type: ignore[misc]
        for name, policy in WAYS.items()
    },
}


def extra_tiles(tokens: int, width: int) -> int:
    """Tiles of the scan of many images but the first, as scaling/costs/adventurer.py counts them."""
    longest = max(SHORTEST_TILE, TILE_ELEMENTS["cpu"] // (EXPAND * width))
    return -(-(tokens + 2) // longest) - 1


@cache
def cost_terms() -> dict[str, dict[str, list[list[float]]]]:
    """By family and cost: terms of a coefficient and five exponents, in the order of Powers."""
    values, names = [], [(family, name) for family in FAMILIES for name in COSTS]
    for setting in SETTINGS:
        models = {family: _model(family, setting) for family in FAMILIES}
        values.append([Fraction(COSTS[name](models[family])) for family, name in names])
    matrix = [[_value(powers, setting) for powers in PRODUCTS] for setting in SETTINGS]
    solved = _solve(matrix, values)
    found: dict[str, dict[str, list[list[float]]]] = {family: {} for family in FAMILIES}
    for column, (family, name) in enumerate(names):
        terms = ((row[column], powers) for row, powers in zip(solved, PRODUCTS, strict=True))
        found[family][name] = [[float(factor), *powers] for factor, powers in terms if factor]
    return found


def _model(family: str, at: Setting) -> WholeModel:
    return classifier(spec_of(family, at.width, at.depth), at.side * at.patch, at.patch, CLASSES)


def _value(powers: Powers, at: Setting) -> Fraction:
    tokens = at.side**2
    numbers = (tokens, at.width, at.depth, at.patch, extra_tiles(tokens, at.width))
    value = Fraction(1)
    for number, power in zip(numbers, powers, strict=True):
        value *= number**power
    return value


def _solve(matrix: Sequence[Sequence[Fraction]], values: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    """x of matrix x = values, by elimination in fractions: exact."""
    rows = [[*left, *right] for left, right in zip(matrix, values, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = next(n for n in range(column, size) if rows[n][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        first = rows[column] = [value / rows[column][column] for value in rows[column]]
        for n, row in enumerate(rows):
            if n != column and (factor := row[column]):
                rows[n] = [value - factor * other for value, other in zip(row, first, strict=True)]
    return [row[size:] for row in rows]
