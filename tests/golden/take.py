"""Writes the golden files anew: python -m tests.golden.take. Only for a change that is meant to change numbers."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.golden import adapter, ids, images, runs


def golden_runs() -> runs.Golden:
    """The small recipes of each case by run_id, and the numbers of each."""
    cases: dict[str, list[str]] = {}
    numbers: dict[str, runs.Numbers] = {}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        results = Path(folder)
        patched.setenv("SCALING_DATA", str(images.write_all(results / "data")))
        adapter.add_sizes(patched)
        for case, flats in runs.cases().items():
            cases[case] = [adapter.identity(flat)[0] for flat in flats]
            for key, flat in zip(cases[case], flats, strict=True):
                if key not in numbers:
                    numbers[key] = runs.values(flat, results)
    return {"resized": images.resized(), "cases": cases, "runs": numbers}


def main() -> None:
    ids.EXPECTED.write_text(json.dumps(ids.taken(), indent=0) + "\n")
    runs.EXPECTED.write_text(json.dumps(golden_runs(), indent=1) + "\n")


if __name__ == "__main__":
    main()
