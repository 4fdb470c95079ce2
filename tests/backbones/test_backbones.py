import pytest
import timm
import torch
from safetensors.torch import save_file

from scaling.backbones import pos_embed
from scaling.backbones.registry import build_backbone
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.model_specs import MODEL_SPECS

SMALL = [name for name in MODEL_SPECS if name.endswith(("nano", "tiny"))]
IMAGE = torch.linspace(-2, 2, 2 * 3 * 32 * 32).view(2, 3, 32, 32).sin()


@pytest.mark.parametrize("name", SMALL)
def test_every_backbone_keeps_the_contract_at_every_patch_size(name):
    for patch in (1, 2, 4, 8, 16, 32):
        if patch < 4 and not name.endswith("nano"):
            continue  # the tiny ones take a second there, and have the same code
        backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=patch))
        with torch.no_grad():
            features = backbone(IMAGE)
        grid, summary = features.to_map(), features.pooled_ND
        width, cells = MODEL_SPECS[name].width, 32 // patch
        assert (backbone.width, backbone.stride) == (width, patch)
        assert grid.shape == (2, width, cells, cells), patch
        assert summary.shape == (2, width), patch
        assert grid.isfinite().all(), patch
        assert summary.isfinite().all(), patch


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("position", ["learned", "sincos"])
def test_every_parameter_gets_a_gradient(name, position):
    backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=8, pos_embed=position))
    features = backbone(IMAGE)
    grid, summary = features.to_map(), features.pooled_ND
    (grid.square().mean() + summary.square().mean()).backward()
    for key, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_the_grid_lies_as_the_image_does(name):
    """A change in one patch of the image shows most in that cell, with position encodings out of the way."""
    backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=8))
    changed = IMAGE.clone()
    changed[:, :, 8:16, 24:32] += 3.0  # row 1, column 3
    with torch.no_grad():
        moved = (backbone(changed).to_map() - backbone(IMAGE).to_map()).norm(dim=1)
    assert (moved.flatten(1).argmax(1) == 1 * 4 + 3).all()


@pytest.mark.parametrize("name", SMALL)
def test_blocks_start_equal_at_every_patch_size(name):
    """Else a sweep over patches would change more than the patch."""
    embed = ("patch_embed", "pos_embed")
    states = [
        build_backbone(make_config(backbone=name, img_size=32, patch_size=p, seed=3)).state_dict() for p in (16, 1)
    ]
    same = [key for key in states[0] if not any(part in key for part in embed)]
    assert len(same) > 20
    for key in same:
        assert torch.equal(states[0][key], states[1][key]), key


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_makes_the_weights_and_leaves_other_random_numbers_alone(name):
    config = make_config(backbone=name, img_size=32, patch_size=8)
    before = torch.random.get_rng_state()
    a, b = (build_backbone(config).state_dict() for _ in range(2))
    other = build_backbone(edit(config, seed=1)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert sum(not torch.equal(a[k], other[k]) for k in a) > 5


def test_deits_weights_are_drawn_as_in_its_recipe():
    state = build_backbone(make_config(backbone="deit_tiny", img_size=64, patch_size=8)).state_dict()
    for key in ("vit.blocks.3.attn.qkv.weight", "vit.blocks.3.mlp.fc1.weight", "vit.pos_embed"):
        assert state[key].std().item() == pytest.approx(0.02, rel=0.05)
    assert state["vit.blocks.3.mlp.fc1.bias"].abs().max() == 0
    assert (state["vit.norm.weight"] == 1).all()


@pytest.mark.parametrize(
    ("ours", "theirs", "suffix"),
    [
        ("deit_tiny", "deit_tiny_patch16_224", "pth"),
        ("deit_tiny", "deit_tiny_patch16_224", "safetensors"),
        ("deit3_small", "deit3_small_patch16_224", "safetensors"),
    ],
)
def test_timms_weights_load_by_key_and_give_timms_features(tmp_path, ours, theirs, suffix):
    """In float64, at 64 px."""
    model = timm.create_model(theirs, num_classes=1000, img_size=64).eval()
    path = tmp_path / f"weights.{suffix}"
    state = model.state_dict()
    save_file(state, path) if suffix == "safetensors" else torch.save({"model": state}, path)
    backbone = (
        build_backbone(make_config(backbone=ours, img_size=64, patch_size=16, initial_checkpoint=str(path)))
        .eval()
        .double()
    )
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        tokens = model.double().forward_features(image)
        features = backbone(image)
    torch.testing.assert_close(features.pooled_ND, tokens[:, 0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(features.tokens_BLD, tokens[:, 1:], rtol=1e-10, atol=1e-10)


def test_weights_load_at_another_patch_and_image_size(tmp_path):
    """Kernels by pseudo-inverse (FlexiViT, arXiv 2212.08013, section 3.4): each patch enlarged from 8 to 16 px, the
    patch-16 model embeds it just as the patch-8 model embedded the small one. Positions of an equal grid stay."""
    small = timm.models.vision_transformer.VisionTransformer(
        112, 8, embed_dim=192, depth=12, num_heads=3, num_classes=0
    )
    torch.save(small.state_dict(), tmp_path / "w.pth")
    backbone = build_backbone(
        make_config(backbone="deit_tiny", img_size=224, patch_size=16, initial_checkpoint=str(tmp_path / "w.pth"))
    ).eval()
    image = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    patches = image.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 8, 8)
    enlarged = torch.nn.functional.interpolate(patches, 16, mode="bicubic", antialias=True)
    with torch.no_grad():
        wanted = small.patch_embed.proj(patches)
        found = backbone.vit.patch_embed.proj(enlarged)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(backbone.vit.pos_embed, small.pos_embed)


def test_weights_that_do_not_fit_are_refused_with_their_keys(tmp_path):
    wrong = timm.create_model("deit_small_patch16_224", num_classes=0).state_dict()
    torch.save(wrong, tmp_path / "small.pth")
    tiny = make_config(backbone="deit_tiny", img_size=224, patch_size=16)
    with pytest.raises(ConfigError, match="these weights are 384 channels wide; this backbone is 192"):
        build_backbone(edit(tiny, initial_checkpoint=str(tmp_path / "small.pth")))
    deit3 = timm.create_model("deit3_small_patch16_224", num_classes=0).state_dict()
    torch.save(deit3, tmp_path / "deit3.pth")
    with pytest.raises(ConfigError, match=r"unexpected blocks\.0\.ls1\.gamma"):
        build_backbone(
            make_config(
                backbone="deit_small", img_size=224, patch_size=16, initial_checkpoint=str(tmp_path / "deit3.pth")
            )
        )
    with pytest.raises(ConfigError, match="no such file"):
        build_backbone(edit(tiny, initial_checkpoint=str(tmp_path / "nothing.pth")))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ConfigError, match="cannot be read as tensors"):
        build_backbone(edit(tiny, initial_checkpoint=str(tmp_path / "text.pth")))
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ConfigError, match="not weights of a plain ViT"):
        build_backbone(edit(tiny, initial_checkpoint=str(tmp_path / "resnet.pth")))


def test_code_in_a_weights_file_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"model": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ConfigError, match="tensors alone"):
        build_backbone(
            make_config(
                backbone="deit_tiny", img_size=224, patch_size=16, initial_checkpoint=str(tmp_path / "trap.pth")
            )
        )
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("position", ["learned", "sincos"])
def test_images_of_other_sizes_are_taken_with_positions_resampled(name, position):
    backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=8, pos_embed=position)).eval()
    wide = torch.cat([IMAGE, IMAGE.flip(3)], 3)[:, :, :24]
    with torch.no_grad():
        features = backbone(wide)
    assert features.to_map().shape == (2, backbone.width, 3, 8)
    assert torch.isfinite(features.to_map()).all()
    # What a model for that size, with its positions resampled by timm's own function, gives: square ones only.
    large = build_backbone(make_config(backbone=name, img_size=64, patch_size=8))
    state = {**backbone.checkpoint_module.state_dict()}
    if position == "learned":
        large.checkpoint_module.load_state_dict(large.convert_state_dict(state))
        bigger = IMAGE.repeat(1, 1, 2, 2)
        with torch.no_grad():
            wanted, found = large.eval()(bigger), backbone(bigger)
        torch.testing.assert_close(found.to_map(), wanted.to_map(), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.pooled_ND, wanted.pooled_ND, rtol=1e-3, atol=1e-4)
    with pytest.raises(ConfigError, match="patches of 8 px do not tile images of 30 x 32 px"):
        backbone(IMAGE[:, :, :30])


@pytest.mark.parametrize("name", SMALL)
def test_maps_after_blocks_are_contiguous_and_the_last_one_is_the_grid(name):
    backbone = build_backbone(make_config(backbone=name, img_size=32, patch_size=8)).eval()
    last = MODEL_SPECS[name].depth - 1
    with torch.no_grad():
        plain, asked = backbone(IMAGE), backbone(IMAGE, (0, last))
        backbone.checkpoint_module.set_grad_checkpointing(True)
    assert plain.hidden == ()
    maps = asked.hidden_maps()
    assert [m.shape for m in maps] == [plain.to_map().shape] * 2
    assert all(m.is_contiguous() for m in maps)
    assert torch.equal(maps[1], plain.to_map())
    assert torch.equal(asked.to_map(), plain.to_map())
    assert not torch.allclose(maps[0], maps[1])
    recomputed = backbone.train()(IMAGE, (0, last))
    recomputed.hidden_maps()[0].sum().backward()
    torch.testing.assert_close(recomputed.hidden_maps()[1], maps[1], rtol=1e-3, atol=1e-4)  # attention's other kernels


def test_an_extended_embedding_takes_other_sizes_too():
    backbone = build_backbone(make_config(backbone="adventurer_nano", img_size=32, patch_size=4, embed_patch_size=16))
    assert backbone(torch.zeros(1, 3, 48, 32)).to_map().shape == (1, 48, 12, 8)
    with pytest.raises(ConfigError, match="patches of 16 px do not tile images of 40 x 32 px"):
        backbone(torch.zeros(1, 3, 40, 32))


def test_resampled_positions_are_kept_for_the_next_image_of_that_size_and_not_beyond_a_step(monkeypatch):
    calls, resample = [], pos_embed.resample_abs_pos_embed
    monkeypatch.setattr(pos_embed, "resample_abs_pos_embed", lambda *a, **k: calls.append(1) or resample(*a, **k))
    backbone = build_backbone(make_config(backbone="adventurer_nano", img_size=32, patch_size=8))
    wide = IMAGE[:, :, :24]
    with torch.no_grad():
        first, again = backbone(wide), backbone(wide)
        assert torch.equal(first.to_map(), again.to_map())
        assert len(calls) == 1
        backbone(IMAGE[:, :, :16])
        backbone(wide)
        assert len(calls) == 3
    backbone(wide).to_map().sum().backward()
    assert backbone.net.pos_embed.grad.abs().sum() > 0
    with torch.no_grad():
        backbone.net.pos_embed.add_(1)
        assert not torch.allclose(backbone(wide).to_map(), first.to_map())
