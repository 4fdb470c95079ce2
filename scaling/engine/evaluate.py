"""The evaluation at the end of a run: of its raw weights, and of their average where it kept one."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import lightning as L

from scaling.config.at_shape import evaluated_patches, evaluated_sizes
from scaling.config.experiment import ExperimentConfig
from scaling.data.datamodule import ImageDataModule
from scaling.engine import evaluation_steps
from scaling.engine.ema import Averaged, weights_of
from scaling.engine.warm_start import KEYS, SUFFIXES, save_weights
from scaling.runs.evaluations import Evaluation, evaluation
from scaling.tasks.base import TaskModule


class Evaluated(NamedTuple):
    """results: test_loss and metrics of the weights that the recipe reports; of a run with an average also those of
    both kinds of weights, as test_loss_raw, test_loss_averaged ... rows: RunRecord.evaluations, the reported first."""

    results: dict[str, float]
    rows: list[Evaluation]


def evaluate(
    config: ExperimentConfig,
    folder: Path,
    trainer: L.Trainer,
    module: TaskModule,
    data: ImageDataModule,
    averaged: Averaged | None,
) -> Evaluated:
    """Evaluate on the test images, at every patch size of the recipe, and on those that val_split holds out; leave the
    weights in folder/weights.pt."""
    own, every = (config.model.patch_size,), evaluated_patches(config)
    found = defaultdict[str, dict[int, dict[int, dict[str, float]]]](dict)  # by kind of weights, image and patch size
    held_out, weights = dict[str, dict[str, float]](), {}
    for kind in ("raw", "ema") if averaged else ("raw",):
        if kind == "ema" and averaged:
            averaged.load_average(module)
        module.evaluated_patches = every
        for size in evaluated_sizes(config):
            data.evaluated_size = size
            trainer.test(module, datamodule=data, verbose=False)
            found[kind][size] = module.compute_metrics_by_patch()
        data.evaluated_size = config.model.img_size
        weights[KEYS[kind]] = weights_of(module)
        module.evaluated_patches = own
        held_out[kind] = {}
        if data.held_out is not None:
            trainer.test(module, dataloaders=data.val_dataloader(), verbose=False)
            held_out[kind] = evaluation_steps.of_held_out(module.compute_metrics())
    if trainer.is_global_zero:
        save_weights(weights, folder)
    rows = [
        evaluation(patch, size, kind, results)
        for kind in sorted(found, key=lambda kind: kind != config.evaluation.eval_weights)
        for size, of_patch in found[kind].items()
        for patch, results in of_patch.items()
    ]
    own_size = config.model.img_size
    whole = {kind: found[kind][own_size][config.model.patch_size] | held_out[kind] for kind in found}
    named = {f"{name}_{SUFFIXES[kind]}": value for kind, results in whole.items() for name, value in results.items()}
    return Evaluated({**whole[config.evaluation.eval_weights], **(named if averaged else {})}, rows)
