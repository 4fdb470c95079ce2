"""The position encoding of a run as text."""

import dataclasses

from scaling.config.experiment import ExperimentConfig


def position_text(config: ExperimentConfig) -> str:
    """The kind, its coordinates where it has several, and those of its other fields that are not the default, as
    "factorized, fractional, max_side 32"."""
    part = config.model.pos_embed
    names = [f for f in dataclasses.fields(part) if f.name != "position_coordinates"]
    others = [f"{f.name} {getattr(part, f.name)}" for f in names if getattr(part, f.name) != f.default]
    return ", ".join(filter(None, [part.kind, getattr(part, "position_coordinates", ""), *others]))
