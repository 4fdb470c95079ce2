"""Studies of curricula: does the order matter in which a run sees its patch sizes, its image sizes, or its crops?

To those of patch_order.py, which have the training FLOPs of the smallest patch size alone, come

- the stretches from large to small patches in reverse, the same stretches in several cycles, and the same shares of the
  patch sizes drawn at random, for a step or for each image: equal FLOPs and equal images, nothing but the order
  differs (random draws: in expectation);
- two halves that end at the same patch size p and begin at 2p or at p/2: equal FLOPs, and so more images from 2p;
- small images first, at patch size p: equal FLOPs;
- the smallest patch size alone on as many images as the stretches have, where no other run of it has about as many.

All are evaluated at every patch size. analysis/studies/patch_order.py and directions.py show the result.

position_changes has one change of the patch size, with encodings whose positions change with it and without: what they
add to the change is what positions do alone. analysis/studies/position_changes.py
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

from experiments.stages import Function
from experiments.studies.patch_order import budget_of, flexible_run, in_each_order, of_flops
from scaling.config.at_shape import evaluated_patches
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.patch_weights import PATCH, plain
from scaling.config.schedules import DIGITS, parse_schedule

CYCLES = 4
# What a change of the patch size does to the position of a place in the image: there is none; it stays; its vector is
# interpolated; it is another one, since the raster order is.
ENCODINGS = ("none", "sincos", "learned", "sincos1d")
ALIKE = 0.05  # relative difference of two lengths that are taken for one


def curricula(recipe: Function, patches: Sequence[int], stretches: str) -> list[ExperimentConfig]:
    """A recipe of one stage at the finest of the patches in all orders. patches: from coarse to fine [px]; stretches: a
    schedule of one patch size at a time, from coarse to fine."""
    fixed, finest = flexible_run(recipe, patches[-1]), patches[-1]
    lengths = [*_lengths(stretches)]
    side = fixed.model.img_size
    equal_flops = [
        edit(fixed, patch_schedule=",".join(f"{patch}@{plain(length)}" for patch, length in reversed(lengths))),
        edit(fixed, patch_schedule=stretches, cycles=CYCLES),
        edit(fixed, patches=_weighted(lengths)),
        edit(fixed, patches=_weighted(lengths), patch_per="image"),
        edit(fixed, patch_schedule=f"{2 * finest}@0.5,{finest}@0.5"),
        edit(flexible_run(recipe, finest // 2), patch_schedule=f"{finest // 2}@0.5,{finest}@0.5"),
        edit(fixed, image_schedule=f"{side // 2}@0.5,{side}@0.5"),
    ]
    before, budget = in_each_order(recipe, patches, stretches), budget_of(fixed)
    runs = [*before, *(of_flops(run, budget) for run in equal_flops)]
    images, longer = (run.data.num_train or 0 for run in (before[-2], before[-1]))  # of the stretches, and of one more
    if abs(images / longer - 1) > ALIKE:
        runs.append(edit(fixed, num_train=images))
    return [_evaluated_at(run, patches) for run in runs]


def position_changes(recipe: Function, coarse: int, fine: int) -> list[ExperimentConfig]:
    """A recipe of one stage that changes half-way between two patch sizes [px], in both directions, with each of
    ENCODINGS."""
    run = flexible_run(recipe, fine)
    return [
        edit(run, pos_embed=kind, patch_schedule=f"{first}@0.5,{then}@1")
        for kind in ENCODINGS
        for first, then in ((coarse, fine), (fine, coarse))
    ]


def growing_crops(run: ExperimentConfig, crops: str) -> list[ExperimentConfig]:
    """A run on whole images; with equal FLOPs on crops that grow, that shrink, that every step draws, and of the middle
    size alone; and on as many whole images as growing crops. crops: a schedule of one share of the side at a time, by
    the lengths of stretches."""
    lengths = [word.split("@") for word in crops.split(",")]
    backwards = ",".join(f"{share}@{length}" for share, length in reversed(lengths))
    drawn = ",".join(share for share, _ in lengths)
    budget = budget_of(run)
    middle = f"{lengths[len(lengths) // 2][0]}@1"
    cropped = [of_flops(edit(run, crop_schedule=text), budget) for text in (crops, backwards, drawn, middle)]
    return [run, *cropped, edit(run, num_train=cropped[0].data.num_train)]


def _lengths(stretches: str) -> Iterator[tuple[int, float]]:
    """Patch size [px] and share of the steps [1] of each stretch."""
    found = parse_schedule(stretches, PATCH)
    for one, (begin, end) in zip(found, pairwise([0.0, *(one.end for one in found)]), strict=True):
        yield next(iter(one.first)), round(end - begin, DIGITS)


def _weighted(lengths: Sequence[tuple[int, float]]) -> str:
    """Patch sizes with weights in whole numbers."""
    shares = [(patch, Fraction(length).limit_denominator(1000)) for patch, length in lengths]
    whole = math.lcm(*(share.denominator for _, share in shares))
    return ",".join(f"{patch}:{int(share * whole)}" for patch, share in shares)


def _evaluated_at(run: ExperimentConfig, patches: Sequence[int]) -> ExperimentConfig:
    """The run, evaluated at these patch sizes besides its own."""
    missing = tuple(patch for patch in patches if patch not in evaluated_patches(run))
    return edit(run, eval_patches=missing) if missing else run
