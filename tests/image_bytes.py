"""Image files of every kind, made by hand where Pillow writes none: what is in them is known without a decoder."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour type by samples a pixel
TURNED = {  # what is seen of stored pixels (H, W, ...), by EXIF's orientation: JEITA CP-3451, 4.6.4
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def exif(orientation):
    """EXIF of this alone, as it stands in a file."""
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found.tobytes()


def by_pillow(image, kind, orientation=1, **options):
    out = io.BytesIO()
    if orientation > 1:
        options["exif"] = exif(orientation)
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, bits=8, orientation=1, palette=None, late=False):
    """values: (H, W) or (H, W, samples); bits: of a sample, 1 to 16. late: EXIF stands behind the pixels."""
    values = np.asarray(values)
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    rows = values.reshape(height, -1)
    if bits == 16:
        lines = [row.astype(">u2").tobytes() for row in rows]
    else:  # most significant bits first
        lines = [
            np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :].reshape(-1)).tobytes()
            for row in rows
        ]
    colour = 3 if palette is not None else PNG_COLOURS[samples]
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if palette is not None:
        parts.append(chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes()))
    said = [chunk(b"eXIf", exif(orientation).removeprefix(b"Exif\0\0"))] if orientation > 1 else []
    pixels = [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))]
    parts += pixels + said if late else said + pixels
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def tiff(values, order="<", photometric=1, orientation=1, bits=0, format=1, extra=None):
    """values: (H, W) or (H, W, samples) of 8, 16 or 32 bits, or packed rows with `bits` said. order: < or >."""
    values = np.asarray(values)
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    depth = bits or values.dtype.itemsize * 8
    data = packed(values, bits) if bits else values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [  # number, type (3: two bytes, 4: four), values
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [depth] * samples),
        (259, 3, [1]),
        (262, 3, [photometric]),
        (273, 4, [0]),
        (274, 3, [orientation]),
        (277, 3, [samples]),
        (278, 4, [height]),
        (279, 4, [len(data)]),
        *([(338, 3, [extra])] if extra is not None else []),
        (339, 3, [format] * samples),
    ]
    behind = 8 + 2 + 12 * len(tags) + 4
    entries, rest = b"", b""
    start = behind + sum(2 * len(held) for _, kind, held in tags if kind == 3 and len(held) > 2)
    for number, kind, held in tags:
        held = [start] if number == 273 else held
        raw = struct.pack(f"{order}{len(held)}{'H' if kind == 3 else 'I'}", *held)
        if len(raw) > 4:
            rest += raw
            raw = struct.pack(f"{order}I", behind + len(rest) - len(raw))
        entries += struct.pack(f"{order}HHI", number, kind, len(held)) + raw.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return head + struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0) + rest + data


def packed(values, bits):
    """Rows of so many bits a sample, most significant first, each row filled up to a byte."""
    wide = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=2)
    return b"".join(np.packbits(row[:, 16 - bits :].reshape(-1)).tobytes() for row in wide)
