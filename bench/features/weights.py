"""Weights files: found, fetched and read, so that a wrong one fails early and none can run code."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
import urllib.request
import warnings
import zipfile
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor
from tqdm import tqdm

from bench.errors import UserError
from bench.features import official as publications
from bench.features.official import Official
from bench.features.torchscript import CODE, is_torchscript, read_tensors

# SHA-256 of the official files, whose names end in the first digits
OFFICIAL_INCEPTION = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
OFFICIAL_LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
LARGEST_DOWNLOAD = 2**28  # bytes, of Inception; the official file has 95,628,359
CONNECT_SECONDS = 10.0  # for a connection, and for each piece of the file
FETCH_SECONDS = 900.0  # for a file of up to LARGEST_DOWNLOAD, and more for one that may be larger


class UnavailableError(Exception):
    """The official weights are neither here nor to be had; says why, in a few words."""


def official_file(official: Official) -> tuple[Path, str]:
    """The official weights, fetched if they must be, and a few words on where they came from.

    They live where torch-fidelity keeps them too: `checkpoints` in torch's hub folder (the variable TORCH_HOME).
    Raises UnavailableError.
    """
    path = official.path
    if not path.is_file():
        fetch(official.url, path, most=official.most)
        return path, f"its weights were fetched ({path})"
    try:
        whole = digest(path).startswith(official.sha256)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read ({error.strerror})") from error
    if not whole:
        raise UnavailableError(f"{path} is damaged; move it away to have it fetched again")
    return path, f"its weights are here ({path})"


def chosen_file(weights: Path | None, official: Official) -> Path:
    """`weights` if they were given, else the official ones; UserError with the remedy where there are neither."""
    if weights is not None:
        return weights
    try:
        return official_file(official)[0]
    except UnavailableError as absent:
        raise UserError(f"no {official.network} weights ({absent}): {official.remedy}") from absent


def inception() -> Official:
    """Inception-v3 of 2015-12-05, as torch-fidelity converted it."""
    url = _inception_url()
    return Official("Inception", url, url.rsplit("/", 1)[1], OFFICIAL_INCEPTION, LARGEST_DOWNLOAD)


def inception_file() -> tuple[Path, str]:
    """`official_file` of Inception."""
    return official_file(inception())


def fetch(url: str, path: Path, *, most: int) -> None:
    """Download `url` to `path`, whole or not at all and `most` bytes long; the hash that the name promises is checked.

    Raises UnavailableError: no connection, not writable, too slow, or another file than the name promises.
    """
    partial: Path | None = None
    try:
        with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
            partial = Path(name)
            with os.fdopen(handle, "wb") as file:
                _copy(response, file, path.name, most)
        if not digest(partial).startswith(_promised(path.name)):
            raise UnavailableError("the fetched file is not the one its name promises")
        partial.replace(path)
    except (OSError, ValueError, HTTPException) as error:  # URLError, timeouts and failed writes are OSErrors
        reason = getattr(error, "reason", None) or error
        raise UnavailableError(f"fetching failed: {' '.join(str(reason).split())}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def read_state_dict(path: Path, *, remedy: str) -> tuple[dict[str, Tensor], str]:
    """The state dict in `path`, on the CPU, and the file's SHA-256; no code in the file can run.

    Raises UserError: a missing, unreadable or damaged file, or one that holds anything but tensors by name.
    """
    try:
        sha256 = digest(path)
    except OSError as error:
        raise UserError(f"cannot read the weights {path} ({error.strerror}): {remedy}") from error
    promised = _promised(path.name)
    if not sha256.startswith(promised):
        raise UserError(f"the weights {path} are damaged (SHA-256 {sha256[:16]}, not {promised[:16]}): {remedy}")
    if _unpacks(path):
        raise UserError(f"{path} holds more bytes than it has, and PyTorch packs no weights: {remedy}")
    try:
        with warnings.catch_warnings(action="ignore"):  # of what the reader thinks of a file that it then refuses
            if is_torchscript(path):
                state = read_tensors(path)
            else:
                state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any kind makes the reader fail in any way
        raise UserError(f"{path} is not a file of PyTorch weights ({type(error).__name__}): {remedy}") from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict (names and tensors) but a {type(state).__name__}: {remedy}")
    return state, sha256


def mismatch(error: RuntimeError, path: Path, network: str, *, remedy: str) -> UserError:
    """The one line for a state dict of another network, from what `load_state_dict` raised."""
    found = re.findall(r'"([\w.]+)"|size mismatch for ([\w.]+)', str(error))
    names = [first or second for first, second in found]
    example = f", {names[0]} among them" if names else ""
    return UserError(
        f"{path} holds the weights of another network than {network} "
        f"({len(names)} names or shapes differ{example}): {remedy}"
    )


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inception_url() -> str:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return URL_INCEPTION_V3


def _promised(name: str) -> str:
    """The hash, or the first digits of it, that this file name promises; empty for any but the official names."""
    if name == _inception_url().rsplit("/", 1)[1]:
        return OFFICIAL_INCEPTION
    lite0 = re.fullmatch(r"efficientnet-lite0-([0-9a-f]{8})\.pth", name)
    if lite0 is None:
        return publications.promised(name)
    return OFFICIAL_LITE0 if OFFICIAL_LITE0.startswith(lite0[1]) else lite0[1]


def _unpacks(path: Path) -> bool:
    """Whether the file is a zip whose members are larger than it: torch would allocate whatever they claim.

    TorchScript packs its code, which is never read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = (one for one in archive.infolist() if not CODE.match(one.filename))
            return sum(one.file_size for one in members) > path.stat().st_size
    except Exception:  # no zip, or a torn one: PyTorch's own reader says so
        return False


def _copy(response: HTTPResponse, file: BinaryIO, title: str, most: int) -> None:
    size = int(response.headers.get("Content-Length") or 0) or None
    seconds = FETCH_SECONDS * max(1, most / LARGEST_DOWNLOAD)
    end = time.monotonic() + seconds
    with tqdm(total=size, desc=title, unit="B", unit_scale=True, leave=False) as bar:
        while piece := response.read(1 << 20):
            file.write(piece)
            bar.update(len(piece))
            if file.tell() > most:
                raise ValueError(f"more than {most:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"not done after {seconds:.0f} s")
