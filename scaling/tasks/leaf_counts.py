"""How many leaves the quadtrees of test images have, by size: metrics of a record."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric

from scaling.backbones.adaptive_embed import AdaptivePatchEmbed, leaf_counts
from scaling.backbones.base import Backbone, TokenLayout


class LeafCounts(nn.Module):
    """Sums over the images, crops or windows of an evaluation, and over all devices. Without an adaptive embedding
    nothing is counted."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        embed = next((module for module in backbone.modules() if isinstance(module, AdaptivePatchEmbed)), None)
        self.sides = embed.sides if embed else []
        self.images = SumMetric()
        self.leaves = MetricCollection({_name(side): SumMetric() for side in self.sides}, compute_groups=False)

    @contextmanager
    def counting(self, backbone: Backbone) -> Iterator[None]:
        """Inside, what the backbone embeds is counted."""
        if not self.sides:
            yield
            return
        hook = backbone.checkpoint_module.get_submodule("patch_embed").register_forward_hook(self._count)
        try:
            yield
        finally:
            hook.remove()

    def _count(self, module: nn.Module, arguments: tuple[object, ...], made: tuple[Tensor, TokenLayout]) -> None:
        rows = made[1].rows
        assert rows is not None
        self.images.update(len(rows.grids))
        for side, count in zip(self.sides, leaf_counts(rows), strict=True):
            self.leaves[_name(side)].update(count)

    def compute(self) -> dict[str, float]:
        """leaves: of an image, the mean [1]; leaves_Npx: share of those of N px [%]. Empty where nothing is counted.
        The counts are 0 afterwards."""
        if not self.sides:
            return {}
        images, counts = self.images.compute().item(), {name: n.item() for name, n in self.leaves.compute().items()}
        self.images.reset()
        self.leaves.reset()
        found = sum(counts.values())
        return {"leaves": found / images, **{name: 100 * n / found for name, n in counts.items()}} if images else {}


def _name(side: int) -> str:
    return f"leaves_{side}px"
