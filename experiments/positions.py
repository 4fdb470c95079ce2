"""What sine-cosine positions should encode in dense tasks, measured on finished runs, without training.

python experiments/positions.py RESULTS [--images N]: every finished run of segmentation and detection in RESULTS with
position sincos is evaluated again on whole images, with positions by place (stretched over the image) and by pixels (as
far apart as they were in training); segmentation also in windows as large as its crops, in which every position
is one that was trained. For each recipe and patch: means over seeds, and the difference of pixels from place, paired by
seed, with its spread.
"""

import argparse
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from analysis.report.output import until_closed
from experiments.cli import arguments  # noqa: F401  before torch: experiments/__init__.py sets how threads wait
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.runs.record import RECORD, WEIGHTS, RunRecord

METRICS = {"segment": "miou", "detect": "box_ap"}  # reported with the loss [%]


def finished(results: Path) -> list[tuple[ExperimentConfig, Path]]:
    """The dense runs with sines that are finished, and their folders."""
    records = [(RunRecord.load(path.parent), path.parent) for path in sorted(results.glob(f"*/{RECORD}"))]
    recipes = [(record.experiment(), folder) for record, folder in records if record.status == "finished"]
    dense = [(r, folder) for r, folder in recipes if r.task.kind in METRICS and r.model.pos_embed.kind == "sincos"]
    return [(r, folder) for r, folder in dense if (folder / WEIGHTS).is_file()]


def evaluated(config: ExperimentConfig, folder: Path, images: int) -> dict[str, tuple[float, float]]:
    """Test loss [nats] and metric [%] by how the run's weights see the test images."""
    import lightning as L

    from scaling.backbones.pos_embed import SinCosPositions
    from scaling.data.datamodule import ImageDataModule
    from scaling.engine.train import TASKS
    from scaling.engine.warm_start import restore

    data = ImageDataModule(edit(config, num_val=images))
    data.setup()
    found = {}
    ways = [("place", 0), ("pixels", 0)] + (
        [("place", 2 * config.model.img_size // 3)] if config.task.kind == "segment" else []
    )
    for meaning, slide in ways:
        seen = edit(config, slide_stride=slide) if config.task.kind == "segment" else config
        task = TASKS[config.task.kind](seen, data.total_steps, data.names)
        restore(task, config, folder)
        positions = task.backbone.checkpoint_module.positions
        assert isinstance(positions, SinCosPositions)
        positions.sines.kind = meaning
        trainer = L.Trainer(
            accelerator="auto", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False
        )
        trainer.test(task, datamodule=data, verbose=False)
        results = task.compute_metrics()
        found["windows" if slide else meaning] = results["test_loss"], results[METRICS[config.task.kind]]
    return found


def table(rows: dict[str, dict[int, dict[str, tuple[float, float]]]]) -> str:
    """A Markdown table with one row per key, which is a group and a patch size; the values are runs by seed."""
    lines = ["| runs | seeds | place | pixels | windows | pixels - place |", "|---|--:|--:|--:|--:|--:|"]
    for name, by_seed in sorted(rows.items()):
        ways = {way for found in by_seed.values() for way in found}
        cells = [
            " ".join(f"{statistics.fmean(found[way][k] for found in by_seed.values()):.4g}" for k in (0, 1))
            if way in ways
            else ""
            for way in ("place", "pixels", "windows")
        ]
        cells.append(" ".join(_difference([f["pixels"][k] - f["place"][k] for f in by_seed.values()]) for k in (0, 1)))
        lines.append(f"| {name} | {len(by_seed)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(of_seeds: list[float]) -> str:
    spread = f" ({statistics.stdev(of_seeds):.2g})" if len(of_seeds) > 1 else ""
    return f"{statistics.fmean(of_seeds):+.3g}{spread}"


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("results", type=Path, help="folder of finished runs")
    p.add_argument("--images", type=int, default=0, help="test images, a fixed subset; 0: all")
    args = p.parse_args()
    from scaling.engine.trainer import hush

    hush()
    rows: dict[str, dict[int, dict[str, tuple[float, float]]]] = defaultdict(dict)
    for config, folder in finished(args.results):
        found = evaluated(config, folder, args.images)
        print(folder.name, *(f"{way} {loss:.4f} {metric:.2f}" for way, (loss, metric) in found.items()), flush=True)
        data, model = config.data.dataset, config.model
        name = f"{data} {model.backbone} {model.img_size} px {config.task.head.kind}"
        name += f", {config.schedule.epochs} epochs, p{model.patch_size}"
        rows[name][config.seed] = found
    print(f"\nTest loss [nats] and mIoU or box AP [%]; in brackets the standard deviation over seeds.\n\n{table(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(until_closed(main))
