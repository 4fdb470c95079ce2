"""Small image files, whole and damaged, for the tests of what reads them."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from scaling.config.step_shapes import StepShape
from scaling.data.batch import Batch
from scaling.data.datamodule import ImageDataModule
from scaling.rng import SampleKey


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


def prepared(config, num_workers=0):
    data = ImageDataModule(config, num_workers)
    data.setup()
    return data


def batch_of(config, pixels, targets, skipped=0):
    """A batch of these images, as if they were the first of the recipe's data."""
    keys, shape = (
        [SampleKey(0, i) for i in range(len(pixels))],
        StepShape(config.model.patch_size, config.model.img_size),
    )
    return Batch(pixels, keys, shape, targets, skipped)


def with_targets(batch, **fields):
    return replace(batch, targets=batch.targets._replace(**fields))


def write_classes(folder, names, train, test):
    """Folders train/ and test/ with so many pictures of every class."""
    for split, n in (("train", train), ("test", test)):
        for label, name in enumerate(names):
            where = folder / split / name
            where.mkdir(parents=True)
            for i in range(n):
                (where / f"{i}.jpg").write_bytes(picture(label, i))
