"""Image decoding: from the bytes of a file to pixels. Every task and every data source decodes here and nowhere else.

An image is returned as 8-bit RGB with its EXIF orientation applied. Rules by Pillow's mode of the file:

    RGB, L, P, 1, CMYK, YCbCr   Pillow's convert("RGB"). Of 16-bit colour (and 16-bit grey with alpha) Pillow keeps the
                                upper 8 bits when it opens the file
    RGBA, LA, PA, transparency  the same; alpha is discarded, the colours stored beneath it are used (as in timm)
    I;16 in any byte order,     16-bit grey: value // 257, so that 65535 is white. 12-bit TIFF: value * 255 // 4095.
      I of PNG and PPM          Photometric interpretation "white is zero" is inverted
    I of other formats, F       rejected: 32-bit, signed and floating-point values do not define black and white
    several frames or pages     the first one
    ICC profile                 ignored

Departs: timm and torchvision ignore EXIF orientation. It is applied here, as in detectron2 and OpenCV, because labels
and boxes are drawn on the image as it is displayed. Pillow's getexif() finds it, in XMP too.

A label map holds one class number per pixel: values are never rescaled, palette colours are ignored. H W pixels.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from scaling.data.files.decoding_notes import DARK_BELOW, Note
from scaling.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Image.MAX_IMAGE_PIXELS = 2**28  # Pillow rejects images of more than twice as many pixels
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # a long comment or ICC profile is no defect
# Neither an image that is merely large nor damaged EXIF needs a warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Formats that Pillow opens but that are no raster images, or that it passes to other programs (EPS to Ghostscript).
EXCLUDED_FORMATS = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
TRANSPOSE = {  # EXIF orientation -> operation that undoes it
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
UINT16 = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP = ("I", "F", *UINT16)  # more than 8 bits per channel
ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
LABEL_MODES = ("1", "L", "P", "I", *UINT16)  # one number per pixel
JPEG_EOI, PNG_IEND = b"\xff\xd9", b"IEND"
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # neither a stuffed byte nor a restart marker
ZERO_FILLED = bytes(2)  # the end of an interrupted download whose file was preallocated
TAIL = 4096  # bytes at the end of a file in which the end marker is expected
PNG_TEXT, PNG_KEYS = (b"tEXt", b"zTXt", b"iTXt"), (b"Raw profile type exif", b"XML:com.adobe.xmp")
SIGNATURES = {  # how files begin that Pillow cannot open, and what they are
    b"\x89PNG\r\n\x1a\n": "damaged PNG",
    b"\xff\xd8\xff": "damaged JPEG",
    b"II*\0": "damaged TIFF, or one of a pixel layout that Pillow does not support",
    b"MM\0*": "damaged TIFF, or one of a pixel layout that Pillow does not support",
    b"version https://git-lfs": "a Git LFS pointer, not the image itself: run git lfs pull",
    b"<": "a web page or another text, not an image",
}


class ColourLabel(ValueError):
    """A label file with more than one number per pixel; the message is Pillow's mode."""


class Header(NamedTuple):
    """Properties of a readable image."""

    size: tuple[int, int]  # height and width with the orientation applied [px]
    note: Note


def decode_rgb(data: bytes) -> Image.Image:
    """Decode an image file to 8-bit RGB, upright. Raises OSError with the reason if it is unreadable or truncated."""
    with _opened(data) as image:
        image.load()
        return as_rgb(image)


def as_rgb(image: Image.Image) -> Image.Image:
    """A loaded image as 8-bit RGB, upright. Raises OSError for values without a defined white."""
    operation = TRANSPOSE.get(_orientation(image))
    rgb = (_to_8_bits(image) if image.mode in DEEP else image).convert("RGB")
    return rgb if operation is None else rgb.transpose(operation)


def decode_label(data: bytes) -> np.ndarray:
    """Decode a label map to class numbers (H, W), upright. Raises OSError as decode_rgb does, ColourLabel if the file
    has several channels."""
    with _opened(data) as image:
        image.load()
        if image.mode not in LABEL_MODES:
            raise ColourLabel(image.mode)
        operation = TRANSPOSE.get(_orientation(image))
        grey_png = image.format == "PNG" and image.mode == "L"
        number_HW = np.asarray(image if operation is None else image.transpose(operation))
    if grey_png and (bits := data[24]) < 8:  # Pillow rescales 2-bit and 4-bit grey to 0..255
        number_HW = number_HW // (255 // (2**bits - 1))
    return number_HW


def read_header(data: bytes) -> Header:
    """Size and notes of an image. 8-bit JPEG, PNG and WebP are not decoded unless their integrity or orientation cannot
    be determined otherwise. Raises OSError as decode_rgb does."""
    with _opened(data) as image:
        name, deep = image.format or "", image.mode in DEEP
        frames = name != "MPO" and _is_animated(image)  # further pictures of an MPO are previews or depth maps
        oriented = name != "PNG" or _png_may_have_orientation(data)
        if deep or not _is_complete(data, name) or (name == "PNG" and oriented):
            image.load()
        orientation = _orientation(image) if oriented else 1
        alpha = image.mode in ALPHA or "transparency" in image.info
        note = Note.ORIENTED * (orientation > 1) | Note.FRAMES * frames | Note.ALPHA * alpha
        if deep:
            note |= Note.DEEP | Note.DARK * bool(np.asarray(_to_8_bits(image)).max() < DARK_BELOW)
        width, height = image.size
    if name == "PNG":  # checksums, which decoding does not verify
        with _opened(data) as image:
            image.verify()
    return Header((width, height) if orientation >= 5 else (height, width), Note(note))


def orientation_hint(data: bytes) -> str:
    """Addition to the error message for a readable image of unexpected size whose EXIF swaps width and height."""
    with contextlib.suppress(Exception), _opened(data) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            return (
                f" (stored as {width}x{height} px with an EXIF orientation): if the stored pixels were annotated, "
                "remove the orientation from the EXIF of all images"
            )
    return ""


def image_tensor(image: Image.Image) -> Tensor:
    """(3, H, W) uint8, of an RGB image."""
    import torch

    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@contextlib.contextmanager
def naming_errors(name: Callable[[], object]) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged data into an OSError that begins with the file's name."""
    try:
        yield
    except ConfigError:
        raise
    except Exception as e:  # the exception's type depends on format and damage
        raise OSError(f"{name()}: {str(e) or type(e).__name__}") from e


@functools.cache
def _formats() -> tuple[str, ...]:
    """Formats to try, whatever the file's ending, the common ones first."""
    Image.preinit()
    Image.init()
    return tuple(name for name in Image.ID if name not in EXCLUDED_FORMATS)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    try:
        opened = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError as e:
        kinds = (kind for beginning, kind in SIGNATURES.items() if data.startswith(beginning))
        raise OSError(next(kinds, "not an image that Pillow can read" if data else "empty file")) from e
    with opened as image:
        if image.format == "PNG" and PNG_IEND not in data[-TAIL:] and PNG_IEND not in data:
            raise OSError("truncated PNG")
        if data.endswith(ZERO_FILLED) and image.format in ("JPEG", "MPO") and not _jpeg_has_end(data):
            raise OSError("truncated JPEG, filled up with zeros")  # which would decode to arbitrary pixels
        yield image


def _is_complete(data: bytes, name: str) -> bool:
    """Whether the file is complete, without decoding it. False: unknown, and Pillow's decoder decides, which rejects
    images with missing rows. A complete JPEG may lack its end marker or have a trailer (motion photos)."""
    if name == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return name == "PNG" or (name in ("JPEG", "MPO") and JPEG_EOI in data[-TAIL:])


def _jpeg_has_end(data: bytes) -> bool:
    """Whether the image's own end marker is present: embedded previews and trailers have theirs."""
    at = 2
    while (found := JPEG_MARKER.search(data, at)) and found[0][-1] != JPEG_EOI[1]:
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return found is not None


def _png_may_have_orientation(data: bytes) -> bool:
    """Whether there is an EXIF or XMP chunk, which may follow the pixels."""
    at = 8
    while at < len(data) and (kind := data[at + 4 : at + 8]) != PNG_IEND:
        if kind == b"eXIf" or (kind in PNG_TEXT and data.startswith(PNG_KEYS, at + 8)):
            return True
        at += int.from_bytes(data[at : at + 4], "big") + 12
    return False


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. 1 if absent or invalid, and for TIFF, where Pillow applies it. Loads a PNG."""
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF does not make an image unreadable
        return 1
    return found if isinstance(found, int) and found in TRANSPOSE else 1


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damage after the first frame does not matter
        return False


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Reduce deep grey to mode L. Raises OSError if the range of values is undefined."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise OSError(f"{kind} pixels do not define black and white; save it with 8 or 16 bits")
    tags = getattr(image, "tag_v2", {})
    white = 2 ** int(tags.get(258, (16,))[0]) - 1  # BitsPerSample
    value_HW = np.minimum(np.asarray(image).astype(np.uint32), white)
    if tags.get(262) == 0:  # PhotometricInterpretation: white is zero
        value_HW = white - value_HW
    return Image.fromarray((value_HW * 255 // white).astype(np.uint8))
