"""Patch embeddings by one kernel: pixels to tokens; and the bases of all others (patch_embeds.py lists them).

conv      a convolution whose kernel and stride are the patch: smaller patches, more tokens, all from pixels
extended  the same at a larger patch; its tokens are interpolated to as many as the patch gives, without new pixels
          (Table 5 of arXiv 2502.03738 compares the two)
flexible  one kernel, resized to the patch size of every call (FlexiViT, arXiv 2212.08013; resampling.py)

B batch, C channels, H W pixels, L patches, D width.
"""

import logging

import torch.nn.functional as F
from timm.layers import resample_patch_embed
from torch import Tensor, nn

from scaling.backbones.base import TokenLayout
from scaling.backbones.embed_init import embed_conv
from scaling.backbones.resampling import BICUBIC, Filter, enlarge_kernel, resize_kernel
from scaling.config.embed_shapes import Convolution
from scaling.config.fields import check_name
from scaling.config.patch_embeds import RELEASED, RESIZE_METHODS
from scaling.config.patch_size import check_patch
from scaling.errors import ConfigError
from scaling.packing.packed_images import PackedImages

Images = Tensor | PackedImages  # (B, C, H, W), or of any sizes

LOG = logging.getLogger(__name__)
KERNEL = "patch_embed.proj.weight"  # its name in public checkpoints


def check_image(image_BCHW: Tensor, patch: int) -> tuple[int, int]:
    """Patches along the height and the width of images. Raises ConfigError where they do not tile it."""
    height, width = image_BCHW.shape[-2:]
    if height % patch or width % patch:
        raise ConfigError(f"patches of {patch} px do not tile images of {height} x {width} px; pad them first")
    return height // patch, width // patch


class PatchEmbed(nn.Module):
    """Base of all patch embeddings, built for square images of `image` px in patches of patch_size px."""

    def __init__(self, channels: int, width: int, image: int, patch_size: int) -> None:
        """channels: of the image; width: D. Raises ConfigError where the patches do not tile the image."""
        super().__init__()
        check_patch(image, patch_size)
        self.patch_size, self.grid_size = patch_size, (image // patch_size, image // patch_size)

    def forward(self, image_BCHW: Images, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        """Tokens (B, L, D) and where they lie; those of packed images are (1, L, D), image by image. patch_size: of
        this call [px]; None: the one it is built for. Raises ConfigError for a patch size that the embedding does not
        have."""
        raise NotImplementedError

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """A checkpoint's tensors under `patch_embed.`, resampled to this embedding; all others as they are. how: the
        filter, where the embedding has none of its own."""
        return state


class MapPatchEmbed(PatchEmbed):
    """Base of embeddings with one patch size that make a map of tokens from an image."""

    def forward(self, image_BCHW: Images, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        if patch_size not in (None, self.patch_size):
            raise ConfigError(
                f"patch {patch_size} differs from {self.patch_size}, the only patch size of this embedding: its kernel "
                "is not resized between steps"
            )
        if isinstance(image_BCHW, PackedImages):
            return self._packed(image_BCHW)
        grid = check_image(image_BCHW, self.patch_size)
        layout = TokenLayout(self.patch_size, image_BCHW.device, grid)
        return self._map(image_BCHW, grid).flatten(2).transpose(1, 2), layout

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens as a map (B, D, h, w)."""
        raise NotImplementedError

    def _packed(self, images: PackedImages) -> tuple[Tensor, TokenLayout]:
        raise ConfigError(
            f"{type(self).__name__} reads pixels around a patch, which packed images do not have beside it: set "
            "--patch-embed conv"
        )


class ConvPatchEmbed(MapPatchEmbed):
    """A convolution whose kernel is its stride: a linear map of the flattened patch."""

    def __init__(
        self, channels: int, width: int, image: int, patch_size: int, kernel: int = 0, embed_init: str = RELEASED
    ) -> None:
        """kernel: side of the convolution's kernel and stride [px]; 0: patch_size. embed_init: one of INITS."""
        super().__init__(channels, width, image, patch_size)
        side = kernel or patch_size
        self.proj = embed_conv(Convolution(side, side, channels, width), embed_init)

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.proj(image_BCHW)

    def _packed(self, images: PackedImages) -> tuple[Tensor, TokenLayout]:
        return _linear(images, self.patch_size, self.proj.weight, self.proj.bias)

    def convert_state_dict(self, state: dict[str, Tensor], how: Filter = BICUBIC) -> dict[str, Tensor]:
        """The kernel resampled by its pseudo-inverse (FlexiViT, arXiv 2212.08013, section 3.4), as timm does."""
        own, kernel = self.proj.weight.shape[-1], state.get(KERNEL)
        if kernel is None or kernel.ndim != 4 or kernel.shape[-1] == own:
            return state
        return {**state, KERNEL: self._resampled(kernel, own, how)}

    def _resampled(self, kernel_DCpp: Tensor, side: int, how: Filter) -> Tensor:
        return resample_patch_embed(kernel_DCpp, [side, side], **how)


class ExtendedPatchEmbed(ConvPatchEmbed):
    """A convolution at a larger patch, its map interpolated (bicubic) to as many tokens as patches of patch_size px
    give."""

    def __init__(self, channels: int, width: int, image: int, patch_size: int, embed_patch_size: int) -> None:
        """embed_patch_size: the larger patch [px]. Raises ConfigError where it is smaller than patch_size."""
        if embed_patch_size < patch_size:
            raise ConfigError(
                f"embed_patch_size {embed_patch_size} is below patch_size {patch_size}: a sequence is extended from a "
                "larger patch, such as 16"
            )
        super().__init__(channels, width, image, patch_size, embed_patch_size)

    def _map(self, image_BCHW: Tensor, grid: tuple[int, int]) -> Tensor:
        check_image(image_BCHW, self.proj.kernel_size[0])
        return F.interpolate(self.proj(image_BCHW), grid, mode="bicubic", align_corners=False)

    def _packed(self, images: PackedImages) -> tuple[Tensor, TokenLayout]:
        raise ConfigError("an extended embedding interpolates maps of tokens, which packed images do not have")


class FlexiblePatchEmbed(ConvPatchEmbed):
    """One learned kernel, resized to the patch size of every call. It is resized in each forward pass, so that its
    gradient is that of the learned kernel."""

    def __init__(
        self,
        channels: int,
        width: int,
        image: int,
        patch_size: int,
        kernel_size: int = 32,
        resize: str = "pi",
        antialias: bool = True,
    ) -> None:
        """patch_size: of calls that give none. kernel_size: side of the learned kernel [px]. resize, antialias: as
        resize_kernel's. Raises ConfigError."""
        super().__init__(channels, width, image, patch_size, kernel_size)
        check_name("resize", resize, RESIZE_METHODS)
        self.resize, self.antialias = resize, antialias

    def forward(self, image_BCHW: Images, patch_size: int | None = None) -> tuple[Tensor, TokenLayout]:
        patch = patch_size or self.patch_size
        kernel_DCpp = resize_kernel(self.proj.weight, patch, self.resize, self.antialias)
        if isinstance(image_BCHW, PackedImages):
            return _linear(image_BCHW, patch, kernel_DCpp, self.proj.bias)
        layout = TokenLayout(patch, image_BCHW.device, check_image(image_BCHW, patch))
        map_BDhw = F.conv2d(image_BCHW, kernel_DCpp, self.proj.bias, patch)
        return map_BDhw.flatten(2).transpose(1, 2), layout

    def _resampled(self, kernel_DCpp: Tensor, side: int, how: Filter) -> Tensor:
        """By this embedding's own method. Tokens of a smaller kernel stay the same at its own patch size."""
        old = kernel_DCpp.shape[-1]
        what = f"stay the same at patch {old} alone" if old < side else "change at every patch size"
        LOG.warning(
            "a kernel of %d px becomes one of %d px: tokens %s; --kernel-size %d keeps it", old, side, what, old
        )
        change = enlarge_kernel if old < side else resize_kernel
        return change(kernel_DCpp, side, self.resize, self.antialias)


def _linear(images: PackedImages, patch: int, kernel_DCpp: Tensor, bias_D: Tensor | None) -> tuple[Tensor, TokenLayout]:
    """A convolution whose kernel is its stride, on patches that are apart already. Raises ConfigError where they have
    another size."""
    if images.patch_px != patch:
        raise ConfigError(f"the images are packed in patches of {images.patch_px} px; the embedding is at {patch} px")
    tokens_LD = F.linear(images.patch_LP, kernel_DCpp.flatten(1), bias_D)
    return tokens_LD.unsqueeze(0), TokenLayout(patch, tokens_LD.device, rows=images.rows)
