"""A label file's numbers are its classes, in any number of bits, grey or palette, and lie where the image is seen."""

import numpy as np
import pytest
import torch
from PIL import Image

from scaling.config.edit import make_config
from scaling.data.files.decoding import decode_label
from scaling.data.files.segmentation_folder import find_split
from scaling.errors import ConfigError
from tests.image_bytes import TURNED, by_pillow, png

H, W = 6, 10
NUMBERS = np.random.default_rng(7).integers(0, 256, (H, W))
PALETTE = np.random.default_rng(8).integers(0, 256, (256, 3))


@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_numbers_are_read_as_they_are_stored(bits, palette):
    numbers = NUMBERS % 2**bits
    data = png(numbers, bits, palette=PALETTE[: 2**bits] if palette else None)
    np.testing.assert_array_equal(decode_label(data), numbers)


def test_sixteen_bits_are_class_numbers_too():
    numbers = NUMBERS * 200
    np.testing.assert_array_equal(decode_label(png(numbers, 16)), numbers)


def write(root, image, label):
    for folder, name, data in (("images", "0.png", image), ("annotations", "0.png", label)):
        (root / folder / "train").mkdir(parents=True, exist_ok=True)
        (root / folder / "train" / name).write_bytes(data)
    config = make_config(task="segment", dataset="folder", data_root=str(root), num_classes=4, img_size=16)
    return find_split(root, "train", config)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_same_classes_come_from_every_depth(tmp_path, bits):
    """Of 2 bits, 3 is class 3 and not the 255 that has no class."""
    scenes = write(tmp_path, png(NUMBERS), png(NUMBERS % 4, bits))
    assert torch.equal(scenes.load(0)[1], torch.from_numpy(NUMBERS % 4).to(torch.uint8))
    assert scenes.examine(0).bad == ""


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_label_lie_alike_however_either_is_stored(tmp_path, orientation, deep):
    """The image stored by EXIF's orientation, its label upright; and the label stored so too."""
    back = {6: 8, 8: 6}.get(orientation, orientation)  # what undoes it
    image = png(TURNED[back](NUMBERS), orientation=orientation)
    labels = [png(NUMBERS % 4, 16 if deep else 8), png(TURNED[back](NUMBERS % 4), 16 if deep else 8, orientation)]
    for label in labels:
        scenes = write(tmp_path, image, label)
        image_CHW, label_HW = scenes.load(0)
        assert torch.equal(image_CHW[0] % 4, label_HW)
        assert scenes.examine(0).size == (H, W)


@pytest.mark.parametrize("orientation", range(5, 9))
def test_a_label_of_the_pixels_as_stored_is_refused_with_what_would_do(tmp_path, orientation):
    scenes = write(tmp_path, png(NUMBERS, orientation=orientation), png(NUMBERS % 4))
    for look in (scenes.load, scenes.examine):
        with pytest.raises(
            ConfigError, match=rf"has {H}x{W} px, its label \S* {W}x{H} px \(stored as {W}x{H} px with an EXIF"
        ):
            look(0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_label_of_more_than_a_number_a_pixel_is_refused(tmp_path, mode):
    label = by_pillow(Image.fromarray((NUMBERS % 4).astype(np.uint8)).convert(mode), "PNG")
    with pytest.raises(ConfigError, match=rf"label \S*0\.png has colours \({mode}\)"):
        write(tmp_path, png(NUMBERS), label).load(0)
