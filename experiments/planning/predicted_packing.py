"""Padding and images per row of a run on packed images before it begins: batches are laid out as training will do it,
without reading an image. No torch.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from experiments.cli.data_check import images
from scaling.config.at_shape import at_shape, step_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.packing import NATIVE, SequencePacking
from scaling.costs.run_flops import course_of
from scaling.data.generated.embedded_set import training_sizes
from scaling.data.sampler import Request, ResumableBatchSampler
from scaling.model_specs import CLASS_TOKENS
from scaling.packing.drawn_grids import drawn_grids
from scaling.packing.row_plan import PLANS, row_length

MOST_IMAGES = 4096  # that are laid out; at least one batch
STRETCHES = 8  # of a run, from each of which batches are taken, as tokens may be dropped by schedule
SQUARE = ("shapes", "cifar10")  # data sets of square images: what is drawn is all there is to know

Sides = Sequence[tuple[int, int]]  # heights and widths of images [px]


class PredictedPacking(NamedTuple):
    """Means over batches, as in a record."""

    padding: float  # places in rows that no image fills [%]
    images_per_sequence: float  # 0: all batches are of equal images, which are not packed
    tokens: float  # of an image, class tokens among them


def predicted_packing(run: ExperimentConfig, micro_batch_size: int, sides: Sides | None) -> PredictedPacking | None:
    """What the record of a run will have, exactly for a run of no more images than MOST_IMAGES. sides: of the training
    images in their order; None: square. None is returned for runs without packed images, for an unknown number of
    images, and for images of unknown sizes that keep these."""
    packing = run.packing
    train_images = len(sides) if sides else images(run)[0]
    if not isinstance(packing, SequencePacking) or math.isnan(train_images):
        return None
    if packing.image_sizes == NATIVE and sides is None:
        return None
    if train_images < run.optim.global_batch_size:
        return None
    counts = dict.fromkeys(("images", "rows", "tokens", "places", "all", "all_tokens"), 0)
    class_tokens = sum(CLASS_TOKENS[run.model.family])
    side = run.model.img_size
    for request in _requests(run, int(train_images), run.optim.global_batch_size // micro_batch_size):
        config = at_shape(run, request.shape)
        its = [sides[key.image] if sides else (side, side) for key in request.keys]
        grids = drawn_grids(config, its, request.keys, request.progress)
        lengths = [count + class_tokens for count in grids.kept]
        counts["all"] += len(lengths)
        counts["all_tokens"] += sum(lengths)
        if not grids.are_equal:
            rows = PLANS[packing.packing_plan](lengths, packing.sequence_length)
            counts["images"] += len(lengths)
            counts["rows"] += len(rows)
            counts["tokens"] += sum(lengths)
            counts["places"] += len(rows) * row_length(packing.packing_plan, rows, lengths, packing.sequence_length)
    padding = 100 * (1 - counts["tokens"] / counts["places"]) if counts["places"] else 0.0
    per_row = counts["images"] / counts["rows"] if counts["rows"] else 0.0
    return PredictedPacking(padding, per_row, counts["all_tokens"] / counts["all"])


def _requests(run: ExperimentConfig, train_images: int, micro_batches: int) -> Iterator[Request]:
    """The micro-batches of some steps, spread over the run; of all where these are few."""
    batch = run.optim.global_batch_size
    total = run.schedule.max_steps or train_images // batch * run.schedule.epochs
    course = course_of(run, total)
    taken = min(total, max(1, MOST_IMAGES // batch))
    stretches = min(STRETCHES, taken)
    for number in range(stretches):
        start = number * total // stretches
        order = ResumableBatchSampler(
            train_images,
            batch,
            run.seed,
            start,
            total,
            micro_batches=micro_batches,
            repeats=getattr(run.task, "aug_repeats", 1),
            shape_at=lambda step: step_shape(run, step, course),
        )
        steps = (number + 1) * taken // stretches - number * taken // stretches
        yield from islice(order, steps * micro_batches)


def training_sides(run: ExperimentConfig, results: Path) -> Sides | None:
    """Of the training images, as far as an earlier run has read them; None: unknown. No image is read."""
    if run.data.aspect_ratios is not None:
        return training_sizes(run)
    if run.data.dataset in SQUARE:
        count = images(run)[0]
        side = 32 if run.data.dataset == "cifar10" else run.model.img_size
        return None if math.isnan(count) else [(side, side)] * int(count)
    from scaling.data.files.dataset_files import train_sides

    found = train_sides(run, results)
    return None if found is None else [(int(height), int(width)) for height, width in found]


def packing_lines(runs: Sequence[tuple[str, ExperimentConfig, int]], results: Path) -> list[str]:
    """A sentence for each title and patch size of runs on packed images. runs: with their titles and micro-batches; 0:
    none fits."""
    lines: dict[str, str] = {}
    for title, run, micro in runs:
        its = f"{title}, patch {run.model.patch_size}"
        if isinstance(run.packing, SequencePacking) and its not in lines:
            sides = training_sides(run, results)
            found = predicted_packing(run, micro or 1, sides)
            about = "packing unknown until the images are read; memory is for images of --img-size"
            if found is not None:
                rows = f"{found.padding:.1f} % padding, {found.images_per_sequence:.1f} images per row"
                square = "" if sides else ", for square images"
                about = (
                    f"{rows if found.images_per_sequence else 'images of one size are not packed'}, "
                    f"{found.tokens:.0f} tokens per image{square}"
                )
            lines[its] = f"{its}: {about}"
    return list(lines.values())
