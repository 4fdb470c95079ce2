"""Which classes occur in the label files of a segmentation data set, checked before a run (file_index.py has them).

Binary masks of 0 and 255 have a single class, as 255 is the ignore index (mmsegmentation #1609).
"""

from collections.abc import Sequence

import numpy as np

from scaling.config.experiment import ExperimentConfig
from scaling.data.batch import IGNORE_INDEX
from scaling.data.files.file_facts import Seen
from scaling.errors import ConfigError, first_of


def check_classes(train: Seen, test: Seen, config: ExperimentConfig, names: Sequence[str]) -> tuple[str, ...]:
    """A line if classes are missing from the training labels. Raises ConfigError if those have no class or a single
    one, or if the test labels have none. names: class names, or empty."""
    learned, nothing = _in(train)
    found, _ = _in(test)
    ignored = (
        f"{config.segmentation.ignore_index} and 255 are"
        if config.segmentation.ignore_index != IGNORE_INDEX
        else f"{IGNORE_INDEX} is"
    )
    for split, classes, seen in (("training", learned, train), ("test", found, test)):
        if not classes and len(seen.bad) < len(seen.names):  # else reading them reports why
            raise ConfigError(f"all pixels of the {len(seen.names)} {split} labels are unlabelled ({ignored} ignored)")
    missing = [k for k in range(config.data.num_classes) if k not in learned]
    if not missing:
        return ()
    lost = first_of(f"{k}{f' ({names[k]})' if names else ''}" for k in missing)
    if len(learned) == 1:
        hint = f"; {ignored} ignored: write objects as their class index, such as {missing[0]}" if nothing else ""
        raise ConfigError(
            f"class {learned.pop()} is the only class in the {len(train.names)} training labels, "
            f"{'class' if len(missing) == 1 else 'classes'} {lost} missing{hint}"
        )
    tested = sum(k in found for k in missing)
    also = f" ({tested} of them in test labels)" if tested else ""
    hint = f"; {ignored} ignored" if nothing else ""
    return (f"{len(missing)} of {config.data.num_classes} classes do not occur in training labels{also}: {lost}{hint}",)


def _in(seen: Seen) -> tuple[set[int], bool]:
    """The classes in readable labels, and whether any pixel is unlabelled."""
    good = [n for n in range(len(seen.names)) if n not in seen.bad]
    has = np.unpackbits(np.bitwise_or.reduce(seen.present_NB[good], axis=0, initial=0))
    return set(np.flatnonzero(has[:IGNORE_INDEX]).tolist()), bool(has[IGNORE_INDEX])
