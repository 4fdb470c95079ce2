"""Settings: how a run uses its machine."""

from dataclasses import dataclass

from scaling.config.runtime import RuntimeConfig


@dataclass(frozen=True)
class RuntimeConfig:
    """What the machine decides and the numbers do not depend on (to the last bit: threads and accelerator do)."""

    accelerator: str = "auto"  # Lightning's: auto, cpu, gpu
    devices: str = "auto"  # Lightning's: how many, or which
    threads: int = 0  # CPU threads for arithmetic; 0: as many as the usable cores and the size of a step allow
    jobs: int = 1  # runs that share the machine: each takes its share of the cores
    workers: int = -1  # processes that read and decode files; -1: by the number of cores
    checkpoint_minutes: float = 10.0  # longest time between checkpoints; there is one at every end of an epoch too
    nodes: int = 1  # machines that the run is spread over, as torchrun or SLURM started it there
    strategy: str = "auto"  # how several devices share it: auto (ddp), ddp, fsdp
    micro_batch: int = 0  # images that a device takes at a time; 0: as many as its memory holds
    recompute: bool = False  # keep only what is between blocks for the backward pass: memory for time
    compile: bool = False  # torch.compile the backbone
    channels_last: bool = False  # images in channels-last memory
    save_predictions: int = 0  # pictures of so many test images, their labels and predictions, in the run's folder
    export_coco: bool = False  # detections on the test images as COCO results, in the run's folder
    logger: str = ""  # tensorboard, wandb, mlflow, separated by commas
