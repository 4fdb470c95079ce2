"""The position encoding of a run, and the rule that brought it to the run's grid, as text."""

import dataclasses

from scaling.config.experiment import ExperimentConfig

# By encoding what brings it to another grid, where it has one rule.
ONLY_RULE = {"relative": "bicubic", "relative_mlp": "continuous"}


def position_text(config: ExperimentConfig) -> str:
    """The kind, its coordinates where it has several, and those of its other fields that are not the default, as
    "factorized, fractional, max_side 32"."""
    part = config.model.pos_embed
    names = [f for f in dataclasses.fields(part) if f.name != "position_coordinates"]
    others = [f"{f.name} {getattr(part, f.name)}" for f in names if getattr(part, f.name) != f.default]
    return ", ".join(filter(None, [part.kind, getattr(part, "position_coordinates", ""), *others]))


def transfer_rule(config: ExperimentConfig) -> str:
    """The rule by which positions come to another grid than that of the first training: a word of the configuration,
    of ONLY_RULE, or how a table of learned positions is resampled."""
    part = config.model.pos_embed
    for name in ("rope_transfer", "sincos_transfer"):
        if hasattr(part, name):
            return str(getattr(part, name))
    resampling = str(getattr(config.init, "pos_embed_resampling", "aligned"))
    return ONLY_RULE.get(part.kind, {"aligned": "bicubic"}.get(resampling, resampling))
