"""Weights from files, addresses and timm, read without running code in them, and loaded strictly by key."""

import logging
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from scaling.backbones.base import Backbone
from scaling.backbones.npz_weights import npz_state
from scaling.downloads import fetched, forget, hub_or_cache
from scaling.errors import ConfigError, first_line
from scaling.runs.atomic_files import damage_of
from scaling.runs.record import WEIGHTS

LOG = logging.getLogger(__name__)
WRAPPERS = ("_orig_mod.", "module.")  # torch.compile's, and (Distributed)DataParallel's
GLOBAL = re.compile(r"GLOBAL ([\w.]+)")  # what weights_only refuses, in the words of torch


def read_state_dict(source: str, keys: tuple[str, ...] = ("model", "state_dict")) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file, a torch file (weights_only: no code in it is run), an .npz file of JAX,
    the folder of a finished run, timm:NAME, or the address of such a file, hf:OWNER/REPOSITORY/FILE or https://….

    A torch file may hold them directly or under a key (as the DeiT and Adventurer releases do): the first of `keys` in
    it. Raises ConfigError.
    """
    if source.startswith("timm:"):
        return _from_timm(source.removeprefix("timm:"))
    if source.startswith(("hf:", "https://")):
        path = fetched(source)
        try:
            return unwrapped(_read(path, source), source, keys)
        except ConfigError:
            forget(source)
            raise
    path = Path(source)
    if path.is_dir():  # a run's folder
        path = path / WEIGHTS
    if not path.is_file():
        what = "a .pth, .safetensors or .npz file, or --pretrained NAME"
        raise ConfigError(f"weights {source}: no such file; give {what}")
    return unwrapped(_read(path, source), source, keys)


def _read(path: Path, source: str) -> object:
    """Tensors and plain values of a file. Raises ConfigError with what the file is instead."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path) and (damage := damage_of(path)):  # torch does not check
            raise ValueError(damage)
        if path.suffix == ".npz":
            return npz_state(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch and safetensors raise many kinds
        reason = _no_weights(path, e)
        raise ConfigError(f"weights {source} cannot be read as tensors alone ({reason}); nothing else is loaded") from e


def _no_weights(path: Path, e: Exception) -> str:
    """The reason why a file is not a file of weights."""
    with path.open("rb") as f:
        start = f.read(512).lstrip().lower()
    if not start:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file: run git lfs pull"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not a file of weights: give the address of the file itself"
    held = sorted(set(GLOBAL.findall(str(e))))
    if held:
        return f"it holds {', '.join(held)[:160]}, which is code: save the tensors alone, as by state_dict()"
    if (operand := re.search(r"Unsupported operand \d+", str(e))) is not None:
        return f"it is not a torch file: {operand[0].lower()}"
    return first_line(e, 200)


def unwrapped(checkpoint: object, source: str, keys: tuple[str, ...] = ("model", "state_dict")) -> dict[str, Tensor]:
    """The tensors of a checkpoint, which may hold them directly or under one of `keys` (the first that it has). The
    prefix that a wrapper adds to all names is removed."""
    state = checkpoint
    for key in keys:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not (isinstance(state, dict) and state and all(isinstance(v, Tensor) for v in state.values())):
        raise ConfigError(f"weights {source} holds no dictionary of tensors")
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in state):
            LOG.warning("weights %s: every name begins with %s, which is removed", source, wrapper)
            state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def _from_timm(name: str) -> dict[str, Tensor]:
    import timm

    try:
        with hub_or_cache() as online:
            cfg = timm.get_pretrained_cfg(name)
            if not online and cfg is not None and cfg.hf_hub_id:
                timm.models.load_state_dict_from_hf(cfg.hf_hub_id)  # fails before a model is built, which takes a while
            return timm.create_model(name, pretrained=True).state_dict()
    except Exception as e:
        raise ConfigError(
            f"weights timm:{name}: timm cannot provide them ({type(e).__name__}: {first_line(e, 200)})"
        ) from e


def load_state(
    backbone: Backbone, state: dict[str, Tensor], source: str, pos_embed_resampling: str = "aligned"
) -> None:
    """Load tensors, as of read_state_dict, into a backbone, strictly by key, without the classifier's head. source:
    their name in errors.

    Backbone.convert_state_dict resamples what depends on patch and image size; pos_embed_resampling is passed to it.
    Raises ConfigError with the keys that do not fit.
    """
    converted = backbone.convert_state_dict(state, pos_embed_resampling)
    state = {k: v for k, v in converted.items() if not k.startswith(("head.", "head_dist."))}
    check_fit(state, backbone.checkpoint_module.state_dict(), source)
    backbone.checkpoint_module.load_state_dict(state)


def check_fit(state: dict[str, Tensor], own: dict[str, Tensor], source: str) -> None:
    """Raise ConfigError with the keys that are missing, unexpected or of another shape than `own`."""
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in own
        if k in state and state[k].shape != own[k].shape
    ]
    wrong = [
        f"{what} {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if wrong:
        raise ConfigError(f"weights {source} do not fit this backbone: {'; '.join(wrong)}")
