"""RuntimeConfig: what the machine decides. Numbers depend on it in their last bits only (threads, accelerator)."""

from dataclasses import dataclass

from scaling.config.fields import Bounds, check_fields, config_field

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
STRATEGIES = ("auto", "ddp", "fsdp")


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How a run uses a machine. None: chosen automatically."""

    accelerator: str = config_field("auto, cpu, gpu, cuda, mps", "auto", choices=ACCELERATORS, common=True)
    devices: str = config_field("number of devices, or their indices: auto, 2, or 0,1", "auto", common=True)
    num_nodes: int = config_field(
        "machines that share a run, each started by torchrun or SLURM", 1, bounds=Bounds(at_least=1)
    )
    strategy: str = config_field(
        "how several devices share a run: auto (ddp), ddp, fsdp", "auto", choices=STRATEGIES, common=True
    )
    threads: int | None = config_field(
        "CPU threads for arithmetic; default: one per usable core, fewer where steps are small",
        None,
        bounds=Bounds(at_least=1),
        common=True,
    )
    num_workers: int | None = config_field(
        "processes that decode images; default: by cores",
        None,
        bounds=Bounds(at_least=0),
        common=True,
    )
    max_parallel_runs: int | None = config_field(
        "runs of a sweep that are trained at the same time on this machine; default: two on a CPU of which two cores "
        "or more may be used, else one",
        None,
        bounds=Bounds(at_least=1),
    )
    micro_batch_size: int | None = config_field(
        "images per device at a time; the global batch is unchanged; default: what fits into memory",
        None,
        unit="images",
        bounds=Bounds(at_least=1),
        common=True,
    )
    grad_checkpointing: bool = config_field("recompute activations in the backward pass: less memory, more time", False)
    compile: bool = config_field("torch.compile the backbone", False)
    channels_last: bool = config_field("images in channels-last memory", False)
    checkpoint_minutes: float = config_field(
        "longest time between checkpoints; there is one at the end of every epoch too",
        10.0,
        unit="min",
        bounds=Bounds(at_least=0),
    )
    test_points: int = config_field(
        "classification: test losses of a run in curve.csv, at geometric steps, the last at its end; 0: that one only. "
        "They are planned for 3 % of the training time, which limits their number of test images",
        8,
        bounds=Bounds(at_least=0),
    )
    save_predictions: int = config_field(
        "draw this many test images with labels and predictions into the run's folder",
        0,
        unit="images",
        bounds=Bounds(at_least=0),
    )
    export_coco: bool = config_field("detection: write detections on the test images as COCO results", False)
    slurm: str = config_field(
        "what jobs of --launcher slurm ask for, as partition=gpu,time=4:00:00: any long option of sbatch with a value, "
        "and gpus (per node), runs (per job), card, factor, warn (docs/clusters.md)",
        "",
    )
    logger: str = config_field("tensorboard, wandb, mlflow, separated by commas; curve.csv is always written", "")

    def __post_init__(self) -> None:
        check_fields(self)


# Options of before and their names of now; 0, or -1, stood for "chosen automatically".
OLD_NAMES = {
    "nodes": "num_nodes",
    "workers": "num_workers",
    "jobs": "max_parallel_runs",
    "micro_batch": "micro_batch_size",
    "recompute": "grad_checkpointing",
}
AUTOMATIC = {"threads": 0, "workers": -1, "jobs": 0, "micro_batch": 0}
