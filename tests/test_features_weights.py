"""Weights files: a wrong one is one clear line before any training, and none can run code."""

from __future__ import annotations

import io
import pickle
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.features import clip, efficientnet_lite0, official, resolve, weights
from tests.feature_builders import CPU, OFFICIAL, empty_hub, one_line, save_random_inception, serve
from tests.transformer_weights import CLIP_SIZES, save_clip


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder, and a network that answers nothing."""
    serve(monkeypatch, urllib.error.URLError("no route to host"))
    return empty_hub(monkeypatch, tmp_path / "torch")


def save(path, value):
    torch.save(value, path)
    return path


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("choice", ["auto", "inception", "inception/64"])
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda d: d / "absent.pth", "No such file"),
        (lambda d: d, "Is a directory"),
        (lambda d: (d / "text.pth", (d / "text.pth").write_text("not weights"))[0], "not a file of PyTorch weights"),
        (lambda d: (d / "empty.pth", (d / "empty.pth").touch())[0], "not a file of PyTorch weights"),
        (lambda d: save(d / "list.pth", [torch.zeros(2)]), "no state dict"),
        (lambda d: save(d / "nested.pth", {"model": {"w": torch.zeros(2)}}), "no state dict"),
        (lambda d: save(d / "other.pth", {"layer.weight": torch.zeros(2)}), "another network"),
        (lambda d: save(d / OFFICIAL, {"layer.weight": torch.zeros(2)}), "damaged"),
    ],
)
def test_a_wrong_weights_file_is_one_clear_line(hub, tmp_path, choice, make, complaint):
    path = make(tmp_path)
    with pytest.raises(UserError, match=complaint) as caught:
        resolve(choice, device=CPU, weights=path)
    text = one_line(caught)
    assert str(path) in text
    assert "--extractor-weights FILE" in text


def test_a_state_dict_of_the_wrong_shapes_names_one(tmp_path):
    state = torch.load(save_random_inception(tmp_path / "random.pth"), weights_only=True)
    state["fc.weight"] = state["fc.weight"][:10]
    with pytest.raises(UserError, match=r"another network.*fc\.weight"):
        resolve("inception", device=CPU, weights=save(tmp_path / "fc.pth", state))


def test_a_damaged_file_of_the_package_is_refused(tmp_path):
    path = save(tmp_path / "efficientnet-lite0-57934424.pth", {"w": torch.zeros(2)})
    with pytest.raises(UserError, match=r"damaged.*57934424.*reinstall the package") as caught:
        efficientnet_lite0.build(CPU, path)
    one_line(caught)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_weights_file_is_not_run(tmp_path, legacy):
    target, path = tmp_path / "ran", tmp_path / "evil.pth"
    if legacy:
        path.write_bytes(pickle.dumps({"w": Payload(target)}))
    else:
        torch.save({"w": Payload(target)}, path)
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        resolve("inception", device=CPU, weights=path)
    assert not target.exists()


def test_a_broken_download_leaves_nothing(hub, monkeypatch):
    class Breaks(io.BytesIO):
        headers = {}  # noqa: RUF012

        def read(self, size):
            raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Breaks())
    with pytest.raises(weights.UnavailableError, match="reset by peer"):
        weights.inception_file()
    assert list(hub.iterdir()) == []


def test_a_download_without_end_is_given_up(hub, monkeypatch):
    serve(monkeypatch, b"x" * 1000)
    monkeypatch.setattr(weights, "LARGEST_DOWNLOAD", 999)
    with pytest.raises(weights.UnavailableError, match="more than 999 bytes"):
        weights.inception_file()
    assert list(hub.iterdir()) == []


def test_the_official_names_promise_whole_hashes():
    """The first eight digits, which the names end in, could be forged; the rest cannot."""
    for name in (OFFICIAL, "efficientnet-lite0-57934424.pth"):
        assert len(weights._promised(name)) == 64
        assert weights._promised(name).startswith(name.removesuffix(".pth")[-8:])
    assert weights._promised("efficientnet-lite0-0123abcd.pth") == "0123abcd"
    assert weights._promised("mine.pth") == ""


def test_weights_that_unpack_to_more_than_their_file_are_refused(tmp_path):
    """A deflated zip of zeros: a few kilobytes that PyTorch's reader would turn into gigabytes."""
    plain, packed = save(tmp_path / "plain.pth", {"w": torch.zeros(100_000)}), tmp_path / "packed.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert weights.read_state_dict(plain, remedy="-")[0]["w"].shape == (100_000,)
    assert packed.stat().st_size < plain.stat().st_size / 50
    with pytest.raises(UserError, match=r"holds more bytes than it has.*get another") as caught:
        weights.read_state_dict(packed, remedy="get another")
    one_line(caught)


# TorchScript, as OpenAI publishes CLIP


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.setitem(clip.SIZES, "clip-vit-b-32", CLIP_SIZES["clip-vit-b-32"])
    return save_clip(tmp_path / "clip.pt", "clip-vit-b-32")


def rewritten(source, target, change, compression=zipfile.ZIP_STORED):
    """The zip with each member put through `change`: (name, bytes) -> bytes or None to leave it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


def test_the_tensors_of_a_torchscript_archive_are_those_that_its_module_has(archive):
    plain = torch.load(save_clip(archive.with_name("plain.pth"), "clip-vit-b-32", script=False), weights_only=True)
    tensors, sha256 = weights.read_state_dict(archive, remedy="-")
    assert sha256 == weights.digest(archive)
    assert tensors.keys() == plain.keys()
    assert all(torch.equal(tensors[name], plain[name]) and tensors[name].dtype == plain[name].dtype for name in plain)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_lists_and_dictionaries_beside_the_tensors_of_an_archive_are_passed_over(tmp_path):
    class Listed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.arange(3.0))
            self.sizes = torch.jit.Attribute([1, 2], list[int])
            self.names = torch.jit.Attribute({"a": 1.0}, dict[str, float])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.w * self.sizes[0] * self.names["a"]

    path = tmp_path / "listed.pt"
    torch.jit.script(Listed()).save(str(path))
    tensors, _ = weights.read_state_dict(path, remedy="-")
    assert list(tensors) == ["w"]
    assert torch.equal(tensors["w"], torch.arange(3.0))


def test_the_code_of_an_archive_is_not_read(archive, tmp_path):
    spoiled = rewritten(archive, tmp_path / "spoiled.pt", lambda name, old: b"1 / 0" if "/code/" in name else old)
    assert (
        weights.read_state_dict(spoiled, remedy="-")[0].keys() == weights.read_state_dict(archive, remedy="-")[0].keys()
    )


def test_code_in_an_archives_data_is_not_run(archive, tmp_path):
    target = tmp_path / "ran"
    evil = pickle.dumps({"w": Payload(target)}, protocol=2)
    path = rewritten(archive, tmp_path / "evil.pt", lambda name, old: evil if name.endswith("/data.pkl") else old)
    with pytest.raises(UserError, match="not a file of PyTorch weights") as caught:
        resolve("clip-vit-b-32", device=CPU, weights=path)
    one_line(caught)
    assert not target.exists()
    pickle.loads(evil)
    assert target.exists()  # or there was nothing to refuse


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda name, old: None if name.endswith("/data.pkl") else old, "not a file of PyTorch weights"),
        (lambda name, old: None if name.endswith("/data/1") else old, "not a file of PyTorch weights"),
        (lambda name, old: pickle.dumps({}, protocol=2) if name.endswith("/data.pkl") else old, "no state dict"),
    ],
)
def test_a_torn_archive_is_one_clear_line(archive, tmp_path, change, complaint):
    path = rewritten(archive, tmp_path / "torn.pt", change)
    with pytest.raises(UserError, match=complaint) as caught:
        resolve("clip-vit-b-32", device=CPU, weights=path)
    assert "--extractor-weights FILE" in one_line(caught)


def test_an_archive_that_unpacks_to_more_than_its_file_is_refused(archive, tmp_path):
    path = rewritten(
        archive,
        tmp_path / "packed.pt",
        lambda name, old: bytes(len(old)) if "/data/" in name else old,
        zipfile.ZIP_DEFLATED,
    )
    with pytest.raises(UserError, match="holds more bytes than it has"):
        resolve("clip-vit-b-32", device=CPU, weights=path)


def test_the_names_of_dinov2_and_clip_promise_whole_hashes():
    for one in [official.dinov2(size) for size in "sblg"] + [official.clip(name) for name in clip.SIZES]:
        assert weights._promised(one.file) == one.sha256
        assert len(one.sha256) == 64
    assert weights._promised("clip-vit-b-32.pt") == weights._promised("dinov2_vits14_reg4_pretrain.pth") == ""
