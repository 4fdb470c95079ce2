"""Random numbers: one source, no two purposes that share numbers, and those of finished runs are what they were."""

import ast
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from scaling.rng import (
    COLUMNS,
    PHILOX_KEYS,
    SEEDS,
    SampleKey,
    _columns,
    seed_of,
    seeded,
    seeded_all,
    seeded_numpy,
    splitmix64,
    stream,
    uniform,
)
from tests.conftest import ROOT

RUN_SEEDS, STEPS, RANKS = st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(0, 2**16)
PLACES = st.tuples(RUN_SEEDS, STEPS, RANKS)
KEYS = [SampleKey(2, 7), SampleKey(0, 3, 1)]
FLIPS = [0.48525051305570877, 0.7753702409976997]
DROPS = [0.783474254216721, 0.7671790075925268, 0.26395073250239764, 0.14032865240038805]
CROP = [0.3978442454528198, 0.5071369385205874, 0.31035526726627727]
VIEW_SEEDS = [4370748059558064, 2936323853407241, 6481247227931411]
ORDER, SUBSET = [4, 1, 0, 3, 2, 5], [0, 2, 4, 1, 5, 3]
CRCS = (1589559990, 3012708623, 1790921346)
SPLITMIX = [16294208416658607535, 10451216379200822465]
# Calls that create or seed a generator, by the last parts of their names.
MAKERS = {
    *("default_rng", "Generator", "Philox", "PCG64", "RandomState", "SeedSequence", "manual_seed", "manual_seed_all"),
    *("fork_rng", "set_rng_state", "get_rng_state", "seed_everything", "initial_seed", "crc32", "getstate", "setstate"),
    *("random.seed", "random.get_state", "random.set_state", "random.Random"),
}


def dotted(node) -> str:
    """np.random.default_rng as text; empty for what is no name."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def makes(source: str) -> list[str]:
    calls = [dotted(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [name for name in calls if any(f".{name}".endswith(f".{maker}") for maker in MAKERS)]


def test_nobody_else_creates_a_generator_or_a_seed():
    found = {path.relative_to(ROOT).as_posix(): makes(path.read_text()) for path in (ROOT / "scaling").rglob("*.py")}
    assert found.pop("scaling/rng.py")
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source", ["np.random.seed(1)", "torch.Generator()", "x.manual_seed(0)", "default_rng(3)", "zlib.crc32(b'')"]
)
def test_a_generator_elsewhere_is_seen(source):
    assert len(makes(source)) == 1


def test_purposes_of_one_run_share_no_column():
    either = {"flip", "view"}  # of which a run has one
    for a, b in combinations(COLUMNS, 2):
        shared = [max(x, y) < min(x + n, y + m) for x, n in COLUMNS[a] for y, m in COLUMNS[b]]
        assert {a, b} == either or not any(shared), (a, b)


@given(st.integers(0, 300))
def test_branches_of_any_depth_share_no_column_with_each_other_or_with_anything_else(branches):
    columns = _columns("drop_path", branches).tolist()
    assert len(set(columns)) == len(columns) == branches
    assert columns[:100] == list(range(201, 201 + min(branches, 100)))
    spans = [span for purpose, spans in COLUMNS.items() if purpose != "drop_path" for span in spans]
    others = {n for first, count in spans for n in range(first, first + count)}
    assert not others & set(columns)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_new_purpose_has_numbers_of_its_own(a, b):
    if a == b or {a, b} & (COLUMNS.keys() | PHILOX_KEYS.keys() | SEEDS.keys()):
        return
    assert _columns(a, 3).min() >= 2**63 > max(first + count for spans in COLUMNS.values() for first, count in spans)
    assert not np.array_equal(uniform(KEYS, 0, a, 2), uniform(KEYS, 0, b, 2))
    assert stream(0, a, 1).random() != stream(0, b, 1).random()
    assert seed_of(0, a, 1) != seed_of(0, b, 1)


def test_a_stream_follows_from_seed_purpose_and_every_part_of_its_key():
    wanted = stream(3, "jitter", 5, "a").random(4)
    assert np.array_equal(stream(3, "jitter", 5, "a").random(4), wanted)
    keys = [(4, 5, "a"), (3, 6, "a"), (3, "5", "a"), (3, 5, b"a"), (3, 5)]
    others = [stream(seed, "jitter", *key).random(4).tobytes() for seed, *key in keys]
    assert len({wanted.tobytes(), *others}) == 6


def test_more_columns_than_a_purpose_has_are_refused():
    with pytest.raises(ValueError, match="flip has 1 columns fewer"):
        uniform(KEYS, 0, "flip", 2)


@given(PLACES, PLACES)
@example((0, 1_000_003, 0), (1, 0, 0))  # the first release gave these one seed
@example((0, 0, 4099), (0, 1, 0))
@example((3, 2_000_006, 1), (5, 0, 1))
@example((2**32 - 1, 10, 0), (2**32 - 2, 1_000_013, 0))
def test_no_two_steps_seeds_or_ranks_have_the_same_seed(a, b):
    steps = {seed_of(seed, "step", step, rank) for seed, step, rank in (a, b)}
    assert len(steps) == len({a, b})
    assert all(0 <= value < 2**64 for value in steps)
    mixing = {str(seed_of(seed, "mixup", step)) for seed, step, _ in (a, b)}
    assert len(mixing) == len({a[:2], b[:2]})
    for seed, step, _ in (a, b):
        np.random.RandomState(seed_of(seed, "mixup", step))


@given(st.integers(0, 2**31), st.integers(0, 1_000_002), st.integers(0, 4098))
def test_below_a_million_steps_seeds_are_those_of_the_first_release(seed, step, rank):
    assert seed_of(seed, "step", step, rank) == (seed * 1_000_003 + step) * 4099 + rank
    if seed < 4000:
        assert seed_of(seed, "mixup", step) == (seed * 1_000_003 + step) % 2**32


def test_numbers_of_the_first_release_are_what_they_were():
    """Taken from commit 3181e07."""
    assert uniform(KEYS, 5, "flip")[:, 0].tolist() == FLIPS
    assert uniform(KEYS, 5, "drop_path", 102)[0, 98:].tolist() == DROPS
    assert uniform(KEYS, 5, "detection_crop", 3)[1].tolist() == CROP
    assert [seed_of(5, purpose, KEYS[0]) for purpose in ("view", "erase_noise", "segmentation_view")] == VIEW_SEEDS
    assert stream(5, "order", 1).permutation(6).tolist() == ORDER
    assert stream(7, "subset").permutation(6).tolist() == SUBSET
    given = (("module", "blocks.0"), ("regions", 3, b"box"), ("evaluation_regions", 7))
    assert tuple(seed_of(5, *each) for each in given) == CRCS
    assert splitmix64(np.array([0, 1], np.uint64)).tolist() == SPLITMIX


@pytest.mark.parametrize("around", [seeded, seeded_numpy, seeded_all])
def test_a_block_with_a_seed_leaves_the_global_generators_as_they_were(around):
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    seen = set()
    for _ in range(2):
        with around(11):
            drawn = torch.rand(()).item(), np.random.rand()  # noqa: NPY002
            seen.add(drawn[1] if around is seeded_numpy else drawn[0])
    assert len(seen) == 1
    assert around is seeded_numpy or torch.equal(torch.get_rng_state(), before[0])
    assert around is seeded or np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
