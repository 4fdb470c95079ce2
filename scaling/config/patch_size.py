"""Patch sizes that an image can have. Standard library only."""

from scaling.errors import ConfigError


def nearest_dividing(img_size: int, patch_size: int) -> list[int]:
    """The divisors of img_size [px] next below and next above patch_size [px] (one of them where there is only one)."""
    divisors = [d for d in range(1, img_size + 1) if img_size % d == 0]
    below = [d for d in divisors if d < patch_size][-1:]
    above = [d for d in divisors if d > patch_size][:1]
    return below + above


def check_patch(img_size: int, patch_size: int) -> None:
    """Raise ConfigError unless square patches of patch_size [px] tile a side of img_size [px]."""
    if patch_size < 1:
        raise ConfigError(
            f"patch {patch_size} is not a size; a patch is 1 px or more and divides the image ({img_size} px)"
        )
    if img_size % patch_size:
        near = ", ".join(str(d) for d in nearest_dividing(img_size, patch_size))
        raise ConfigError(f"patch {patch_size} does not divide a {img_size} px image; nearest that do: {near}")
