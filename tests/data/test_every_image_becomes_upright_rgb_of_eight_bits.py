"""What is in an image file, whatever its mode, depth, format and orientation, comes out the same on every road:
class folders, tars, shards, Hugging Face data sets, scenes with labels, images with boxes."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image, features

from scaling.config.edit import make_config
from scaling.data.coco.coco_json import read_coco
from scaling.data.files.decoding import decode_rgb, read_header
from scaling.data.files.decoding_notes import Note
from scaling.data.files.image_folder import Files
from scaling.data.files.segmentation_folder import find_split
from tests.image_bytes import TURNED, by_pillow, png, tiff

H, W = 6, 8
RANDOM = np.random.default_rng(16)
RGB = RANDOM.integers(0, 256, (H, W, 3)).astype(np.uint8)
GREY = RANDOM.integers(0, 256, (H, W)).astype(np.uint8)
ALPHA = RANDOM.integers(0, 256, (H, W)).astype(np.uint8)
GREY16 = RANDOM.integers(0, 2**16, (H, W)).astype(np.uint16)
RGB16 = RANDOM.integers(0, 2**16, (H, W, 3)).astype(np.uint16)
ALPHA16 = RANDOM.integers(0, 2**16, (H, W)).astype(np.uint16)
GREY12 = RANDOM.integers(0, 2**12, (H, W)).astype(np.uint16)
PALETTE = RANDOM.integers(0, 256, (256, 3)).astype(np.uint8)


def with_palette(transparency=None):
    image = Image.frombytes("P", (W, H), GREY.tobytes())
    image.putpalette(PALETTE.tobytes())
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def grey(values):
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def stored(data):
    """What a lossy file has: Pillow's pixels of it, as they are stored."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def and_(values, alpha):
    return np.concatenate([values.reshape(H, W, -1), alpha[..., None]], axis=2)


# Kind: ending, the file by EXIF's orientation, and its stored pixels in RGB; None: lossy, so as Pillow decodes them.
ORIENTED = {
    "png, RGB": ("png", lambda o: png(RGB, orientation=o), RGB),
    "png, RGB, EXIF at its end": ("png", lambda o: png(RGB, orientation=o, late=True), RGB),
    "png, RGBA": ("png", lambda o: png(and_(RGB, ALPHA), orientation=o), RGB),
    "png, L": ("png", lambda o: png(GREY, orientation=o), grey(GREY)),
    "png, LA": ("png", lambda o: png(and_(GREY, ALPHA), orientation=o), grey(GREY)),
    "png, 1": ("png", lambda o: png(GREY > 127, 1, o), grey(255 * (GREY > 127))),
    "png, 2 bits": ("png", lambda o: png(GREY // 64, 2, o), grey(85 * (GREY // 64))),
    "png, 4 bits": ("png", lambda o: png(GREY // 16, 4, o), grey(17 * (GREY // 16))),
    "png, P": ("png", lambda o: png(GREY, 8, o, PALETTE), PALETTE[GREY]),
    "png, P of 4 bits": ("png", lambda o: png(GREY // 16, 4, o, PALETTE[:16]), PALETTE[GREY // 16]),
    "png, P with a transparent colour": ("png", lambda o: by_pillow(with_palette(7), "PNG", o), PALETTE[GREY]),
    "png, P with alphas": ("png", lambda o: by_pillow(with_palette(PALETTE[:, 0].tobytes()), "PNG", o), PALETTE[GREY]),
    "png, 16 bits": ("png", lambda o: png(GREY16, 16, o), grey(GREY16 // 257)),
    "png, 16 bits and alpha": ("png", lambda o: png(and_(GREY16, ALPHA16), 16, o), grey(GREY16 >> 8)),
    "png, RGB of 16 bits": ("png", lambda o: png(RGB16, 16, o), RGB16 >> 8),
    "png, RGBA of 16 bits": ("png", lambda o: png(and_(RGB16, ALPHA16), 16, o), RGB16 >> 8),
    "jpeg, RGB": ("jpg", lambda o: by_pillow(Image.fromarray(RGB), "JPEG", o), None),
    "jpeg, progressive": ("jpeg", lambda o: by_pillow(Image.fromarray(RGB), "JPEG", o, progressive=True), None),
    "jpeg, L": ("JPG", lambda o: by_pillow(Image.fromarray(GREY), "JPEG", o), None),
    "jpeg, CMYK": ("JPEG", lambda o: by_pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG", o), None),
    "mpo, as cameras and phones write": (
        "jpg",
        lambda o: by_pillow(
            Image.fromarray(RGB), "MPO", o, save_all=True, append_images=[Image.new("RGB", (W, H), (9, 9, 9))]
        ),
        None,
    ),
    "webp, RGB": ("webp", lambda o: by_pillow(Image.fromarray(RGB), "WEBP", o, lossless=True), RGB),
    "webp, RGBA": (
        "WebP",
        lambda o: by_pillow(Image.fromarray(and_(RGB, ALPHA)), "WEBP", o, lossless=True, exact=True),
        RGB,
    ),
    "tiff, RGB, big-endian": ("tif", lambda o: tiff(RGB, ">", 2, o), RGB),
    "tiff, L": ("TIFF", lambda o: tiff(GREY, "<", 1, o), grey(GREY)),
    "tiff, L, white is 0": ("tiff", lambda o: tiff(GREY, "<", 0, o), grey(255 - GREY)),
    "tiff, 16 bits": ("tif", lambda o: tiff(GREY16, "<", 1, o), grey(GREY16 // 257)),
    "tiff, 16 bits, big-endian": ("tif", lambda o: tiff(GREY16, ">", 1, o), grey(GREY16 // 257)),
    "tiff, 16 bits, white is 0": ("tif", lambda o: tiff(GREY16, "<", 0, o), grey((65535 - GREY16) // 257)),
    "tiff, 12 bits": ("tif", lambda o: tiff(GREY12, "<", 1, o, bits=12), grey(GREY12 * 255.0 // 4095)),
    "tiff, RGB of 16 bits": ("tif", lambda o: tiff(RGB16, "<", 2, o), RGB16 >> 8),
    "tiff, RGB of 16 bits, big-endian": ("tif", lambda o: tiff(RGB16, ">", 2, o), RGB16 >> 8),
    "tiff, RGBA of 16 bits": ("tif", lambda o: tiff(and_(RGB16, ALPHA16), ">", 2, o, extra=2), RGB16 >> 8),
}
PLAIN = {  # formats without EXIF
    "bmp, RGB": ("bmp", lambda o: by_pillow(Image.fromarray(RGB), "BMP"), RGB),
    "bmp, P": ("BMP", lambda o: by_pillow(with_palette(), "BMP"), PALETTE[GREY]),
    "gif": ("gif", lambda o: by_pillow(with_palette(), "GIF"), PALETTE[GREY]),
    "tga": ("tga", lambda o: by_pillow(Image.fromarray(RGB), "TGA"), RGB),
    "ppm": ("ppm", lambda o: by_pillow(Image.fromarray(RGB), "PPM"), RGB),
    "pgm, 16 bits": ("pgm", lambda o: b"P5 8 6 65535\n" + GREY16.astype(">u2").tobytes(), grey(GREY16 // 257)),
    "pgm, 12 bits": (
        "pgm",
        lambda o: b"P5 8 6 4095\n" + GREY12.astype(">u2").tobytes(),
        grey(np.round(GREY12 * (65535 / 4095)) // 257),
    ),
    "tiff, CMYK": ("tif", lambda o: tiff(and_(RGB, ALPHA), "<", 5), None),
    "tiff, YCbCr by JPEG": ("tif", lambda o: by_pillow(Image.fromarray(RGB), "TIFF", compression="jpeg"), None),
}
if features.check("jpg_2000"):
    PLAIN["jpeg 2000"] = ("jp2", lambda o: by_pillow(Image.fromarray(RGB), "JPEG2000"), RGB)
if features.check("avif"):
    ORIENTED["avif"] = ("avif", lambda o: by_pillow(Image.fromarray(RGB), "AVIF", o), None)
KINDS = {**ORIENTED, **PLAIN}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as decoding.py has it; pytest resets that
ROADS = ("folder", "tar", "scenes", "boxes")


def orientations(kind):
    return range(1, 9) if kind in ORIENTED else (1,)


def names(kind):
    """A file's name by its orientation."""
    ending = KINDS[kind][0]
    stem = kind.replace(" ", "_").replace(",", "")
    return {o: f"class/{stem}_{o}.{ending}" for o in orientations(kind)}


def wanted(kind, orientation):
    _, make, pixels = KINDS[kind]
    pixels = stored(make(1)) if pixels is None else np.asarray(pixels, np.uint8)
    return TURNED[orientation](pixels)


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    """All files once, as images of a class, with labels, and with boxes; a reader by road, and numbers by name."""
    root = tmp_path_factory.mktemp("kinds")
    listed = []
    for folder in ("images/train/class", "annotations/train/class", "tar"):
        (root / folder).mkdir(parents=True)
    for kind, (_, make, _) in KINDS.items():
        for orientation, name in names(kind).items():
            (root / "images/train" / name).write_bytes(make(orientation))
            height, width = wanted(kind, orientation).shape[:2]
            Image.new("L", (width, height)).save((root / "annotations/train" / name).with_suffix(".png"))
            listed.append({"id": len(listed), "file_name": name, "height": height, "width": width})
    with tarfile.open(root / "tar/train.tar", "w") as tar:
        tar.add(root / "images/train", arcname=".")
    found = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    (root / "annotations/instances_train.json").write_text(json.dumps(found))
    readers = {
        "folder": Files(str(root / "images"), "train"),
        "tar": Files(str(root / "tar"), "train"),
        "scenes": find_split(
            root, "train", make_config(task="segment", dataset="folder", data_root=str(root), img_size=16)
        ),
        "boxes": read_coco(root, "train"),
    }
    return {road: (reader, {n: i for i, n in enumerate(reader.file_names)}) for road, reader in readers.items()}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_pixels_of_a_file_are_those_that_are_seen(roads, kind, road):
    reader, numbers = roads[road]
    for orientation, name in names(kind).items():
        found = reader.load(numbers[name])
        image = found[0] if isinstance(found, tuple) else found
        pixels = np.asarray(image) if isinstance(image, Image.Image) else image.permute(1, 2, 0).numpy()
        expected = wanted(kind, orientation)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, expected, err_msg=f"{orientation}")
        facts = reader.examine(numbers[name])
        assert facts.bad == ""
        assert facts.size in ((0, 0), expected.shape[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_to_an_image_is_noted(kind):
    for orientation in orientations(kind):
        header = read_header(KINDS[kind][1](orientation))
        assert header.size == wanted(kind, orientation).shape[:2]
        turned = orientation > 1 and not kind.startswith("tiff")  # those Pillow has always turned
        assert (Note.ORIENTED in header.note) == turned
        deep = "16 bits" in kind and "RGB" not in kind and "alpha" not in kind
        assert (Note.DEEP in header.note) == (deep or "12 bits" in kind)
        assert (Note.ALPHA in header.note) == any(word in kind for word in ("RGBA", "LA", "alpha", "transparent"))


def test_eight_bits_in_rgb_are_what_pillow_has_always_made_of_them():
    for kind, (_, make, _) in KINDS.items():
        if not any(word in kind for word in ("16 bits", "12 bits")):
            np.testing.assert_array_equal(np.asarray(decode_rgb(make(1))), stored(make(1)), err_msg=kind)


def test_a_hugging_face_data_set_and_shards_are_read_alike(tmp_path):
    datasets = pytest.importorskip("datasets")
    chosen = [(kind, o) for kind in ("png, 16 bits", "jpeg, RGB", "tiff, 16 bits, big-endian", "gif") for o in (1, 6)]
    chosen = [(kind, o) for kind, o in chosen if o in orientations(kind)]
    images = [{"bytes": KINDS[kind][1](o), "path": None} for kind, o in chosen]
    rows = {"image": [*images, None], "label": [0] * (len(chosen) + 1)}
    features_ = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a"])})
    (tmp_path / "pets").mkdir()
    datasets.Dataset.from_dict(rows, features=features_).to_parquet(tmp_path / "pets" / "train.parquet")
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for i, (kind, o) in enumerate(chosen):
            for ending, content in ((KINDS[kind][0], KINDS[kind][1](o)), ("cls", b"0")):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    info = {"name": "train", "filenames": ["train-0.tar"], "shard_lengths": [len(chosen)], "num_samples": len(chosen)}
    (tmp_path / "_info.json").write_text(json.dumps({"splits": {"train": info}}))
    cache = str(tmp_path / "cache")
    pets, shards = Files(cache, "train", f"hfds/{tmp_path / 'pets'}"), Files(str(tmp_path), "train", "wds/pets")
    assert (len(pets), len(shards)) == (len(chosen) + 1, len(chosen))
    assert pets.examine(len(chosen)).bad == f"train image {len(chosen)}: column image is empty"
    for reader in (pets, shards):
        for i, (kind, o) in enumerate(chosen):
            np.testing.assert_array_equal(np.asarray(reader.load(i)[0]), wanted(kind, o))


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_is_none_turns_nothing(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "PNG", exif=found)
    assert read_header(out.getvalue()).note == Note(0)
    np.testing.assert_array_equal(np.asarray(decode_rgb(out.getvalue())), RGB)


@pytest.mark.parametrize(
    "damaged", [b"", b"Exif\0\0", b"Exif\0\0MM\0*", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03"]
)
def test_damaged_exif_is_no_damaged_image(damaged):
    data = by_pillow(Image.fromarray(RGB), "JPEG", exif=damaged or b"Exif\0\0\0")
    np.testing.assert_array_equal(np.asarray(decode_rgb(data)), stored(data))
    assert read_header(data).note == Note(0)
