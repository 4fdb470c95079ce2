"""Weights: drawn by name from a seed, or read from a file without ever running what is in it."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from scaling.backbones import Backbone
from scaling.on_disk import damage_of
from scaling.recipe import BadInput
from scaling.record import WEIGHTS


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers of the CPU from seed inside, untouched outside."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@torch.no_grad()
def initialise_by_name(model: nn.Module, seed: int, rule: Callable[[nn.Module, str], None]) -> None:
    """Call rule(module, name) on every module, each under random numbers that depend on seed and name alone.

    So a module draws the same weights whatever stands before it in the model: the blocks of a patch-1 and of a
    patch-16 model start equal.
    """
    for name, module in model.named_modules():
        with seeded(zlib.crc32(f"{seed}/{name}".encode())):
            rule(module, name)


def read_state_dict(source: str, keys: tuple[str, ...] = ("model", "state_dict")) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file, a torch file (weights_only: no code in it is run), the folder of a
    finished run, timm:NAME, or a hub address, hf:OWNER/REPOSITORY/FILE or https://…, that such a file lies at.

    A torch file may hold them bare or under a key (as the DeiT and Adventurer releases do): the first of keys it has.
    """
    if source.startswith("timm:"):
        return _from_timm(source.removeprefix("timm:"))
    if source.startswith(("hf:", "https://")):
        return read_state_dict(_fetched(source), keys)
    path = Path(source)
    if path.is_dir():  # a run's folder
        path = path / WEIGHTS
    if not path.is_file():
        raise BadInput(f"weights {source}: no such file; name a .pth or .safetensors file, or timm:NAME")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if zipfile.is_zipfile(path) and (damage := damage_of(path)):  # which torch does not look for
            raise ValueError(damage)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch and safetensors raise many kinds, all of which mean the same to the user
        reason = str(e).splitlines()[0][:200]
        raise BadInput(f"weights {source} cannot be read as tensors alone ({reason}); nothing else is loaded") from e
    return unwrapped(state, source, keys)


def unwrapped(checkpoint: object, source: str, keys: tuple[str, ...] = ("model", "state_dict")) -> dict[str, Tensor]:
    """The tensors in a checkpoint, which may hold them bare or under one of the keys (the first that it has)."""
    state = checkpoint
    for key in keys:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not (isinstance(state, dict) and state and all(isinstance(v, Tensor) for v in state.values())):
        raise BadInput(f"weights {source} holds no dictionary of tensors")
    return state


def _fetched(address: str) -> str:
    """The file at a hub address, from the cache where it is there already."""
    try:
        if address.startswith("https://"):
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / address.rsplit("/", 1)[-1].split("?")[0]
            if not path.exists():
                torch.hub.download_url_to_file(address, str(path), progress=False)
            return str(path)
        from huggingface_hub import hf_hub_download

        if address.count("/") < 2:
            raise ValueError("an address is hf:OWNER/REPOSITORY/FILE")
        owner, repository, name = address.removeprefix("hf:").split("/", 2)
        return hf_hub_download(f"{owner}/{repository}", name)
    except Exception as e:  # many kinds: no network, no such file, no right to it
        reason = (str(e).splitlines() or [""])[0][:200]
        raise BadInput(f"weights {address} cannot be fetched ({type(e).__name__}: {reason}); give a file") from e


def _from_timm(name: str) -> dict[str, Tensor]:
    import timm

    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as e:
        reason = str(e).splitlines()[0][:200]
        raise BadInput(f"weights timm:{name}: timm cannot give them ({type(e).__name__}: {reason})") from e


def load_weights(backbone: Backbone, source: str, compat: str = "fixed") -> None:
    """Load source into a backbone, by key and strictly; the classifier's head in it is left out.

    The backbone resamples what depends on patch and image (its method `fit_state`, to which compat goes). Raises
    BadInput with the keys that do not fit.
    """
    load_state(backbone, read_state_dict(source), source, compat)


def load_state(backbone: Backbone, state: dict[str, Tensor], source: str, compat: str = "fixed") -> None:
    """load_weights, from tensors already read; source: how an error names them."""
    state = {k: v for k, v in backbone.fit_state(state, compat).items() if not k.startswith(("head.", "head_dist."))}
    check_fit(state, backbone.weights_module.state_dict(), source)
    backbone.weights_module.load_state_dict(state)


def check_fit(state: dict[str, Tensor], own: dict[str, Tensor], source: str) -> None:
    """Raise BadInput with the keys that are missing, unexpected or of another shape than a model's own, if any are."""
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
        raise BadInput(f"weights {source} do not fit this backbone: {'; '.join(wrong)}")
