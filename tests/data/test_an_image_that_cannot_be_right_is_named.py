"""Images whose pixels are unsure, cut off or too many: refused by name in one line, or taken and told, not guessed."""

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from scaling.config.edit import edit, make_config
from scaling.data.datamodule import ImageDataModule
from scaling.data.files import decoding_notes
from scaling.data.files.decoding import decode_rgb, naming_errors, read_header
from scaling.data.files.decoding_notes import Note
from scaling.data.files.file_facts import digest
from scaling.data.files.image_folder import Files
from scaling.data.transforms.classification import fit_image
from scaling.errors import ConfigError
from tests.image_bytes import by_pillow, chunk, png, tiff

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore::UserWarning:PIL")
GREY = np.arange(20 * 16, dtype=np.uint8).reshape(16, 20)
RGB = np.random.default_rng(4).integers(0, 256, (16, 20, 3)).astype(np.uint8)
JPEG = by_pillow(Image.fromarray(RGB), "JPEG")
PROGRESSIVE = by_pillow(Image.fromarray(RGB), "JPEG", progressive=True)
PNG, WEBP = png(RGB), by_pillow(Image.fromarray(RGB), "WEBP", lossless=True)
WHOLE = {
    "jpeg": JPEG,
    "progressive": PROGRESSIVE,
    "png": PNG,
    "webp": WEBP,
    "gif": by_pillow(Image.fromarray(RGB), "GIF"),
    "tiff": tiff(RGB, photometric=2),
    "bmp": by_pillow(Image.fromarray(RGB), "BMP"),
}


def huge(width, height):
    """A PNG that says it is so large."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + PNG[33:]


REFUSED = {
    "floating point": (
        lambda: tiff(GREY.astype(np.float32), format=3),
        "floating-point pixels do not define black",
    ),
    "32 bits": (lambda: tiff(GREY.astype(np.uint32)), "32-bit or signed pixels do not define black"),
    "signed": (lambda: tiff(GREY.astype(np.int16), format=2), "32-bit or signed pixels"),
    "portable floats": (lambda: b"Pf 20 16 -1.0\n" + GREY.astype("<f4").tobytes(), "floating-point pixels"),
    "a bomb": (lambda: huge(2**15, 2**14 + 1), "decompression bomb"),
    "no width": (lambda: huge(0, 16), "damaged PNG"),
    "no bytes": (lambda: b"", "empty file"),
    "three floats": (
        lambda: tiff(RGB.astype(np.float32), photometric=2, format=3),
        "pixel layout that Pillow does not",
    ),
    "a pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "a Git LFS pointer"),
    "a page": (lambda: b"<!DOCTYPE html><html>404</html>", "a web page"),
    "a comment with a false sum": (lambda: PNG[:33] + chunk(b"tEXt", b"a\0b")[:-1] + b"x" + PNG[33:], "damaged PNG"),
    "PostScript": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 16\n%%EndComments\nshowpage\n%%EOF\n",
        "not an image that Pillow can read",
    ),
    "a false sum": (lambda: PNG[:-13] + bytes([PNG[-13] ^ 1]) + PNG[-12:], "broken PNG file"),
    "a download filled up with zeros": (lambda: JPEG[:-100] + bytes(5000), "truncated JPEG"),
    "no end": (lambda: PNG[:-12], "truncated PNG"),
}


@pytest.fixture(params=["classify", "segment", "detect"])
def task(request, tmp_path):
    """A recipe of which put(bytes) makes a/1.png, an image of 20 x 16 px, one of four that are trained on."""
    names = ["a/0.png", "a/1.png", "a/2.png", "b/0.png"]
    for split in ("train", "test"):
        for name in names:
            for folder in ("images", "annotations"):
                (tmp_path / folder / split / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / split / name).write_bytes(PNG)
            label = Image.new("L", (20, 16))
            label.putpixel((0, 0), 1)  # of two classes, so that there is something to tell apart
            label.save(tmp_path / "annotations" / split / name)
        listed = [{"id": i, "file_name": name, "height": 16, "width": 20} for i, name in enumerate(names)]
        thing = {"bbox": [1, 1, 8, 8], "segmentation": [[1, 1, 9, 1, 9, 9]]}
        objects = [{"id": i, "image_id": i, "category_id": i % 2, **thing} for i in range(4)]
        kinds = [{"id": i, "name": str(i)} for i in range(2)]
        found = {"images": listed, "annotations": objects, "categories": kinds}
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(found))
    root = tmp_path / "images" if request.param == "classify" else tmp_path
    head = "cascade_mask_rcnn" if request.param == "detect" else "linear"
    fields = {"task": request.param, "data_root": str(root), "head": head}
    config = make_config(dataset="folder", num_classes=2, global_batch_size=1, img_size=16, patch_size=8, **fields)
    return config, (tmp_path / "images" / "train" / "a" / "1.png").write_bytes


def prepared(config, results=None):
    images = ImageDataModule(config, 0, results)
    images.setup()
    return images


@pytest.mark.parametrize("disk", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_it_stops_the_run_before_it_begins_or_is_left_out_and_counted(task, kind, disk, monkeypatch, tmp_path):
    if disk:
        monkeypatch.setattr("scaling.data.dataset.MEMORY_LIMIT", 0)
    (config, put), (make, reason) = task, REFUSED[kind]
    put(make())
    for _ in range(2):  # the second time from what is remembered
        with pytest.raises(ConfigError, match=rf"^1 unreadable train image.* \S*a.1\.png: .*{reason}.*skip$") as e:
            prepared(config, tmp_path / "results")
        assert "\n" not in str(e.value)
    images = prepared(edit(config, on_bad_image="skip"), tmp_path / "results")
    assert images.skipped == {"skipped_train": 1.0}
    assert len(images.train_set) == 3


NOTED = {
    Note.ORIENTED: lambda: png(RGB, orientation=3),
    Note.DEEP: lambda: png(GREY.astype(int) * 257, 16),
    Note.DEEP | Note.DARK: lambda: png(GREY.astype(int) * 16, 16),
    Note.ALPHA: lambda: png(np.dstack([RGB, GREY])),
    Note.FRAMES: lambda: by_pillow(
        Image.fromarray(GREY), "GIF", save_all=True, append_images=[Image.new("L", (20, 16))]
    ),
}


@pytest.mark.parametrize("note", NOTED)
def test_what_is_done_to_an_image_is_told_at_every_start(task, note, tmp_path):
    config, put = task
    plain = prepared(config, tmp_path / "results")
    assert plain.lines == ()
    put(NOTED[note]())
    for _ in range(2):
        lines = prepared(config, tmp_path / "results").lines
        assert [line.partition(" images ")[0] for line in lines] == ["1 of 4 train"] * len(list(note))
        assert [line.partition(" images ")[2] for line in lines] == [decoding_notes.MESSAGES[n] for n in note]


MANY = {
    "gif": ("GIF", {}),
    "webp": ("WEBP", {"lossless": True}),
    "png": ("PNG", {}),
    "tiff": ("TIFF", {}),
}


@pytest.mark.parametrize("kind", MANY)
def test_of_several_frames_or_pages_the_first_is_taken(kind):
    form, options = MANY[kind]
    frames = [Image.fromarray(np.full((16, 20, 3), 60 * n, np.uint8)) for n in range(1, 4)]
    out = io.BytesIO()
    frames[0].save(out, form, save_all=True, append_images=frames[1:], **options)
    assert np.unique(np.asarray(decode_rgb(out.getvalue()))).tolist() == [60]
    assert read_header(out.getvalue()).note == Note.FRAMES


def test_an_image_with_a_preview_is_no_image_of_two_frames():
    """A camera's multi-picture JPEG."""
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "MPO", save_all=True, append_images=[Image.fromarray(RGB[:8])])
    assert read_header(out.getvalue()) == ((16, 20), Note(0))
    assert decode_rgb(out.getvalue()).size == (20, 16)


def test_pixels_that_were_once_others_have_another_digest_and_all_others_the_same(tmp_path):
    """So a run that was trained on images that were white by mistake is not taken for one on what they show."""
    (tmp_path / "train" / "a").mkdir(parents=True)
    path = tmp_path / "train" / "a" / "0.png"
    for data, same in [
        (PNG, True),
        (JPEG, True),
        (NOTED[Note.FRAMES](), True),
        (NOTED[Note.ALPHA](), True),
        *((NOTED[n](), False) for n in (Note.ORIENTED, Note.DEEP)),
    ]:
        path.write_bytes(data)
        assert (Files(str(tmp_path), "train").examine(0).digest == digest(data, b"0")) == same


@settings(max_examples=60, deadline=None)
@given(kind=st.sampled_from(["jpeg", "progressive", "png", "webp"]), behind=st.binary(max_size=300), much=st.booleans())
def test_whatever_stands_behind_the_end_of_an_image_it_is_whole(kind, behind, much):
    data = WHOLE[kind] + behind * (1 + 4096 * much)
    np.testing.assert_array_equal(np.asarray(decode_rgb(data)), np.asarray(decode_rgb(WHOLE[kind])))
    assert read_header(data) == ((16, 20), Note(0))


def test_a_jpeg_without_its_end_mark_is_whole_if_its_pixels_are_all_there():
    data = JPEG[:-2] + b"a trailer of a phone" * 1000
    assert read_header(data).size == (16, 20)
    np.testing.assert_array_equal(np.asarray(decode_rgb(data)), np.asarray(decode_rgb(JPEG)))


@pytest.mark.parametrize("zeros", [2, 4, 100, 5000])
def test_zeros_in_the_place_of_a_jpeg_s_last_bytes_are_no_pixels(zeros):
    """They decode to something, and the last pixels are others."""
    data = JPEG[: -min(zeros, 100)] + bytes(zeros)
    for look in (decode_rgb, read_header):
        with pytest.raises(OSError, match="truncated JPEG"):
            look(data)


@pytest.mark.parametrize("what", ["a comment", "a profile"])
def test_a_long_comment_or_profile_is_no_bad_image(what):
    """python-pillow/Pillow #8363."""
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2_000_000, zip=True)
    options = {"pnginfo": text} if what == "a comment" else {"icc_profile": bytes(2_000_000)}
    data = by_pillow(Image.fromarray(RGB), "PNG", **options)
    assert read_header(data) == ((16, 20), Note(0))
    np.testing.assert_array_equal(np.asarray(decode_rgb(data)), RGB)


def test_a_profile_or_xmp_that_is_no_text_turns_nothing():
    """huggingface/datasets #7668: an image of ImageNet's."""
    data = by_pillow(Image.fromarray(RGB), "JPEG", xmp=b"<x:xmpmeta>\xa8\xff tiff:Orientation</x:xmpmeta>")
    assert read_header(data) == ((16, 20), Note(0))


@settings(max_examples=120, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 0.97))
def test_an_image_that_is_cut_off_is_never_taken(kind, share):
    data = WHOLE[kind][: int(len(WHOLE[kind]) * share)]
    with pytest.raises((OSError, SyntaxError, ValueError)):
        decode_rgb(data)
    with pytest.raises((OSError, SyntaxError, ValueError)):
        read_header(data)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(sorted(WHOLE)), at=st.integers(0, 10**6), to=st.integers(0, 255))
def test_a_changed_byte_gives_an_image_or_an_error_that_names_the_file(kind, at, to):
    data = bytearray(WHOLE[kind])
    data[at % len(data)] = to
    found = None
    try:
        with naming_errors(lambda: "name.jpg"):
            found = decode_rgb(bytes(data)).mode
            read_header(bytes(data))
    except OSError as e:
        found = str(e).partition(": ")[0]
    assert found in ("RGB", "name.jpg")


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (3, 5_000)])
def test_of_a_strip_the_middle_is_seen_and_no_gigabytes_are_made(size):
    strip = Image.new("RGB", size, (9, 9, 9))
    strip.putpixel((size[0] // 2, size[1] // 2), (200, 9, 9))
    view = fit_image(strip, 64, 1.0)
    assert view.shape == (3, 64, 64)
    assert view[0].max() > 100


def test_a_colour_profile_changes_no_pixel():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = by_pillow(Image.fromarray(RGB), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(np.asarray(decode_rgb(data)), RGB)


def test_xmp_says_how_an_image_lies_where_exif_does_not():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "WEBP", lossless=True, xmp=xmp)
    assert read_header(out.getvalue()) == ((20, 16), Note.ORIENTED)
    np.testing.assert_array_equal(np.asarray(decode_rgb(out.getvalue())), np.rot90(RGB, -1))
