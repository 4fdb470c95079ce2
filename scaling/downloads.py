"""Files of weights at an address: fetched once and cached by the whole address. Without a network, attempts end after a
few seconds."""

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

TIMEOUT = 4.0  # for an answer [s]


def fetched(address: str) -> Path:
    """Path of the file at hf:OWNER/REPOSITORY/FILE or https://…, downloaded unless it is cached. Raises ConfigError."""
    try:
        return _from_web(address) if address.startswith("https://") else _from_hub(address.removeprefix("hf:"))
    except Exception as e:  # many kinds: no network, no such file, no right to it
        raise ConfigError(
            f"weights {address} cannot be fetched ({type(e).__name__}: {first_line(e, 200)}); give a file"
        ) from e


def fetched_repository(address: str) -> Path:
    """The folder of the repository hf:OWNER/NAME or hf:OWNER/NAME@REVISION, downloaded unless it is cached. Raises
    ConfigError."""
    from huggingface_hub import snapshot_download

    name, _, revision = address.removeprefix("hf:").partition("@")
    try:
        with hub_or_cache():
            return Path(snapshot_download(name, revision=revision or None))
    except Exception as e:  # many kinds: no network, no such repository, no right to it
        raise ConfigError(
            f"repository {address} cannot be fetched ({type(e).__name__}: {first_line(e, 200)}); give a folder"
        ) from e


def forget(address: str) -> None:
    """Delete the cached file of a web address that is not a file of weights: an error page, for instance."""
    if address.startswith("https://"):
        _cached(address).unlink(missing_ok=True)


def _cached(address: str) -> Path:
    """Path of the cached file of a web address: by the whole address, as many files are called model.safetensors."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}-{address.rsplit('/', 1)[-1].split('?')[0]}"


def _from_web(address: str) -> Path:
    path = _cached(address)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(TIMEOUT)  # torch sets no limit
        try:
            torch.hub.download_url_to_file(address, str(temporary), progress=False)
            os.replace(temporary, path)
        finally:
            socket.setdefaulttimeout(before)
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
    """Inside, Hugging Face's client uses only its cache if the hub does not answer: it would retry for half a minute,
    with a line each time. Yields whether the hub is used."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _answers(constants.ENDPOINT)
    try:
        yield not constants.HF_HUB_OFFLINE
    finally:
        constants.HF_HUB_OFFLINE = before


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT).close()
    except urllib.error.HTTPError:  # an answer as well
        return True
    except (OSError, ValueError):
        return False
    return True
