"""Small image files, whole and damaged, for the tests of what reads them."""

import io

import numpy as np
from PIL import Image

from scaling.data.datamodule import ImageDataModule


def picture(label: int, number: int, kind: str = "JPEG") -> bytes:
    """A 20 x 16 px image of one colour that says its label."""
    pixels = np.full((16, 20, 3), 60 + 60 * label, np.uint8)
    pixels[0, 0] = number
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


BAD_FILES = {
    "truncated": lambda: picture(0, 0)[:300],
    "text": lambda: b"this is no image, whatever its name says",
    "empty": lambda: b"",
    "png cut short": lambda: picture(0, 0, "PNG")[:-20],
}


def hollow() -> bytes:
    """A JPEG whose quantization tables are comments: it passes for an image until it is decoded."""
    return picture(0, 0).replace(b"\xff\xdb", b"\xff\xfe")


def prepared(recipe, workers=0):
    data = ImageDataModule(recipe, workers)
    data.prepare()
    return data


def write_classes(folder, names, train, test):
    """Folders train/ and test/ with so many pictures of every class."""
    for split, n in (("train", train), ("test", test)):
        for label, name in enumerate(names):
            where = folder / split / name
            where.mkdir(parents=True)
            for i in range(n):
                (where / f"{i}.jpg").write_bytes(picture(label, i))
