"""Adventurer as a backbone: Features instead of logits. Letters as in adventurer.py."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from scaling.backbones.adventurer import Adventurer
from scaling.backbones.base import Backbone, Features, ResidualStream
from scaling.backbones.init import initialise_by_name
from scaling.backbones.patch_embed import PatchEmbed
from scaling.backbones.sincos import Reference
from scaling.backbones.ssd.backend import backend
from scaling.model_specs import ModelSpec
from scaling.packing.packed_images import PackedImages


class AdventurerBackbone(Backbone):
    """Adventurer without a classifier; images may have any sides that the patch divides."""

    def __init__(
        self,
        size: ModelSpec,
        image: int,
        patch: int,
        *,
        scan_direction: str = "released",
        drop_path: float = 0.0,
        pos_embed: str = "learned",
        reference: Reference | None = None,
        patch_embed: PatchEmbed | None = None,
        position_options: Mapping[str, object] | None = None,
    ) -> None:
        """Arguments as Adventurer's. Raises ConfigError."""
        super().__init__(size.width, patch, size.depth)
        self.net = Adventurer(
            size,
            image,
            patch,
            scan_direction=scan_direction,
            drop_path=drop_path,
            pos_embed=pos_embed,
            reference=reference,
            patch_embed=patch_embed,
            position_options=position_options,
            dynamic_img_size=True,
        )

    def forward(
        self, image_BCHW: Tensor | PackedImages, blocks: Sequence[int] = (), patch_size: int | None = None
    ) -> Features:
        x_BTD, hidden, layout = self.net.encode(image_BCHW, blocks, patch_size=patch_size)
        x_BTD = self.net.norm_f(x_BTD)
        tokens = tuple(layout.patches(y_BTD) for y_BTD in hidden)
        return Features(layout.patches(x_BTD), layout.class_token(x_BTD), layout, tokens)

    def initialise(self, seed: int) -> None:
        """Draw every weight from the seed and the name of its module."""
        initialise_by_name(self.net, seed, self.net.draw)

    @property
    def checkpoint_module(self) -> nn.Module:
        """The module whose keys are those of the released checkpoints."""
        return self.net

    @property
    def positioned_class_tokens(self) -> tuple[int, int]:
        return 0, 1

    def convert_state_dict(self, state: dict[str, Tensor], pos_embed_resampling: str = "aligned") -> dict[str, Tensor]:
        return self.net.convert_state_dict(state, pos_embed_resampling)

    def residual_stream(self) -> ResidualStream:
        return ResidualStream(list(self.net.layers), "norm_mlp", 0, -1)

    def scan_backend(self, device: str) -> str:
        return backend(device).name
