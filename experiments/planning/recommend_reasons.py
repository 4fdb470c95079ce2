"""Reasons of a recommendation: which limit keeps the patch from being smaller and the model from being larger, why the
image has its size, and how many patches the smallest object spans."""

import math
from collections.abc import Iterator

from analysis.planning.object_size import NEEDED, REASON, UNCERTAIN
from analysis.records.published import top1_cells
from experiments.planning.candidates import Candidate
from experiments.planning.choice import Choice
from experiments.planning.plan_report import gigabytes, number

ALIKE = (("Adventurer-Base", 64, 4), ("Adventurer-Base", 128, 8), ("Adventurer-Base", 224, 16))  # 256, 256, 196 tokens


def named(one: Candidate) -> str:
    return f"{one.model}, patch {one.patch}, image {one.image} px"


def why_lines(found: Choice) -> Iterator[str]:
    """A sentence each for patch, model, image and object."""
    at = found.candidates[found.answer]
    finer = [one for one in found.candidates if (one.model, one.image) == (at.model, at.image) and one.patch < at.patch]
    larger = [
        one
        for one in found.candidates
        if (one.patch, one.image) == (at.patch, at.image) and one.last.parameters > at.last.parameters
    ]
    next_patch = max(finer, key=lambda one: one.patch, default=None)
    next_model = min(larger, key=lambda one: one.last.parameters, default=None)
    no_patch = "a smaller one does not divide the image, or makes too many tokens (SCALING_MOST_TOKENS)"
    source = "your runs" if at.group >= 0 else "the published law"
    yield f"Patch: {_excluded(found, next_patch, no_patch)}"
    yield f"Model: {_excluded(found, next_model, f'{source} has no larger one at this patch and image size')}"
    yield f"Image: {_image(found, at)}"
    yield f"Object: {_object(found, at)}"


def _excluded(found: Choice, one: Candidate | None, without: str) -> str:
    """Why the next step is not taken. without: where there is none."""
    if one is None:
        return f"{without}."
    limits = found.limits
    reasons = [f"{number(one.hours)} h"] if not one.hours <= limits.hours else []
    if not one.fits:
        reasons.append(f"a card of {gigabytes(one.need_bytes)}")
    if reasons:
        return f"the next, {named(one)}, needs {' and '.join(reasons)}."
    number_ = next(n for n, other in enumerate(found.candidates) if other is one)
    change, low, high = found.predicted.difference(number_, found.answer)
    ends = f" [{low:+.2g}, {high:+.2g}]" if math.isfinite(low) else ""
    beyond = found.predicted.beyond[number_]
    extrapolated = f", by extrapolation in {beyond}" if beyond not in ("", "pair") else ""
    return f"the next, {named(one)}, is possible: {change:+.2g}{ends} {found.predicted.unit}{extrapolated}."


def _image(found: Choice, at: Candidate) -> str:
    if at.group >= 0:
        return "that of your runs with the lowest predicted loss."
    if found.task == "classify":
        given = "yours" if at.image == found.limits.original else "smaller than yours"
        return f"selected by the law, which has model, patch and image size; {given}."
    cells = top1_cells().set_index(["model", "input_px", "patch"])["published"]
    errors = ", ".join(f"{patch}/{image} {100 - cells[model, image, patch]:.1f}" for model, image, patch in ALIKE)
    kept = "yours" if at.image == found.limits.original else "half of yours, as yours exceeds the limits"
    return (
        f"{kept}. This law has no image size. With as many tokens larger images are better in Table 1 ({ALIKE[0][0]}, "
        f"patch/image: {errors} % error)."
    )


def _object(found: Choice, at: Candidate) -> str:
    """How many patches it spans, and the rule."""
    limits = found.limits
    if not limits.object_px:
        return "no --object, so its size excludes no patch."
    low, high = UNCERTAIN
    span, needed = found.spans(at), NEEDED[found.task]
    rule = f"{limits.object_px:g} px span {span:.1f} patches, {needed:.1f} are required: {REASON[found.task]}."
    if found.task == "classify":
        return rule
    inside = "" if span >= high else f"; {span:.1f} is within that range"
    return f"{rule} This is arithmetic; AP on nuclei (one seed) suggests {low:g} to {high:g}{inside}."
