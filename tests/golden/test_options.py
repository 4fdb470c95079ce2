"""Every option spelling of the version before the config tree is accepted, with hyphens and with underscores."""

import pytest
import yaml

from tests.golden import adapter
from tests.golden.test_v1_runs import V1_RUNS

GIVEN = {  # recipe that the options are given to: the printed recipe that they make of it
    "imagenet.deit_tiny": "imagenet.deit_large",
    "shapes.seg_nano": "camvid.adventurer_nano",
    "shapes.det_nano": "nuclei.adventurer_nano",
}
FOUND = ("start", "data_digest", "weights_digest")  # fields that are not to be set
RUNTIME = (
    "--accelerator cpu --devices 1 --threads 1 --workers 0 --checkpoint-minutes 5 --nodes 1 --strategy ddp "
    "--micro-batch 2 --recompute --compile=false --channels-last --save-predictions 1 --export-coco=false "
    "--logger tensorboard --results elsewhere"
)
SWEEP = "--patch 16,8 --seeds 0,1 --jobs 1"


def spelled(options, underscores):
    """Options as words, --name-of-it or --name_of_it."""
    return [
        word.replace("-", "_").replace("__", "--", 1) if underscores and word[:2] == "--" else word for word in options
    ]


@pytest.mark.parametrize("underscores", [False, True])
@pytest.mark.parametrize("name", GIVEN)
def test_every_field_is_an_option_of_run_py(name, underscores):
    flat = yaml.safe_load((V1_RUNS / "print_recipe" / f"{GIVEN[name]}.yaml").read_text())
    fields = [
        word
        for field, value in flat.items()
        for word in (f"--{field.replace('_', '-')}", str(value))
        if field not in FOUND
    ]
    assert adapter.resolved([name, *spelled(fields, underscores), *spelled(RUNTIME.split(), underscores)]) == [flat]


@pytest.mark.parametrize("underscores", [False, True])
@pytest.mark.parametrize(
    ("program", "own"),
    [("sweep", "--dry-run --yes --limit 3"), ("plan", "--gpu a100 --price 2.5 --memory 40 --measured")],
)
def test_every_option_of_sweep_py_and_plan_py(program, own, underscores):
    words = spelled(f"{SWEEP} --epochs 3 --head-channels 32 {RUNTIME}".split(), underscores)
    flats = adapter.planned(program, ["shapes.seg_nano", *words, *own.split()])
    assert [(flat["patch"], flat["seed"]) for flat in flats] == [(16, 0), (8, 0), (16, 1), (8, 1)]
    assert {(flat["epochs"], flat["head_channels"]) for flat in flats} == {(3, 32)}
