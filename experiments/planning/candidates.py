"""Candidates of a recommendation: models at patch and image sizes, with what plan.py computes for each of them.

Published models are those of the task's published law, trained by the task's recipe of the paper; own ones are the
groups of a results folder, trained as they were. Classification sees images of any side: those of Tables 1 and 4 and
the user's. Segmentation and detection see the user's image, or half of it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from experiments.cli.resolve import resolve
from experiments.planning.cost_estimate import Device, Forecast, forecast
from experiments.planning.phase_costs import fit
from scaling import costs
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun
from scaling.costs.token_limit import check_tokens
from scaling.costs.training_memory import SHARE
from scaling.errors import ConfigError

LARGEST_PATCH = 64  # of the published tables [px]
TABLE_IMAGES = (224, 128, 64)  # sides in Tables 1 and 4 [px]
LONG_SIDE = 1333 / 800  # of detection's images over the short side, as in the recipe
Options = Mapping[str, object]


@dataclass(frozen=True)
class Candidate:
    """A configuration and its costs. Hours and memory are those of the last stage's card."""

    model: str  # as texts name it: of Table 7, or a backbone
    patch: int  # [px]
    image: int  # side that the model sees [px]
    command: str  # arguments of plan.py that print these costs, the device left out; "" where there are none
    stages: tuple[Forecast, ...]
    peak_bytes: float  # of the stage that needs most; nan: it does not fit
    need_bytes: float  # memory of a card that holds the smallest step [bytes]
    grad_checkpointing: bool
    group: int = -1  # of own runs; -1: published

    @property
    def fits(self) -> bool:
        return not math.isnan(self.peak_bytes)

    @property
    def hours(self) -> float:
        """Wall time of all stages on all devices [h]."""
        return sum(stage.hours for stage in self.stages)

    @property
    def last(self) -> Forecast:
        return self.stages[-1]


def patches_of(task: str, image: int) -> list[int]:
    """Patch sizes of candidates, coarse to fine [px]: divisors of the image; in detection, which pads, powers of two.
    Raises ConfigError for an image without any above 1."""
    if task == "detect":
        return [1 << n for n in reversed(range(LARGEST_PATCH.bit_length())) if 1 << n < image]
    found = [p for p in range(min(LARGEST_PATCH, image // 2), 0, -1) if image % p == 0]
    if found == [1] and image > 3:
        raise ConfigError(f"no patch size divides an image of {image} px; try {_rounder(image)}")
    return found


def published_candidates(
    task: str, models: Sequence[str], image: int, on: Device, own_data: tuple[int, int] | None
) -> Iterator[Candidate]:
    """Large images first, so that of equal predictions the larger image is taken. own_data: training images and epochs
    instead of the recipe's."""
    sides = {image, *(side for side in TABLE_IMAGES if side < image)} if task == "classify" else {image, image // 2}
    for side in sorted(sides, reverse=True):
        for patch in patches_of(task, side) if side == image or side > 3 else []:
            for model in models:
                name, options = _recipe(task, model, side, own_data)
                try:
                    stages = resolve(name, patch, options)
                    for stage in stages:
                        check_tokens(stage)
                except ConfigError:
                    continue  # more tokens than the limit, or a patch that the recipe's first stage refuses
                command = " ".join([name, "--patch", str(patch), *_words(options)])
                yield _costed(model, patch, side, command, stages, on)


def own_candidates(configs: Sequence[ExperimentConfig], task: str, on: Device) -> Iterator[Candidate]:
    """configs: of one run per group, largest images first."""
    for number, config in enumerate(configs):
        for patch in patches_of(task, config.model.img_size):
            try:
                run = edit(config, patch_size=patch)
                check_tokens(run)
            except ConfigError:
                continue
            name = config.model.backbone
            yield _costed(name, patch, config.model.img_size, "", [run], on, number)


def pretraining_hours(candidate: Candidate, on: Device) -> float:
    """Wall time of the runs that a dense task's backbone starts from [h], whatever memory they need; 0: there are
    none."""
    on = on._replace(card=on.card._replace(memory=math.inf))
    total, run = 0.0, candidate.stages[0].run
    while isinstance(run.init, FromRun):
        run = run.init.config
        total += forecast(run, on).hours
    return total


def _costed(
    model: str, patch: int, side: int, command: str, runs: Sequence[ExperimentConfig], on: Device, group: int = -1
) -> Candidate:
    """The costs as they are, with gradient checkpointing where it does not fit without, and on a card without a limit
    where it does not fit with."""
    recomputing = on._replace(grad_checkpointing=True)
    for device in (on, recomputing):
        fits = [fit(run, device) for run in runs]
        if all(one.micro_batch_size for one in fits):
            break
    peak = max((one.peak_bytes for one in fits), key=lambda its: math.inf if math.isnan(its) else its)
    if math.isnan(peak):
        device = recomputing._replace(card=on.card._replace(memory=math.inf))
    need = max(needed_bytes(run, one.least_bytes) for run, one in zip(runs, fits, strict=True))
    command += " --grad-checkpointing" if command and device.grad_checkpointing else ""
    stages = tuple(forecast(run, device) for run in runs)
    return Candidate(model, patch, side, command, stages, peak, need, device.grad_checkpointing, group)


def needed_bytes(run: ExperimentConfig, least_bytes: float) -> float:
    """Memory of the card that a plan would accept for the smallest step: SHARE of what the model leaves [bytes]."""
    state = costs.optimiser_bytes(costs.recipe_parameters(run), run.optim.model_ema_decay is not None)
    return state + (least_bytes - state) / SHARE


def _recipe(task: str, model: str, side: int, own_data: tuple[int, int] | None) -> tuple[str, Options]:
    """Name of the recipe of a model of Table 7 and the options that set the image and the data."""
    backbone = model.lower().replace("-", "_")
    if task == "classify":
        if own_data is None:
            return f"imagenet.{backbone}", {"img_size": side}
        return "imagenet.deit_tiny", {"backbone": backbone, "img_size": side, **_classified(*own_data)}
    if task == "segment":
        return f"ade20k.{backbone}", {"head": "linear", "img_size": side, **_segmented(own_data)}
    sizes = {"resize_short": side, "max_long": round(side * LONG_SIDE)}
    return f"coco.{backbone}", {**sizes, **_detected(own_data)}


def _classified(images: int, epochs: int) -> Options:
    """One run from scratch: the batch leaves 4 steps per epoch or more, as far as 8 images allow."""
    batch = min(1024, max(8, 1 << (images // 4).bit_length() - 1))
    return {**_counts(images), "epochs": epochs, "warmup_epochs": min(5.0, epochs / 10), "global_batch_size": batch}


def _segmented(own_data: tuple[int, int] | None) -> Options:
    if own_data is None:
        return {}
    images, epochs = own_data
    steps = max(1, images * epochs // 16)  # of the recipe's batch
    return {**_counts(images), "max_steps": steps, "warmup_steps": min(1500, steps // 10)}


def _detected(own_data: tuple[int, int] | None) -> Options:
    if own_data is None:
        return {}
    images, epochs = own_data
    warmup = min(500, images * epochs // 160)
    schedule = {"lr_schedule": "cosine", "milestones": None, "warmup_steps": warmup}
    return {**_counts(images), "epochs": epochs, **schedule}


def _counts(images: int) -> Options:
    """Test images are assumed to be a tenth as many."""
    return {"num_train": images, "num_val": max(1, images // 10)}


def _words(options: Options) -> list[str]:
    """Options of the command line."""
    words = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", "''" if value is None else str(value)]
    return words


def _rounder(image: int) -> int:
    """The nearest multiple of 16 [px]."""
    return max(16, round(image / 16) * 16)
