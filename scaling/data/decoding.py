"""From the bytes of an image file to pixels, for every task and every source: the only place that decodes.

An image becomes RGB, 8 bits a channel, upright. What Pillow opens as | and what becomes of it:

    RGB, L, P, 1, CMYK, YCbCr   Pillow's convert("RGB"): bits as ever. Of 16 bits a channel in colour, or in grey with
                                transparency, Pillow keeps the upper 8
    RGBA, LA, PA, transparency  the same: alpha is dropped, colours below it are as they are stored (as timm has it)
    I;16 in any byte order, I   16 bits of grey: value // 257, so that 65535 is white. (Of 12 bits, in TIFF: 4095 is.)
      of PNG and of PPM         TIFF's "white is 0" is turned round
    I of other files, F         refused: 32-bit and floating-point values do not say what black and white are
    more than one frame         the first
    colour profile              not applied: values as they are stored

Departs: timm and torchvision take the pixels as they are stored; here EXIF's orientation is followed, as detectron2,
OpenCV and every viewer do, since labels and boxes are drawn on what is seen. Pillow's getexif() finds it, in XMP too.

A label is a class number a pixel: never scaled to 8 bits, colours of its palette unseen. H W pixels.
"""

import contextlib
import enum
import functools
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from scaling.recipe import BadInput

MOST_PIXELS = 2**28  # of an image; more is a decompression bomb: a bad image, not a dead machine
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # a long comment or profile is no bad image
# Pillow warns of large images and of damaged EXIF: the one is an error below, the other no matter.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

# Of what Pillow opens: data that are no pictures, and formats that it has other programs draw.
NO_PICTURES = ("BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
NUMBERS = ("1", "L", "P", "I", *DEEP)  # one number a pixel
END_OF_JPEG, END_OF_PNG = b"\xff\xd9", b"IEND"
MARKER = re.compile(
    rb"\xff[^\x00\xff\xd0-\xd7]"
)  # of a JPEG, among its pixels too: no zero that is stuffed, no restart
FILLED_UP = bytes(2)  # as the end of a download that has not come so far
TAIL = 4096  # of a file, where its end is looked for first [bytes]
TEXTS, LIES = (b"tEXt", b"zTXt", b"iTXt"), (b"Raw profile type exif", b"XML:com.adobe.xmp")  # a PNG's, on how it lies
LEVELS = 16  # of 8 bits that are left of the lower 12 of 16


class Note(enum.IntFlag):
    """What was done to an image that its reader should know of."""

    TURNED = 1
    DEEP = 2
    DARK = 4
    FRAMES = 8
    ALPHA = 16


SAID = {
    Note.TURNED: "turned upright, as EXIF says that they are stored otherwise: labels and boxes are taken to lie on "
    "the upright image",
    Note.DEEP: "grey with more than 8 bits: brought to 8, the highest value that the bits can hold being white",
    Note.DARK: f"dark: of 16 bits the lower 12 alone are used, of which 8 bits keep {LEVELS} levels. If no more were "
    "measured, multiply them up to 16 bits first",
    Note.FRAMES: "of more than one frame or page: the first is taken",
    Note.ALPHA: "with an alpha channel or a transparent colour, which is dropped: colours are taken as they are stored",
}


class Colours(ValueError):
    """A label with more than a number a pixel."""


class Header(NamedTuple):
    """Of an image that can be read."""

    size: tuple[int, int]  # height and width of the upright image [px]
    note: Note


def upright(data: bytes) -> Image.Image:
    """The image, RGB. Raises OSError with the reason where there is none, or but a part of one."""
    with _opened(data) as image:
        image.load()
        turn = TURNS.get(_orientation(image))
        pixels = (_eight_bits(image) if image.mode in ("I", "F", *DEEP) else image).convert("RGB")
        return pixels if turn is None else pixels.transpose(turn)


def class_numbers(data: bytes) -> np.ndarray:
    """(H, W): a label's numbers, upright. Raises OSError as upright does, Colours, with the mode, where there is more
    than a number a pixel."""
    with _opened(data) as image:
        image.load()
        if image.mode not in NUMBERS:
            raise Colours(image.mode)
        turn, png = TURNS.get(_orientation(image)), image.format == "PNG" and image.mode == "L"
        number_HW = np.asarray(image if turn is None else image.transpose(turn))
    if png and (bits := data[24]) < 8:  # Pillow spreads 2 and 4 bits of grey over 8
        number_HW = number_HW // (255 // (2**bits - 1))
    return number_HW


def examined(data: bytes) -> Header:
    """What an image is, by both its ends: the pixels of a JPEG, PNG or WebP of 8 bits are decoded only where these
    leave it open. Raises OSError as upright does."""
    with _opened(data) as image:
        form, deep = image.format or "", image.mode in ("I", "F", *DEEP)
        frames = form != "MPO" and _frames(image)  # whose other pictures are a depth map or a preview
        png, whole = form == "PNG", _has_its_end(data, form)
        turned = not png or _may_be_turned(data)
        if not whole or deep or (png and turned):
            image.load()
        orientation = _orientation(image) if turned else 1
        alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        note = Note.TURNED * (orientation > 1) | Note.FRAMES * frames | Note.ALPHA * alpha
        if deep:
            note |= Note.DEEP | Note.DARK * bool(np.asarray(_eight_bits(image)).max() < LEVELS)
        width, height = image.size
    if png:  # the sums of all its chunks, which decoding does not look at
        with _opened(data) as image:
            image.verify()
    return Header((width, height) if orientation >= 5 else (height, width), Note(note))


def how_it_lies(data: bytes) -> str:
    """What to say more of an image that is not as large as is said elsewhere, but would be if EXIF did not turn it."""
    with contextlib.suppress(Exception), _opened(data) as image:
        width, height = image.size
        if _orientation(image) >= 5:
            return (
                f"; stored it has {width}x{height} px, its EXIF turns it: if those pixels were labelled, take the "
                "orientation out of the EXIF of all images"
            )
    return ""


def mark(note: Note) -> tuple[bytes, ...]:
    """What tells, for a digest, an image that was once decoded to other pixels. Nothing for most."""
    return tuple(n.name.encode() for n in (Note.TURNED, Note.DEEP) if n in note and n.name)


def noted(notes: np.ndarray, what: str) -> tuple[str, ...]:
    """Lines for the user. notes: of all images, as numbers; what: the images are."""
    counts = {note: int((notes & note.value > 0).sum()) for note in Note}
    return tuple(f"{n} of {len(notes)} {what} images are {SAID[note]}" for note, n in counts.items() if n)


@contextlib.contextmanager
def said_of(name: Callable[[], object]) -> Iterator[None]:
    """What Pillow raises on bad bytes becomes an OSError that names the file."""
    try:
        yield
    except BadInput:
        raise
    except Exception as e:  # as many kinds of it as there are formats and bytes
        reason = "not an image that Pillow reads" if isinstance(e, UnidentifiedImageError) else str(e)
        raise OSError(f"{name()}: {reason or type(e).__name__}") from e


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those that are opened, whatever a file's ending is."""
    Image.init()
    return tuple(name for name in Image.ID if name not in NO_PICTURES)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(data), formats=_formats()) as image:
        if image.width * image.height > MOST_PIXELS:
            raise OSError(f"{image.width}x{image.height} px; {MOST_PIXELS} pixels are the most that is read")
        if image.format == "PNG" and END_OF_PNG not in data[-TAIL:] and END_OF_PNG not in data:
            raise OSError("truncated PNG")
        if data.endswith(FILLED_UP) and image.format in ("JPEG", "MPO") and not _jpeg_ends(data):
            raise OSError("truncated JPEG, filled up with zeros")  # which decode to something
        yield image


def _jpeg_ends(data: bytes) -> bool:
    """Whether the image's own end mark is there: a preview in its EXIF has one too, and so may what is behind it."""
    at = 2
    while (found := MARKER.search(data, at)) and found[0][-1] != END_OF_JPEG[1]:
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return found is not None


def _has_its_end(data: bytes, form: str) -> bool:
    """Whether that is sure without a look at the pixels. A JPEG's end mark may be missing, or have something behind it
    (the film of a motion photo), and the image be whole: only decoding tells. Pillow refuses what lacks a row."""
    if form == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return form == "PNG" or (form in ("JPEG", "MPO") and END_OF_JPEG in data[-TAIL:])


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 too for what is none, and for TIFF, which Pillow turns itself. Loads a PNG."""
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF is no damaged image
        return 1
    return found if isinstance(found, int) and found in TURNS else 1


def _may_be_turned(png: bytes) -> bool:
    """Whether one of its chunks, which may stand behind the pixels, can have an orientation."""
    at = 8
    while at < len(png) and png[at + 4 : at + 8] != END_OF_PNG:
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        if kind == b"eXIf" or (kind in TEXTS and png.startswith(LIES, at + 8)):
            return True
        at += size + 12
    return False


def _frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what is behind the first frame does not matter
        return False


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey, of 8 bits. Raises OSError for values that do not say what white is."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "32-bit or signed"
        raise OSError(f"{kind} pixels do not say what is black and what white: save it with 8 or 16 bits")
    tags = getattr(image, "tag_v2", {})
    white = 2 ** int(tags.get(258, (16,))[0]) - 1
    value_HW = np.minimum(np.asarray(image).astype(np.uint32), white)
    if tags.get(262) == 0:
        value_HW = white - value_HW
    return Image.fromarray((value_HW * 255 // white).astype(np.uint8))
