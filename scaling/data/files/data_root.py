"""Where a data set is on this machine, and how the folders of its splits are named."""

import os
from pathlib import Path

from scaling.errors import ConfigError

SPLITS = {"train": ("train", "training"), "test": ("test", "val", "validation", "valid")}  # in order of preference


def find_root(data_root: str) -> Path:
    """The folder of a recipe's data_root: as given, or below $SCALING_DATA, data/ or ../shared/data.

    So a recipe with data_root "cifar10" is the same on every machine. Raises ConfigError where there is no such folder.
    """
    if not data_root:
        raise ConfigError("this data set needs a folder: set data_root, as in --data-root /data/imagenet")
    repository = Path(__file__).resolve().parents[3]
    homes = [Path.cwd(), repository / "data", repository.parent / "shared" / "data"]
    if os.environ.get("SCALING_DATA"):
        homes.insert(1, Path(os.environ["SCALING_DATA"]))
    for home in homes:
        path = home / Path(data_root).expanduser()
        if path.is_dir():
            return path.resolve()
    looked = "" if Path(data_root).is_absolute() else f" (looked in {', '.join(map(str, homes))})"
    raise ConfigError(f"no data folder {data_root}{looked}; set --data-root or $SCALING_DATA")
