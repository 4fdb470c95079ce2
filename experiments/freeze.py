"""Freeze a finished flexible run at one patch size: an ordinary checkpoint, with the keys of public ones.

python experiments/freeze.py RUN --patch 8 --out FILE.pth
RUN is the run's folder. The file has the reported weights, head included, under "model": timm's VisionTransformer of
that size, image and patch loads those of a DeiT, and --initial-checkpoint FILE starts a run of a fixed patch from them.
"""

from pathlib import Path
from typing import NoReturn

from analysis.report.output import Parser
from experiments.cli import arguments  # before torch: experiments/__init__.py sets how threads wait
from scaling.config.model import InAttention
from scaling.config.task import Classification, LinearHead
from scaling.errors import ConfigError


def main(argv: list[str] | None = None) -> int:
    parser = Parser(prog="freeze.py", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of a finished flexible run")
    parser.add_argument("--patch", type=int, required=True, help="side of a square patch; divides the image [px]")
    parser.add_argument("--out", metavar="FILE", required=True, help="checkpoint to write, such as frozen_p8.pth")
    args = parser.parse_args(argv)
    import torch

    from scaling.backbones.frozen import frozen_state
    from scaling.inference import load
    from scaling.runs.atomic_files import atomic

    out = Path(args.out).expanduser()
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")
    module = load(args.run).module
    kind = module.config.model.pos_embed
    if isinstance(kind, InAttention):
        raise ConfigError(
            f"pos_embed {kind.kind} acts inside attention and counts patches of the run, which a file of weights does "
            f"not hold: --initial-checkpoint {args.run} starts a run of a fixed patch from it"
        )
    if module.config.model.norm != "layer":
        raise ConfigError(
            f"norm {module.config.model.norm} has no place in public checkpoints, whose norm is LayerNorm: "
            f"--initial-checkpoint {args.run} starts a run of a fixed patch from it"
        )
    head, finest = module.config.task.head.kind, module.config.model.patch_size
    of_maps = module.config.task.kind != Classification.kind and head != LinearHead.kind
    if of_maps and args.patch != finest:
        raise ConfigError(f"the head {head} is built for patch {finest}, the finest: freeze it there, --patch {finest}")
    weights = {f"head.{name}": tensor for name, tensor in module.head.state_dict().items()}
    with atomic(out) as file:
        torch.save({"model": {**frozen_state(module.backbone, args.patch), **weights}}, file)
    print(f"wrote {out}: {Path(args.run).name} at patch {args.patch}")
    return 0


def program() -> NoReturn:
    """The program, with its exit status."""
    arguments.guarded(main)


if __name__ == "__main__":
    program()
