"""Text of a recommendation: the answer, its reasons, what other choices change, the prior, and what is not known."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from analysis.claims.applications import SOURCE, Application, prior_sentence
from analysis.planning.object_size import NEEDED
from analysis.records.published import load_published
from experiments.planning.candidates import Candidate, pretraining_hours
from experiments.planning.choice import Choice
from experiments.planning.cost_estimate import Device
from experiments.planning.plan_report import aligned, gigabytes, number
from experiments.planning.rate_notes import assumed_lines, extrapolated_line, rates_line
from experiments.planning.recommend_reasons import named, why_lines
from scaling.costs import recipe_tokens

DECIDED = 0.95  # share of the resampled laws from which on a choice is called decided
LISTED = 0.05  # share of another choice that is listed
DATA = {"classify": "ImageNet-1k", "segment": "ADE20K", "detect": "COCO"}


class Asked(NamedTuple):
    """What the text refers to besides the choice."""

    on: Device
    prior: Application | None
    results: str
    gpu: str  # as on the command line; "": this machine's
    memory: float | None  # [GB]; None: the data sheet's
    devices: int  # 0: one


def recommendation(found: Choice, asked: Asked) -> list[str]:
    """All lines; those longer than 80 columns are to be wrapped."""
    at = found.candidates[found.answer]
    return [
        _question(found, asked.on),
        "",
        f"{named(at)}{', with --grad-checkpointing' if at.grad_checkpointing else ''}",
        f"  {_costs(at)}",
        f"  {_error(found)}",
        *_start(at, asked.on),
        "",
        *why_lines(found),
        *_decided(found),
        *_prior(asked.prior, found, at),
        "",
        *_others(found),
        "",
        "What it does not know",
        *(f"  {line}" for line in _unknown(found, at, asked)),
        "",
        *_next(at, asked),
    ]


def nothing_line(found: Choice, on: Device) -> str:
    """That nothing fits, and what would."""
    limits, least = found.limits, found.least
    if least < 0:
        return (
            f"nothing resolves an object of {limits.object_px:g} px in an image of {limits.original} px: it spans less "
            f"than {NEEDED[found.task]:.1f} patches at every possible patch size; crops (a smaller --image, the same "
            "--object) allow smaller patches"
        )
    one = found.candidates[least]
    object_ = f" and resolves an object of {limits.object_px:g} px" if limits.object_px else ""
    time = f" in {number(limits.hours)} h" if math.isfinite(limits.hours) else ""
    less = ["--images and --epochs of your data"]
    less += ["crops (a smaller --image, the same --object)"] if found.task != "classify" else []
    less += [] if on.card.cores else ["more --devices"]
    recomputed = " with --grad-checkpointing" if one.grad_checkpointing else ""
    return (
        f"nothing fits {gigabytes(limits.memory)} of {on.name}{time}{object_}; the nearest is {named(one)}: "
        f"{number(one.hours)} h on a device of {gigabytes(one.need_bytes)} or more{recomputed}. It takes less with "
        f"{', '.join(less)}"
    )


def _question(found: Choice, on: Device) -> str:
    limits = found.limits
    object_ = f"objects of {limits.object_px:g} px or more, " if limits.object_px else ""
    hours = f"{limits.hours:g} h" if math.isfinite(limits.hours) else "any time"
    return f"{found.task}, images of {limits.original} px, {object_}{on.name} of {gigabytes(limits.memory)}, {hours}"


def _costs(at: Candidate) -> str:
    last = at.last
    return (
        f"{recipe_tokens(last.run):,} tokens, {last.parameters / 1e6:.1f}M parameters; micro-batch "
        f"{last.micro_batch_size}, {gigabytes(at.peak_bytes)}; {number(at.hours)} h"
    )


def _start(at: Candidate, on: Device) -> Iterator[str]:
    """What the backbone of a dense task starts from."""
    if not (hours := pretraining_hours(at, on)):
        return
    released = load_published("released_models").query("model == @at.model and patch == @at.patch")["input_px"]
    if released.empty:
        yield f"  not in the hours: pre-training at this patch size, {number(hours)} h, as no such weights are released"
    else:
        sides = ", ".join(map(str, sorted(released)))
        yield f"  can start from released weights of this patch size ({sides} px); pre-training takes {number(hours)} h"


def _error(found: Choice) -> str:
    predicted, at = found.predicted, found.answer
    value, low, high = (float(its[at]) for its in (predicted.value_M, predicted.low_M, predicted.high_M))
    ends = f" [{number(low)}, {number(high)}]" if math.isfinite(low) else ""
    return (
        f"predicted {predicted.measure} {number(value)} {predicted.unit}{ends} (95 %, of {predicted.interval_of}): "
        f"{predicted.source}"
    )


def _decided(found: Choice) -> Iterator[str]:
    """Whether the law decides between smaller patches, larger models and other images."""
    shares = found.shares()
    if not shares:
        yield "Decided? Not known: the laws have as many parameters as patch sizes, so none can be resampled."
        return
    share = shares.pop(found.answer, 0.0)
    word = "yes" if share >= DECIDED else "no"
    rest = ", ".join(f"{named(found.candidates[n])}: {its:.0%}" for n, its in list(shares.items())[:2] if its >= LISTED)
    yield (
        f"Decided? By the law {word}: {share:.0%} of {len(found.predicted.draws_SM)} resampled laws choose it"
        f"{'; others: ' + rest if rest else ''}."
    )
    if (first := found.best(found.within)) != found.answer:
        change, low, high = found.predicted.difference(first, found.answer)
        yield (
            f"  {named(found.candidates[first])} is predicted {_signed(change)} [{_signed(low)}, {_signed(high)}], but "
            f"by extrapolation in {found.predicted.beyond[first]}."
        )


def _prior(prior: Application | None, found: Choice, at: Candidate) -> Iterator[str]:
    if prior is not None:
        yield f"Prior: {prior_sentence(prior, at.patch)}."
    else:
        yield f"Prior: the table by application ({SOURCE}) has no row for this task without --application."


def _others(found: Choice) -> list[str]:
    """What other choices cost, and their predicted error less that of the answer."""
    predicted = found.predicted
    rows = [["instead", "model", "patch", "image", "hours", "card", f"change [{_points(predicted.unit)}]"]]
    missing, shown = [], set[int]()
    for what, n in found.others():
        if n < 0:
            missing.append(what)
        if n < 0 or n in shown:
            continue
        shown.add(n)
        one = found.candidates[n]
        room = number(one.need_bytes / 1e9)
        change, low, high = predicted.difference(n, found.answer)
        ends = f" [{_signed(low)}, {_signed(high)}]" if math.isfinite(low) else ""
        ends = " by this law" if not any((change, low, high)) else ends  # which has no such variable
        recomputed = "*" if one.grad_checkpointing else ""
        cells = [str(one.patch), str(one.image), number(one.hours), room + recomputed, _signed(change) + ends]
        rows.append([what, one.model, *cells])
    notes = ["hours: wall time of training; card: least memory [GB]; change: with 95 % interval over resampled laws"]
    notes += ["*: with --grad-checkpointing"] if any("*" in row[5] for row in rows[1:]) else []
    notes += [f"none within the limits: {', '.join(missing)}"] if missing else []
    return [*aligned(rows, left={0, 1}), "; ".join(notes)]


def _unknown(found: Choice, at: Candidate, asked: Asked) -> Iterator[str]:
    """What the answer assumes or extrapolates."""
    stages = list(at.stages)
    yield rates_line(stages, asked.on)
    yield from filter(None, [extrapolated_line(stages, asked.on), *assumed_lines(stages)])
    if beyond := found.predicted.beyond[found.answer]:
        beyond = "model and image size were never measured together" if beyond == "pair" else f"in {beyond}"
        yield f"the law extrapolates: {beyond}"
    if at.group < 0:
        yield (
            f"the law is of Adventurer on {DATA[found.task]}, one run per number: it ranks choices and is no estimate "
            "for your data; seeds, other backbones and more training images are not in it"
        )
    else:
        yield "the laws are of your runs as they were: longer training or more images are not in them"


def _next(at: Candidate, asked: Asked) -> Iterator[str]:
    """The command that prints the same costs, and how own runs enter."""
    if at.command:
        device = f" --gpu {asked.gpu}" if asked.gpu else ""
        device += f" --devices {asked.devices}" if asked.devices else ""
        device += f" --memory {asked.memory:g}" if asked.memory else ""
        yield f"Costs in full: python experiments/plan.py {at.command}{device}"
        yield f"Runs of yours at 3 patch sizes or more in {asked.results} replace the published law."


def _points(unit: str) -> str:
    return "points" if unit == "%" else unit


def _signed(value: float) -> str:
    if not value:
        return "0"
    return f"{value:+.1f}" if abs(value) >= 10 else f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.3f}"
