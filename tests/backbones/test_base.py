"""Features and TokenLayout: where tokens lie, and which of them have a map."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling.backbones.base import Features, TokenLayout
from scaling.packing.packed_images import pack

CPU = torch.device("cpu")


@given(st.integers(1, 6), st.integers(1, 6))
def test_a_map_has_at_each_place_the_token_whose_centre_lies_there(h, w):
    layout = TokenLayout(4, CPU, (h, w))
    map_12hw = Features(layout.coords_BL2, torch.zeros(1, 2), layout).to_map()
    assert map_12hw.is_contiguous()
    for i in range(h):
        for j in range(w):
            assert map_12hw[0, :, i, j].tolist() == pytest.approx([(i + 0.5) / h, (j + 0.5) / w])


@given(st.integers(0, 2), st.integers(0, 2))
def test_class_tokens_have_zeros_among_values_of_patches(leading, trailing):
    before, after = (torch.zeros(1, n, 5) if n else None for n in (leading, trailing))
    _, layout = TokenLayout(4, CPU, (2, 3)).with_class_tokens(torch.ones(2, 6, 5), before, after)
    padded = layout.padded(torch.ones(2, 6, 5))
    assert padded.shape == (2, leading + 6 + trailing, 5)
    assert padded.sum() == 2 * 6 * 5
    assert padded[:, leading : leading + 6].all()


def test_packed_tokens_have_no_map():
    rows = pack([torch.zeros(3, 4, 8), torch.zeros(3, 4, 4)], 4, 3).rows
    layout = TokenLayout(4, CPU, rows=rows)
    features = Features(torch.zeros(1, 3, 8), torch.zeros(2, 8), layout, (torch.zeros(1, 3, 8),))
    for get in (features.to_map, features.hidden_maps):
        with pytest.raises(ValueError, match="packed tokens have no map"):
            get()
