"""PackedRows against a plain list of what is in every place of every row."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling.backbones.base import TokenLayout
from scaling.errors import ConfigError
from scaling.packing.packed_images import pack, patches_of
from scaling.packing.row_plan import padding_share

CPU = torch.device("cpu")
GRIDS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=8)


def written_out(rows):
    """One list per row of (image, index of the token in the image), None for padding."""
    found = []
    for row in rows.rows:
        cells = []
        for image in row:
            h, w = rows.grids[image]
            cells += [(image, token) for token in range(rows.leading + h * w + rows.trailing)]
        found.append(cells + [None] * (rows.row_length - len(cells)))
    return found


def packed(grids, leading=0, trailing=0, patch=2, **options):
    images = [torch.randint(0, 256, (3, h * patch, w * patch), dtype=torch.uint8) for h, w in grids]
    return images, pack(images, patch, 24, (leading, trailing), **options)


@given(GRIDS, st.integers(0, 2), st.integers(0, 1), st.booleans())
def test_all_lists_agree_with_rows_written_out(grids, leading, trailing, trim):
    _, images = packed(grids, leading, trailing, trim=trim)
    rows, cells = images.rows, written_out(images.rows)
    flat = [cell for row in cells for cell in row]
    assert rows.images_RS.tolist() == [[len(grids) if cell is None else cell[0] for cell in row] for row in cells]
    by_length = sorted(range(len(grids)), key=lambda i: rows.lengths[i])
    assert [flat[at] for at in rows.places_T] == [(i, t) for i in by_length for t in range(rows.lengths[i])]
    patches = [(i, leading + t) for i, (h, w) in enumerate(grids) for t in range(h * w)]
    assert [flat[at] for at in rows.patches_L] == patches
    for number in range(leading + trailing):
        token = [number if number < leading else number + h * w for h, w in grids]
        assert [flat[at] for at in rows.class_tokens_N(number)] == list(enumerate(token))
    assert sum(images * tokens for images, tokens in rows.buckets) == len(rows.places_T)
    assert padding_share(rows.rows, rows.lengths, rows.row_length) == pytest.approx(flat.count(None) / len(flat))
    if not trim:
        assert rows.row_length == 24


@given(GRIDS, st.integers(0, 1), st.integers(0, 1))
def test_tokens_go_to_rows_and_back(grids, leading, trailing):
    _, images = packed(grids, leading, trailing)
    index = images.rows.on(CPU)
    x_TD = torch.randn(len(images.rows.places_T), 3)
    x_RSD = index.to_rows(x_TD)
    assert torch.equal(index.by_length(x_RSD), x_TD)
    assert not x_RSD[index.images_RS == len(grids)].any()


def test_a_patch_has_its_channels_outermost_as_a_convolution_reads_it():
    image_CHW = torch.arange(3 * 4 * 6).view(3, 4, 6)
    patch_LP = patches_of(image_CHW, 2)
    assert patch_LP.shape == (6, 12)
    assert torch.equal(patch_LP[4], image_CHW[:, 2:4, 2:4].flatten())


@given(GRIDS)
def test_packed_coordinates_are_those_of_each_image_alone(grids):
    _, images = packed(grids)
    layout = TokenLayout(2, CPU, rows=images.rows)
    alone = [TokenLayout(2, CPU, grid).coords_BL2[0] for grid in grids]
    assert torch.equal(layout.coords_BL2[0], torch.cat(alone))


def test_class_tokens_are_joined_where_the_rows_have_places_for_them():
    _, images = packed([(1, 2), (2, 2)], leading=1, trailing=1)
    patch_1LD = torch.full((1, 6, 4), 5.0)
    layout = TokenLayout(2, CPU, rows=images.rows)
    x_RSD, joined = layout.with_class_tokens(patch_1LD, torch.full((1, 1, 4), 1.0), torch.full((1, 1, 4), 9.0))
    flat = [cell for row in written_out(images.rows) for cell in row]
    last = [images.rows.lengths[0] - 1, images.rows.lengths[1] - 1]
    for value, cell in zip(x_RSD.flatten(0, 1)[:, 0].tolist(), flat, strict=True):
        wanted = 0.0 if cell is None else 1.0 if cell[1] == 0 else 9.0 if cell[1] == last[cell[0]] else 5.0
        assert value == wanted
    assert torch.equal(joined.patches(x_RSD), patch_1LD)
    assert torch.equal(joined.class_token(x_RSD), torch.full((2, 4), 1.0))
    with pytest.raises(ConfigError, match=r"^these rows have 1 class tokens before and 1 after"):
        layout.with_class_tokens(patch_1LD, torch.zeros(1, 1, 4))


def test_patches_that_do_not_tile_an_image_are_refused():
    with pytest.raises(ConfigError, match=r"^patches of 4 px do not tile an image of 8 x 6 px"):
        pack([torch.zeros(3, 8, 6)], 4, 16)
