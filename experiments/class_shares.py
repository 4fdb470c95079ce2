"""Shares of the pixels that each class has in training crops: do smaller crops balance the classes?

python experiments/class_shares.py shapes.seg_nano --crops 0.5,0.75,1
python experiments/class_shares.py camvid.adventurer_nano --data-root /data/camvid --seeds 0,1,2 --out FILE

The images are those of training, augmented and cropped as a step of --crop-schedule has them: a crop has a share of the
side of what the recipe trains on. A class is compared with itself in whole images (crop 1, which is always there); the
balance is the entropy of the shares over that of equal ones.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.report.output import Parser, counted, print_wrapped, until_closed, write_files
from experiments.cli import arguments  # noqa: F401  before torch: experiments/__init__.py sets how threads wait
from scaling.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from scaling.config.experiment import ExperimentConfig

AT_A_TIME = 256  # images
BALANCE = "balance"  # a row beside the classes


def class_shares(config: "ExperimentConfig", crops: Sequence[float], images: int) -> "pd.DataFrame":
    """A row per crop [1] and class, and one for BALANCE: share of the pixels that have a label [1], and the share of
    crops that have a pixel of the class [1] (BALANCE: of its entropy, in that of equal shares; nan). Raises
    ConfigError."""
    import numpy as np
    import pandas as pd

    from scaling.config.step_shapes import StepShape
    from scaling.data.batch import MaskTargets
    from scaling.data.datamodule import ImageDataModule
    from scaling.data.transforms.scheduled_crop import scheduled_crop
    from scaling.rng import SampleKey

    if config.task.kind != "segment":
        raise ConfigError(f"{config.task.kind} has no label maps; name a recipe of segmentation, as shapes.seg_nano")
    data, side = ImageDataModule(config), config.model.img_size
    data.setup()
    if not 0 < images <= len(data.train_set):
        raise ConfigError(f"{images} images requested, {len(data.train_set)} available: --images {len(data.train_set)}")
    names = list(data.names)
    cuts = {crop: round(crop * side) for crop in crops}
    shapes = {c: StepShape(config.model.patch_size, cut, side if cut < side else 0) for c, cut in cuts.items()}
    counts: dict[float, list[np.ndarray]] = {crop: [] for crop in crops}  # pixels of each class, by crop and image
    for first in range(0, images, AT_A_TIME):
        keys = [SampleKey(0, i) for i in range(first, min(first + AT_A_TIME, images))]
        whole = data.train_set.get_batch(keys)
        for crop, shape in shapes.items():
            targets = scheduled_crop(whole, shape, config.seed).targets
            assert isinstance(targets, MaskTargets)
            for label_HW in targets.label_BHW.numpy():
                counts[crop].append(np.bincount(label_HW.ravel(), minlength=256)[: len(names)])
    rows = []
    for crop, of_images in counts.items():
        pixels, seen = np.sum(of_images, axis=0), np.mean([one > 0 for one in of_images], axis=0)
        share = pixels / pixels.sum()
        known = share[share > 0]
        balance = float(-(known * np.log(known)).sum() / np.log(len(names)))
        rows += [[crop, name, share[k], seen[k]] for k, name in enumerate(names)]
        rows.append([crop, BALANCE, balance, np.nan])
    return pd.DataFrame(rows, columns=["crop", "class", "share", "crops"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0, or 2 with one line on stderr for unusable input."""
    parser = _parser()
    try:
        args = parser.parse_args(argv)
        _report(args)
    except ConfigError as e:
        print(f"class_shares: {e}", file=sys.stderr)
        return 2
    return 0


def _report(args: argparse.Namespace) -> None:
    import pandas as pd

    from experiments.cli.resolve import resolve
    from scaling.config.edit import edit

    given = {"data_root": args.data_root} if args.data_root else {}
    config = resolve(args.recipe, args.patch, given)[-1]
    found = pd.concat(
        class_shares(edit(config, seed=seed), args.crops, args.images).assign(seed=seed) for seed in args.seeds
    ).assign(data=config.data.dataset)
    whole = found[found["crop"] == 1].set_index(["class", "seed"])["share"].rename("whole")
    found = found.join(whole, on=["class", "seed"])
    found["ratio"] = found["share"] / found["whole"]
    print_wrapped(
        f"Classes of {args.recipe} in {counted(args.images, 'training image')} by the share of the side that a crop "
        f"has; means over {counted(len(args.seeds), 'seed')}.",
        indent=0,
    )
    means = found.groupby(["class", "crop"], sort=False)[["share", "ratio"]].mean()
    width = max(map(len, found["class"]))
    print("\n" + "class".ljust(width) + "".join(_cell(f"crop {crop:g}", "ratio" * (crop < 1)) for crop in args.crops))
    for name in sorted(found["class"].unique(), key=lambda one: (one == BALANCE, -means.loc[(one, 1.0), "share"])):
        of_crop = means.loc[name]
        cells = [
            _cell(f"{100 * of_crop.loc[crop, 'share']:.2f} %", f"{of_crop.loc[crop, 'ratio']:.2f}" * (crop < 1))
            for crop in args.crops
        ]
        print(name.ljust(width) + "".join(cells))
    print()
    if args.out:
        out = Path(args.out).expanduser()
        columns = ["data", "crop", "seed", "class", "share", "crops", "ratio"]
        write_files(out.parent, {out.name: found[columns].to_csv(index=False, float_format="%.6g").encode()})
        print_wrapped(f"wrote {out}", indent=2)


def _cell(share: str, ratio: str) -> str:
    return f"{share:>11}" + (f"{ratio:>7}" if ratio else "")


def _parser() -> Parser:
    parser = Parser(prog="class_shares.py", description="Shares of the pixels that each class has in training crops.")
    parser.add_argument("recipe", metavar="RECIPE", help="of segmentation, as shapes.seg_nano")
    parser.add_argument("--patch", metavar="P", type=int, default=4, help="patch size [px] (default: 4)")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data set")
    parser.add_argument(
        "--crops", metavar="S,S", type=_crops, default=(0.5, 0.75, 1.0), help="shares of the side (default: 0.5,0.75,1)"
    )
    parser.add_argument("--images", metavar="N", type=int, default=1024, help="of training (default: 1,024)")
    parser.add_argument("--seeds", metavar="N,N", type=_seeds, default=(0,), help="of crops (default: 0)")
    parser.add_argument("--out", metavar="FILE", help="CSV file to write, a row per crop, seed and class")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds; write 0,1,2")
    return tuple(dict.fromkeys(map(int, words)))


def _crops(text: str) -> tuple[float, ...]:
    """Ascending, with 1."""
    try:
        found = {float(word) for word in text.split(",")}
    except ValueError:
        found = {0.0}
    if not all(0 < share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of shares of the side; write 0.5,0.75,1")
    return tuple(sorted(found | {1.0}))


if __name__ == "__main__":
    sys.exit(until_closed(main))
