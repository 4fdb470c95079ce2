"""A flexible model at one patch size as an ordinary model: what other programs load, and what a file of weights can
hold."""

from scaling.backbones.checkpoint_io import load_state
from scaling.backbones.frozen import frozen_state
from scaling.config.at_shape import at_patch
from scaling.config.edit import edit
from scaling.config.model import InAttention
from scaling.config.task import Classification, LinearHead
from scaling.errors import ConfigError
from scaling.inference.trained import Trained, untrained


def at_one_patch(trained: Trained, patch_size: int | None = None) -> Trained:
    """The model with one patch size [px] (None: its finest), whose kernel and table of positions are resampled to it;
    its outputs are those of the flexible model there. A model that has a single patch size is returned as it is. Raises
    ConfigError for a patch size that the model does not have, and for what cannot be resampled."""
    config = trained.config
    own = config.model.patch_size
    patch = own if patch_size is None else patch_size
    if not config.model.any_patch:
        if patch != own:
            raise ConfigError(f"only a flexible model is frozen at a patch size: this one has a single one, {own} px")
        return trained
    at_patch(config, patch)  # raises for a patch size that the model cannot have
    kind = config.model.pos_embed
    if isinstance(kind, InAttention):
        raise ConfigError(
            f"pos_embed {kind.kind} acts inside attention and counts patches of the run, which a file of weights does "
            "not hold: --initial-checkpoint RUN starts a run of a fixed patch from it"
        )
    head = config.task.head.kind
    if config.task.kind != Classification.kind and head != LinearHead.kind and patch != own:
        raise ConfigError(f"the head {head} is built for patch {own}, the finest: freeze it there, --patch {own}")
    state = frozen_state(trained.module.backbone, patch)
    fields = {"patch_embed": "conv", "patch_size": patch, "pos_embed": "learned", "step_shapes": "fixed"}
    norm = {"norm": "batch"} if config.model.norm == "batch_per_patch" else {}
    fixed = edit(config, **fields, **norm, eval_patches=())
    module = untrained(fixed, trained.names)
    load_state(module.backbone, state, trained.run_id)
    module.head.load_state_dict(trained.module.head.state_dict())
    device = next(trained.module.parameters()).device
    return trained._replace(module=module.to(device).eval().requires_grad_(False), config=fixed)
