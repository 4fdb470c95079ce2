"""Families of backbones by name, and how a recipe's backbone is built.

FAMILIES is open: FAMILIES["mine"] = build, with MODEL_SPECS["mine_tiny"] = ModelSpec("mine", ...) in
scaling/model_specs.py, makes the backbone mine_tiny known to recipes.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypedDict

from torch import Tensor

from scaling.backbones.adaptive_embed import AdaptivePatchEmbed
from scaling.backbones.base import Backbone
from scaling.backbones.batch_norm import TokenBatchNorm
from scaling.backbones.checkpoint_io import load_state, read_state_dict
from scaling.backbones.frozen import frozen_state
from scaling.backbones.patch_embed import FlexiblePatchEmbed, PatchEmbed
from scaling.backbones.patch_embeds import build_patch_embed
from scaling.backbones.sincos import Reference
from scaling.config.at_shape import shapes_of
from scaling.config.experiment import ExperimentConfig
from scaling.config.fields import Part
from scaling.config.model import TIMM, TIMM_MAPS
from scaling.config.plugin_files import check_loaded
from scaling.model_specs import MODEL_SPECS, ModelSpec
from scaling.preprocessing import initial_run, preprocessing_of
from scaling.rng import seed_of, seeded


def _deit(size: ModelSpec, config: ExperimentConfig) -> Backbone:
    from scaling.backbones.deit import Deit

    options = common_options(size, config)
    return Deit(size, config.model.img_size, config.model.patch_size, **options, norm_layer=_norm_layer(config))


def _norm_layer(config: ExperimentConfig) -> Callable[..., TokenBatchNorm] | None:
    """None: the LayerNorm of a plain ViT."""
    if config.model.norm == "layer":
        return None
    patches = {shape.patch_size for shape in shapes_of(config)} if config.model.norm == "batch_per_patch" else ()
    return functools.partial(TokenBatchNorm, patches=sorted(patches))


def _adventurer(size: ModelSpec, config: ExperimentConfig) -> Backbone:
    from scaling.backbones.adventurer_backbone import AdventurerBackbone

    return AdventurerBackbone(
        size,
        config.model.img_size,
        config.model.patch_size,
        scan_direction=config.model.scan_direction,
        **common_options(size, config),
    )


def _timm(size: ModelSpec, config: ExperimentConfig) -> Backbone:
    if config.model.backbone.startswith(TIMM_MAPS):
        from scaling.backbones.feature_maps import timm_maps

        return timm_maps(config.model.backbone.removeprefix(TIMM_MAPS), config.model.patch_size)
    from scaling.backbones.timm_vit import TimmViT

    return TimmViT(config.model.backbone.removeprefix(TIMM), config.model.img_size, config.model.patch_size)


FOREIGN = ModelSpec("timm", 0, 0, 0, 1)  # of every backbone that timm provides
FAMILIES: dict[str, Callable[[ModelSpec, ExperimentConfig], Backbone]] = {
    "deit": _deit,
    "deit3": _deit,
    "adventurer": _adventurer,
    "timm": _timm,
}


_reads_weights: ContextVar[bool] = ContextVar("reads initial weights", default=True)


@contextlib.contextmanager
def without_initial_weights() -> Iterator[None]:
    """Inside, backbones are built without reading the initial weights that their recipes name, where trained ones are
    loaded next: the file or the network that these came from may be gone."""
    before = _reads_weights.set(False)
    try:
        yield
    finally:
        _reads_weights.reset(before)


def build_backbone(config: ExperimentConfig) -> Backbone:
    """The recipe's backbone, initialised from its seed, or with the initial weights where it names any.

    Blocks start equal at every patch size: each module's weights come from its own stream of random numbers (seed and
    module name), so that a larger patch embedding does not shift what the blocks draw. Raises ConfigError.
    """
    return build_with_head(config)[0]


def build_with_head(config: ExperimentConfig) -> tuple[Backbone, dict[str, Tensor]]:
    """The same, and the tensors head.* of the initial weights, whose source is read once; none from a seed."""
    backbone = _built(config)
    backbone.mean, backbone.std, _ = preprocessing_of(config)
    backbone.initialise(config.seed)
    if not config.init.source or not _reads_weights.get():
        return backbone, {}
    state, trained = read_state_dict(config.init.source), initial_run(config)
    own = state if trained is None else state_for(backbone, state, trained)
    load_state(backbone, own, config.init.source, config.init.pos_embed_resampling)
    return backbone, {name: tensor for name, tensor in state.items() if name.startswith("head.")}


def _built(config: ExperimentConfig) -> Backbone:
    """The recipe's backbone with any weights."""
    check_loaded(config.plugin, config.run_id)
    size = MODEL_SPECS.get(config.model.backbone, FOREIGN)
    with seeded(seed_of(config.seed, "construction")):
        return FAMILIES[size.family](size, config)


def state_for(backbone: Backbone, state: dict[str, Tensor], trained: ExperimentConfig) -> dict[str, Tensor]:
    """The tensors of the run of `trained`, as load_state takes them for a backbone: those of a flexible one are frozen
    at the patch size of a backbone that has only one. Raises ConfigError where that does not divide the run's image."""
    own = getattr(backbone.checkpoint_module, "patch_embed", None)
    if not trained.model.any_patch or isinstance(own, FlexiblePatchEmbed | AdaptivePatchEmbed):
        return state
    flexible = _built(trained)
    load_state(flexible, state, trained.run_id)
    return frozen_state(flexible, backbone.stride)


class CommonOptions(TypedDict):
    """Arguments that the families of this project share."""

    drop_path: float
    pos_embed: str
    position_options: dict[str, object]
    reference: Reference
    patch_embed: PatchEmbed


def common_options(size: ModelSpec, config: ExperimentConfig) -> CommonOptions:
    """The CommonOptions of a recipe."""
    return {
        "drop_path": config.model.drop_path,
        "pos_embed": config.model.pos_embed.kind,
        "position_options": _options(config.model.pos_embed),
        "reference": Reference(*_first_grid(config)),
        "patch_embed": _patch_embed(size, config),
    }


def _patch_embed(size: ModelSpec, config: ExperimentConfig) -> PatchEmbed:
    part = config.model.patch_embed
    options = _options(part)
    del options["patch_size"]
    return build_patch_embed(part.kind, 3, size.width, config.model.img_size, part.patch_size, **options)


def _options(part: Part) -> dict[str, object]:
    """The fields of a part of the configuration."""
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _first_grid(config: ExperimentConfig) -> tuple[int, int]:
    """Grid [tokens] and patch [px] in which the coordinates of multi-stage training are measured: those of its first
    run with this position encoding."""
    before = initial_run(config)
    if before is not None and before.model.pos_embed.kind == config.model.pos_embed.kind:
        return _first_grid(before)
    return config.model.img_size // config.model.patch_size, config.model.patch_size
