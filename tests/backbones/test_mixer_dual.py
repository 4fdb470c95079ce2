"""The mixer as products of matrices is the mixer, token by token."""

import pytest
import torch

from scaling.backbones.ssd.mamba2_mixer import mix_ref
from scaling.backbones.ssd.mixer_dual import mix_dual
from scaling.errors import ConfigError
from tests.backbones.test_mix import EPS, inputs


@pytest.mark.parametrize("length", [1, 3, 65, 200])
@pytest.mark.parametrize("dt", [0.001, 0.1, 5.0])  # long memories, and such as are gone after a token
def test_it_is_the_definition(length, dt):
    x, w = inputs(2, length, dt)
    found, wanted = mix_dual(x, *w, EPS, None), mix_ref(x, w, EPS)
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)


def test_rows_of_several_images_are_refused():
    x, w = inputs(1, 4, 0.1)
    with pytest.raises(ConfigError, match="one image per row"):
        mix_dual(x, *w, EPS, torch.zeros(1, 4, dtype=torch.long))
