"""The published weights of every network: where a file comes from, where it lies, its hash and a bound on its size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch

MIB = 2**20


@dataclass(frozen=True)
class Official:
    """One file of published weights."""

    network: str  # as messages call it: "Inception"
    url: str
    file: str  # its name in torch's hub folder, where torch-fidelity looks for it too
    sha256: str
    most: int  # bytes; a download that is larger is given up

    @property
    def path(self) -> Path:
        """Where the file lies once it is fetched: `checkpoints` in torch's hub folder (the variable TORCH_HOME)."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file

    @property
    def remedy(self) -> str:
        """What a user can do where the file is missing: which one, where it goes, where to get it."""
        saved = "" if self.url.endswith(f"/{self.file}") else f" as {self.file}"
        return f"put {self.url.rsplit('/', 1)[1]} from {self.url} into {self.path.parent}{saved}, {OWN_FILE}"


OWN_FILE = "or name it with --extractor-weights FILE"

# Meta publishes no hashes; these are the ones that users of the files give, and none was seen to differ
_DINOV2 = {
    "s": ("b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 128 * MIB),
    "b": ("0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", 512 * MIB),
    "l": ("d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 2048 * MIB),
    "g": ("baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3", 8192 * MIB),
}
_CLIP_LIMIT = 2048 * MIB  # of bytes; the largest file has about 1.3 billion


def dinov2(size: str) -> Official:
    """The weights of DINOv2 ViT-`size`/14, size in "s", "b", "l", "g"; Oquab et al. 2024 (arXiv 2304.07193)."""
    sha256, most = _DINOV2[size]
    hub = f"dinov2_vit{size}14"
    url = f"https://dl.fbaipublicfiles.com/dinov2/{hub}/{hub}_pretrain.pth"
    return Official(f"DINOv2 ViT-{size}/14", url, f"{hub}_pretrain.pth", sha256, most)


def clip(name: str) -> Official:
    """The weights of the CLIP network that torch-fidelity calls `name`; Radford et al. 2021 (arXiv 2103.00020)."""
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

    sha256 = MODEL_METADATA[name]["hash"]
    return Official(
        f"CLIP {MODEL_METADATA[name]['filename']}", MODEL_URLS[name], f"{name}-{sha256}.pt", sha256, _CLIP_LIMIT
    )


def promised(file: str) -> str:
    """The SHA-256 that a file of this name must have; empty for a name that none of DINOv2's and CLIP's files has."""
    if found := re.fullmatch(r"dinov2_vit([sblg])14_pretrain\.pth", file):
        return _DINOV2[found[1]][0]
    found = re.fullmatch(r"clip-[a-z0-9-]+-([0-9a-f]{64})\.pt", file)
    return found[1] if found else ""
