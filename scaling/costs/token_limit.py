"""The limit on tokens per image in detection, checked before a run begins. No torch: --dry-run checks it too."""

import os

from scaling.config.at_shape import at_patch, evaluated_patches
from scaling.config.experiment import ExperimentConfig
from scaling.costs.token_counts import most_tokens, padded_size
from scaling.errors import ConfigError

MOST_TOKENS = 2**18  # per image, unless the environment variable sets another number
LIMIT = "SCALING_MOST_TOKENS"


def check_tokens(config: ExperimentConfig, size: tuple[int, int] | None = None) -> None:
    """Raise ConfigError where an image has more tokens than the limit: before it is made, not when memory runs out.
    size: height and width before padding [px]; None: the largest that a recipe of detection allows, at every patch
    size that it is evaluated at."""
    if config.task.kind != "detect":
        return
    if size is None:
        short = config.detection.resize_short or config.model.img_size
        sizes = ((config.model.img_size,) * 2, (short, config.detection.max_long or short))
        every = [at_patch(config, patch) for patch in evaluated_patches(config)]
        config, size = max(((one, size) for one in every for size in sizes), key=lambda pair: _tokens(*pair))
    most, found = _most(), _tokens(config, size)
    if found > most:
        raise ConfigError(
            f"patch {config.model.patch_size} makes {found:,} tokens of an image of {size[0]} x {size[1]} px, more "
            f"than {most:,}: use a larger patch or smaller images, or set {LIMIT}"
        )


def _tokens(config: ExperimentConfig, size: tuple[int, int]) -> int:
    """Tokens of a padded image of that height and width."""
    return most_tokens(config, padded_size(config, size))


def _most() -> int:
    text = os.environ.get(LIMIT, str(MOST_TOKENS))
    if not text.strip().isdecimal() or not int(text):
        raise ConfigError(f"{LIMIT} is {text!r}; it must be a whole number above 0, such as {MOST_TOKENS}")
    return int(text)
