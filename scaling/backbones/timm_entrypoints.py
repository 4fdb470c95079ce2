"""Adventurer under timm's names: importing this file registers adventurer_{tiny,small,base,large,huge}_patch16_224,
and the small ones of this project, adventurer_{pico,nano,micro}_patch16_224.

    import timm, scaling.backbones.timm_entrypoints
    timm.create_model("adventurer_tiny_patch16_224", img_size=64, patch_size=4, num_classes=10)

No public address of the released weights is known, so pretrained=True needs a file:
pretrained_cfg_overlay=dict(file=PATH) resamples positions and patch kernels to the model's image and patch size and
adapts channels and classes (with a new head unless the overlay's num_classes, by default 1000, is the model's);
checkpoint_path=PATH is timm's strict load into a model of the same shape.
Both read with weights_only, and both use "model_ema" where a file has it beside "model", as timm always does.
"""

from collections.abc import Callable, Sequence
from functools import partial

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from scaling.backbones.adventurer import Adventurer
from scaling.backbones.checkpoint_io import check_fit, unwrapped
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS, ModelSpec

__all__: list[str] = []  # timm's register_model fills it


def entry_point(backbone: str) -> str:
    """timm's name of an Adventurer of MODEL_SPECS."""
    return f"{backbone}_patch16_224"


MODELS = {entry_point(name): size for name, size in MODEL_SPECS.items() if size.family == "adventurer"}
default_cfgs = generate_default_cfgs(
    {
        name: {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "fixed_input_size": True,  # img_size builds a model for another size
            "pool_size": None,
            "crop_pct": 0.875,
            "interpolation": "bicubic",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
            "paper_ids": "arXiv:2410.07599",
        }
        for name in MODELS
    }
)


def _side(what: str, side: int | Sequence[int]) -> int:
    """timm gives a side or (height, width)."""
    sides = {side} if isinstance(side, int) else set(side)
    if len(sides) != 1:
        raise ConfigError(f"{what} {side} is not square; Adventurer takes square images and patches only")
    return sides.pop()


def _adventurer(
    size: ModelSpec,
    *,
    img_size: int | Sequence[int] = 224,
    patch_size: int | Sequence[int] = 16,
    in_chans: int = 3,
    num_classes: int = 1000,
    global_pool: str = "token",
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    scan_direction: str = "released",
    pos_embed: str = "learned",
) -> Adventurer:
    """Adventurer by timm's argument names."""
    return Adventurer(
        size,
        _side("img_size", img_size),
        _side("patch_size", patch_size),
        num_classes,
        scan_direction=scan_direction,
        drop_path=drop_path_rate,
        pos_embed=pos_embed,
        channels=in_chans,
        dropout=drop_rate,
        pool=global_pool,
    )


def fit_checkpoint(checkpoint: dict[str, object], model: Adventurer) -> dict[str, Tensor]:
    """A checkpoint's tensors for this model. Classifier and input channels are unchanged: timm adapts them next.

    Keys are checked here because timm loads without strictness as soon as the classes differ.
    """
    cfg = getattr(model, "pretrained_cfg", {})  # timm sets it before it loads
    source = cfg.get("file") or cfg.get("url") or "given as a dictionary"
    state = model.convert_state_dict(unwrapped(checkpoint, source, ("model_ema", "model", "state_dict")))
    theirs, ours = (
        {key: value for key, value in tensors.items() if not key.startswith(("head.", "patch_embed.proj.weight"))}
        for tensors in (state, model.state_dict())
    )
    check_fit(theirs, ours, source)
    return state


def _register(name: str, size: ModelSpec) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **kwargs: object) -> nn.Module:
        build: Callable[..., nn.Module] = build_model_with_cfg  # which takes any of timm's options
        feature_cfg = {"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"}
        return build(
            partial(_adventurer, size),
            name,
            pretrained,
            pretrained_filter_fn=fit_checkpoint,
            feature_cfg=feature_cfg,
            **kwargs,
        )

    create.__name__ = create.__qualname__ = name  # the name that timm registers
    create.__doc__ = f"{name}: {size.depth} blocks, {size.width} channels."
    return register_model(create)


globals().update({name: _register(name, size) for name, size in MODELS.items()})
