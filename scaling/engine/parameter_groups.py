"""Groups of a task's parameters by their place in the model: embedding, positions, block_1 (the first) and so on, head,
and other (class tokens, the final norm)."""

from torch import nn

from scaling.backbones.base import Backbone
from scaling.errors import ConfigError
from scaling.tasks.base import TaskModule

POSITIONS = ("pos_embed", "positions.")  # how names of positions begin in a checkpoint_module


def parameter_groups(task: TaskModule) -> dict[str, list[nn.Parameter]]:
    """Parameters that are trained, by group, in the order above; groups without any are left out."""
    net = task.backbone.checkpoint_module
    positions = [p for name, p in net.named_parameters() if name.startswith(POSITIONS)]
    embedding = getattr(net, "patch_embed", None)
    places = {
        "positions": positions,  # before the embedding, in which one may lie
        "embedding": list(embedding.parameters()) if isinstance(embedding, nn.Module) else [],
        **{f"block_{n}": list(block.parameters()) for n, block in enumerate(_blocks(task.backbone), 1)},
        "head": list(task.head.parameters()),
        "other": list(task.parameters()),
    }
    taken: set[int] = set()
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameters in places.items():
        own = [p for p in parameters if p.requires_grad and id(p) not in taken]
        taken |= set(map(id, own))
        if own:
            groups[name] = own
    order = ("embedding", "positions")
    return {name: groups[name] for name in (*order, *groups) if name in groups}


def _blocks(backbone: Backbone) -> list[nn.Module]:
    """Empty where a backbone does not state which they are."""
    try:
        return backbone.residual_stream().blocks
    except ConfigError:
        return []
