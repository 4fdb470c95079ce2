"""Files of weights that lie at an address: fetched once, kept by the whole address, and soon given up where there is no
network."""

import contextlib
import hashlib
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import torch

from scaling.errors import ConfigError, first_line

PATIENCE = 4.0  # for an answer [s]


def fetched(address: str) -> Path:
    """The file at hf:OWNER/REPOSITORY/FILE or https://…, from the cache where it is there already. Raises
    ConfigError."""
    try:
        return _from_web(address) if address.startswith("https://") else _from_hub(address.removeprefix("hf:"))
    except Exception as e:  # many kinds: no network, no such file, no right to it
        raise ConfigError(
            f"weights {address} cannot be fetched ({type(e).__name__}: {first_line(e, 200)}); give a file"
        ) from e


def forget(address: str) -> None:
    """Delete what was fetched from a web address, as it is no file of weights: a page that says sorry, for instance."""
    if address.startswith("https://"):
        _place(address).unlink(missing_ok=True)


def _place(address: str) -> Path:
    """Where the file at a web address is kept. Half of all weights are called model.safetensors: the address counts."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}-{address.rsplit('/', 1)[-1].split('?')[0]}"


def _from_web(address: str) -> Path:
    path = _place(address)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(PATIENCE)  # torch asks without a limit
        try:
            torch.hub.download_url_to_file(address, str(temporary), progress=False)
            os.replace(temporary, path)
        finally:
            socket.setdefaulttimeout(patience)
            temporary.unlink(missing_ok=True)
    return path


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    if name.count("/") < 2:
        raise ValueError("an address is hf:OWNER/REPOSITORY/FILE")
    owner, repository, file = name.split("/", 2)
    with hub_or_cache():
        return Path(hf_hub_download(f"{owner}/{repository}", file))


@contextlib.contextmanager
def hub_or_cache() -> Iterator[bool]:
    """Inside, Hugging Face's client looks in its cache alone if the hub does not answer: it would ask again and again,
    for half a minute, with a line each time. Gives whether the hub is asked."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE).close()
    except urllib.error.HTTPError:  # an answer, though not the best
        return True
    except (OSError, ValueError):
        return False
    return True
