"""A trained classifier as a model of timm: architecture and arguments of timm.create_model, and tensors under its keys.

DeiT and DeiT III are timm's VisionTransformer. Adventurer is registered under timm's names by timm_entrypoints.py,
which a program imports first. For other tasks timm has no heads.
"""

from collections.abc import Callable
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from scaling.backbones.checkpoint_io import check_fit
from scaling.backbones.timm_entrypoints import entry_point  # the import registers Adventurer
from scaling.config.model import TIMM
from scaling.errors import ConfigError
from scaling.inference.described_weights import tensors
from scaling.inference.trained import Trained
from scaling.model_specs import MODEL_SPECS

ARCHITECTURES = {"deit": "vit_base_patch16_224", "deit3": "deit3_base_patch16_224"}  # all sizes are arguments
POOLS = {"linear": "token", "avg": "avg"}  # head here: timm's global_pool
INSTEAD = "--export safetensors, which scaling.load takes"


class TimmModel(NamedTuple):
    """A model of timm."""

    architecture: str
    arguments: dict[str, object]  # of timm.create_model, values of JSON
    state: dict[str, Tensor]

    def create(self) -> nn.Module:
        """The model with the weights, in eval mode. Images are normalised floats (B, 3, H, W)."""
        model = _created(self)
        model.load_state_dict(self.state)
        return model.eval().requires_grad_(False)


def timm_model(trained: Trained) -> TimmModel:
    """A model of one patch size (fixed_patch.py) as one of timm's. Raises ConfigError, with the reason, where timm has
    no such model."""
    config = trained.config
    model, head = config.model, config.task.head.kind
    if config.task.kind != "classify":
        raise ConfigError(f"timm has no head for {config.task.kind}: {INSTEAD}")
    if model.any_patch:
        raise ConfigError("timm's models have one patch size, and this one is flexible: --patch N resamples it to one")
    own_pool = POOLS.get(head) if model.family != "timm" or head != "linear" else ""
    if own_pool is None:
        raise ConfigError(f"timm's model has no head like {head}: {INSTEAD}")
    arguments: dict[str, object] = {
        "img_size": model.img_size,
        "patch_size": model.patch_size,
        "num_classes": config.data.num_classes,
        **({"global_pool": own_pool} if own_pool else {}),
    }
    architecture = ""
    if model.family in ARCHITECTURES:
        size, architecture = MODEL_SPECS[model.backbone], ARCHITECTURES[model.family]
        arguments |= {
            "embed_dim": size.width,
            "depth": size.depth,
            "num_heads": size.width // size.head_dim,
            "mlp_ratio": size.mlp / size.width,
            **({"fc_norm": False} if own_pool == "avg" else {}),  # the norm comes before the mean, as here
        }
    elif model.family == "adventurer":
        architecture = entry_point(model.backbone)
        arguments |= {"scan_direction": model.scan_direction, "pos_embed": model.pos_embed.kind}
    elif model.backbone.startswith(TIMM):
        architecture = model.backbone.removeprefix(TIMM)
    if not architecture:
        raise ConfigError(f"timm has no model like {model.backbone}: {INSTEAD}")
    found = TimmModel(architecture, arguments, tensors(trained))
    _check(found)
    return found


def _created(model: TimmModel) -> nn.Module:
    build: Callable[..., nn.Module] = timm.create_model  # which takes the arguments of any model
    return build(model.architecture, **model.arguments)


def _check(model: TimmModel) -> None:
    """Raise ConfigError unless timm's model has the keys."""
    with torch.device("meta"):
        own = _created(model).state_dict()
    try:
        check_fit(model.state, own, "of this run")
    except ConfigError as e:
        raise ConfigError(f"timm's model has no place for these weights ({e}): {INSTEAD}") from e
