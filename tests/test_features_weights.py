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
from bench.features import efficientnet_lite0, resolve, weights
from tests.feature_builders import CPU, OFFICIAL, empty_hub, one_line, save_random_inception, serve


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
        resolve(choice, device=CPU, inception_weights=path)
    text = one_line(caught)
    assert str(path) in text
    assert "--inception-weights FILE" in text


def test_a_state_dict_of_the_wrong_shapes_names_one(tmp_path):
    state = torch.load(save_random_inception(tmp_path / "random.pth"), weights_only=True)
    state["fc.weight"] = state["fc.weight"][:10]
    with pytest.raises(UserError, match=r"another network.*fc\.weight"):
        resolve("inception", device=CPU, inception_weights=save(tmp_path / "fc.pth", state))


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
        resolve("inception", device=CPU, inception_weights=path)
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
