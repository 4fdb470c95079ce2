"""Heads of classification: pooling of each image's own tokens, packed or not; costs as torch counts them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from scaling import costs
from scaling.backbones.base import Features, TokenLayout
from scaling.config.edit import make_config
from scaling.heads.classification import build_head
from scaling.packing.packed_images import pack
from scaling.tasks.classification import ClassificationTask

WIDTH, CLASSES, PATCH = 12, 5, 2
KINDS = pytest.mark.parametrize("kind", ["linear", "avg", "map"])
CLASS_TOKENS = {"deit_pico": (1, 0), "adventurer_pico": (0, 1)}


def features_of(tokens_BLD):
    pooled_ND = tokens_BLD[:, 0]
    return Features(tokens_BLD, pooled_ND, TokenLayout(PATCH, tokens_BLD.device, (1, tokens_BLD.shape[1])))


def head_of(kind):
    return build_head(kind, WIDTH, CLASSES, 0).double()


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kind", ["avg", "map"])
def test_the_order_of_the_tokens_does_not_matter_and_their_number_alone_neither(kind):
    head, x_BLD = head_of(kind), tokens(2, 7, WIDTH)
    torch.testing.assert_close(head(features_of(x_BLD.flip(1))), head(features_of(x_BLD)), rtol=0, atol=1e-12)
    equal_BLD = x_BLD[:, :1].expand(-1, 7, -1)
    torch.testing.assert_close(head(features_of(equal_BLD)), head(features_of(x_BLD[:, :1])), rtol=0, atol=1e-12)


def test_the_mean_is_the_mean():
    head, x_BLD = head_of("avg"), tokens(2, 7, WIDTH)
    right = torch.stack([sum(image) / 7 for image in x_BLD]) @ head.weight.T + head.bias
    torch.testing.assert_close(head(features_of(x_BLD)), right, rtol=0, atol=1e-12)


def test_attention_pooling_is_softmax_attention_of_one_query_and_an_mlp_with_a_residual():
    head, x_BLD = head_of("map"), tokens(2, 7, WIDTH)
    pool, found = head.pool, []
    for x_LD in x_BLD:
        q_D = pool.q(pool.latent[0, 0])
        k_LD, v_LD = pool.kv(x_LD).split(WIDTH, -1)
        weight_L = torch.softmax(torch.stack([q_D @ k_D for k_D in k_LD]) / WIDTH**0.5, 0)
        y_D = pool.proj(sum(w * v_D for w, v_D in zip(weight_L, v_LD, strict=True)))
        found.append(head.fc(y_D + pool.mlp(pool.norm(y_D))))
    torch.testing.assert_close(head(features_of(x_BLD)), torch.stack(found), rtol=0, atol=1e-12)


@KINDS
@pytest.mark.parametrize("name", CLASS_TOKENS)
@settings(max_examples=4)
@given(grids=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=6))
def test_logits_and_gradients_of_packed_images_are_those_of_each_image_alone(name, kind, grids):
    config = make_config(backbone=name, img_size=8, patch_size=PATCH, head=kind, pos_embed="sincos")
    task = ClassificationTask(config, 1).double().eval()
    images = [tokens(3, h * PATCH, w * PATCH, seed=n) for n, (h, w) in enumerate(grids)]

    def logits_of(packed):
        if packed:
            found = task.features(pack(images, PATCH, 40, CLASS_TOKENS[name]))
            return task.head(found)
        return torch.cat([task.head(task.features(image_CHW[None])) for image_CHW in images])

    results = []
    for packed in (True, False):
        task.zero_grad()
        logits_NK = logits_of(packed)
        logits_NK.square().sum().backward()
        results.append([logits_NK, *(p.grad for p in task.parameters() if p.grad is not None)])
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-10)


@KINDS
@pytest.mark.parametrize("backbone", ["deit_nano", "adventurer_nano", "deit_tiny"])
def test_parameters_and_flops_are_what_torch_counts(kind, backbone):
    config = make_config(backbone=backbone, img_size=32, patch_size=8, head=kind, num_classes=CLASSES)
    task = ClassificationTask(config, 1).eval()
    assert costs.recipe_parameters(config) == sum(p.numel() for p in task.parameters())
    head = task.head.requires_grad_(False)
    x_BLD = torch.zeros(1, 16, task.backbone.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        head(features_of(x_BLD))
    assert costs.recipe_flops_by_part(config)["head"] == counter.get_total_flops()
