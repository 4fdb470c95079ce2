"""What decoding an image file changed or discarded: a flag per kind, and the messages about the images of a split."""

import enum

import numpy as np

DARK_BELOW = 16  # brightest 8-bit value of an image that uses the lower 12 of 16 bits only


class Note(enum.IntFlag):
    """What decoding changed or discarded, as far as the user should know it."""

    ORIENTED = 1
    DEEP = 2
    DARK = 4
    FRAMES = 8
    ALPHA = 16


MESSAGES = {
    Note.ORIENTED: "have an EXIF orientation, which is applied: labels and boxes must refer to the displayed image",
    Note.DEEP: "are 16-bit or 12-bit grey and were reduced to 8 bits; the highest value of the bit depth is white",
    Note.DARK: f"use only the lower 12 of 16 bits, which leaves {DARK_BELOW} grey levels: if their depth is 12 bits or "
    "less, rescale the files to 16 bits",
    Note.FRAMES: "have more than one frame or page; the first is used",
    Note.ALPHA: "have an alpha channel or a transparent colour, which is discarded",
}


def digest_parts(note: Note) -> tuple[bytes, ...]:
    """Extra content for the digest of an image that earlier versions decoded to other pixels; empty for most."""
    changed = note and note & (Note.ORIENTED | Note.DEEP)
    return (str(int(changed)).encode(),) if changed else ()


def note_lines(notes: np.ndarray, split: str) -> tuple[str, ...]:
    """Messages about the images of a split. notes: Note of each, as uint8."""
    counts = {note: int((notes & note.value > 0).sum()) for note in Note}
    return tuple(f"{n} of {len(notes)} {split} images {MESSAGES[note]}" for note, n in counts.items() if n)
