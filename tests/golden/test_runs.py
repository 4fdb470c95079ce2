"""Every shipped recipe, at small size, gives the numbers that it gave before: losses, gradients, weights, metrics."""

import pytest

from tests.golden import adapter, images, runs

EXPECTED = runs.expected()


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """numbers(flat recipe) -> its numbers; every small recipe is run once."""
    results = tmp_path_factory.mktemp("golden")
    done: dict[str, dict] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SCALING_DATA", str(images.write_all(results / "data")))
        adapter.add_sizes(patched)

        def numbers_of(flat):
            key = adapter.identity(flat)[0]
            if key not in done:
                done[key] = runs.values(flat, results)
            return done[key]

        yield numbers_of


@pytest.fixture(scope="module")
def cases():
    with pytest.MonkeyPatch.context() as patched:
        adapter.add_sizes(patched)
        return runs.cases()


@pytest.mark.parametrize("case", EXPECTED["cases"])
def test_a_recipe_gives_the_numbers_that_it_gave(case, cases, numbers):
    flats = cases[case]
    if runs.resizes_bytes(flats[-1]) and images.resized() != EXPECTED["resized"]:
        pytest.skip("torchvision resizes 8-bit images in another way on this processor: it has no AVX2")
    assert [adapter.identity(flat)[0] for flat in flats] == EXPECTED["cases"][case]
    for flat in flats:
        assert_close(numbers(flat), EXPECTED["runs"][adapter.identity(flat)[0]])


def assert_close(found, expected, where="run"):
    """Equal but for the last digits: between instruction sets and numbers of threads they differ by 1e-14."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name in expected:
            assert_close(found[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for i, pair in enumerate(zip(found, expected, strict=True)):
            assert_close(*pair, f"{where}[{i}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), where
    else:
        assert found == expected, where


def test_every_shipped_recipe_is_a_case():
    assert {*adapter.recipe_names(), *runs.VARIANTS} == EXPECTED["cases"].keys()
