"""Files of weights that are none, or more than weights: one line that says what they are, and no code is run."""

import argparse
import logging

import pytest
import timm
import torch
from safetensors.torch import save_file

from scaling.backbones.checkpoint_io import load_state, read_state_dict
from scaling.backbones.registry import build_backbone
from scaling.config.edit import make_config
from scaling.errors import ConfigError, first_line


def held_too(path, other):
    torch.save({"model": {"a": torch.zeros(1)}, "args": other}, path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a pointer of Git LFS"),
        (b"not at all", "not a torch file"),
    ],
)
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_what_a_file_is_instead_of_weights_is_said_in_one_line(tmp_path, content, said, ending):
    path = tmp_path / f"w.{ending}"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as e:
        read_state_dict(str(path))
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)
    assert said in str(e.value) or (content == b"not at all" and ending == "safetensors")


def test_a_file_that_is_cut_off_is_named(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:-900])
    with pytest.raises(ConfigError, match=r"cut\.pth cannot be read as tensors alone"):
        read_state_dict(str(tmp_path / "cut.pth"))


def test_what_a_file_holds_beside_tensors_is_named_and_not_run(tmp_path):
    held_too(tmp_path / "w.pth", argparse.Namespace(lr=1))
    with pytest.raises(ConfigError) as e:
        read_state_dict(str(tmp_path / "w.pth"))
    assert "it holds argparse.Namespace, which is code" in str(e.value)
    assert "\x1b" not in str(e.value)
    assert "weights_only" not in str(e.value)


def test_an_empty_weights_file_of_a_run_is_named(tmp_path):
    (tmp_path / "weights.pt").touch()
    with pytest.raises(ConfigError, match="the file is empty"):
        read_state_dict(str(tmp_path))


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod."])
def test_a_wrappers_name_before_all_others_is_taken_off_and_said(tmp_path, caplog, wrapper):
    config = make_config(img_size=16, patch_size=8)
    own = build_backbone(config).checkpoint_module.state_dict()
    torch.save({"state_dict": {wrapper + name: tensor for name, tensor in own.items()}}, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING):
        found = read_state_dict(str(tmp_path / "w.pth"))
    assert found.keys() == own.keys()
    assert f"every name begins with {wrapper}, which is removed" in caplog.text
    caplog.clear()
    torch.save({"state_dict": {"module.a": torch.zeros(1), "b": torch.zeros(1)}}, tmp_path / "w.pth")
    assert read_state_dict(str(tmp_path / "w.pth")).keys() == {"module.a", "b"}
    assert not caplog.text


@pytest.mark.parametrize(("image", "patch"), [(32, 8), (32, 16)])
def test_a_distilled_deit_fits_a_plain_one_at_any_size_without_its_token(caplog, image, patch):
    state = timm.create_model("deit_tiny_distilled_patch16_224", img_size=64, depth=12).state_dict()
    backbone = build_backbone(make_config(backbone="deit_tiny", img_size=image, patch_size=patch))
    with caplog.at_level(logging.WARNING):
        load_state(backbone, state, "distilled.pth")
    assert "distillation token is left out" in caplog.text
    net = backbone.checkpoint_module
    assert torch.equal(net.blocks[3].mlp.fc1.weight, state["blocks.3.mlp.fc1.weight"])
    assert torch.equal(net.pos_embed[:, 0], state["pos_embed"][:, 0])
    plain = timm.create_model("deit_tiny_patch16_224", img_size=64).state_dict()
    plain |= {name: tensor for name, tensor in state.items() if name in plain}
    plain["pos_embed"] = torch.cat([state["pos_embed"][:, :1], state["pos_embed"][:, 2:]], 1)
    wanted = build_backbone(make_config(backbone="deit_tiny", img_size=image, patch_size=patch))
    load_state(wanted, plain, "plain.pth")
    assert all(torch.equal(t, wanted.checkpoint_module.state_dict()[name]) for name, t in net.state_dict().items())


def test_positions_that_are_no_square_are_refused_in_one_line():
    state = build_backbone(make_config(img_size=16, patch_size=8)).checkpoint_module.state_dict()
    state["pos_embed"] = torch.zeros(1, 8, state["pos_embed"].shape[-1])
    with pytest.raises(ConfigError, match=r"^[^\n]*(do not|cannot be made to) fit[^\n]*$"):
        load_state(build_backbone(make_config(img_size=32, patch_size=8)), state, "w.pth")


# From an address


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web of two files of one name; what was asked for."""
    asked = []

    def download(address, path, progress):
        asked.append(address)
        if "broken" in address:
            with open(path, "w") as f:
                f.write("half")
            raise OSError("connection lost")
        if "page" in address:
            with open(path, "w") as f:
                f.write("<html>no</html>")
        else:
            save_file({"a": torch.ones(len(address.split("/")[3]))}, path)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    return asked


def test_two_addresses_that_end_alike_are_two_files(web):
    for _ in range(2):
        assert len(read_state_dict("https://example.org/one/model.safetensors")["a"]) == 3
        assert len(read_state_dict("https://example.org/three/model.safetensors")["a"]) == 5
        assert len(read_state_dict("https://example.org/three/model.safetensors?v=2")["a"]) == 5
    assert len(web) == 3


@pytest.mark.parametrize("kind", ["broken", "page"])
def test_nothing_is_kept_of_what_was_not_fetched_whole_or_is_no_file_of_weights(web, tmp_path, kind):
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"cannot be fetched|it is a web page"):
            read_state_dict(f"https://example.org/{kind}/model.pth")
    assert len(web) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_without_a_network_a_hub_address_is_given_up_at_once(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def no_network(*_, **__):
        raise OSError("no network")

    asked = []
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("time.sleep", asked.append)
    monkeypatch.setattr(timm, "create_model", None)  # no model is made for weights that are not there
    for source in ("hf:owner/repository/model.safetensors", "timm:vit_tiny_patch16_224"):
        with pytest.raises(ConfigError, match=r"cannot be fetched|timm cannot provide them \(Local") as e:
            read_state_dict(source)
        assert "\n" not in str(e.value)
    assert not asked  # the client itself would try six times, for 24 s, with a line for every try
    assert constants.HF_HUB_OFFLINE is False


# The first line of a message


def test_the_first_line_is_a_line_whatever_the_message():
    assert first_line(EOFError()) == "EOFError"
    assert first_line(ValueError("\n\n  so it is\nand more")) == "so it is"
    assert first_line(ValueError("\x1b[1mbold\x1b[0m"), 3) == "bol"
