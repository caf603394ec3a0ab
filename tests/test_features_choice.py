"""Choosing an extractor: names, layers, sides, `auto`, and classes of the user's own."""

from __future__ import annotations

import hashlib
import sys
import urllib.error

import pytest
import torch

from bench import features as feature_package
from bench.errors import UserError
from bench.features import EXTRACTORS, inception, resolve, weights
from tests.feature_builders import CPU, OFFICIAL, Constant, empty_hub, one_line, save_random_inception, serve


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    return save_random_inception(tmp_path_factory.mktemp("weights") / "random.pth")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder, and a network that answers nothing."""
    serve(monkeypatch, urllib.error.URLError("no route to host"))
    return empty_hub(monkeypatch, tmp_path / "torch")


# Names


@pytest.mark.parametrize("choice", ["vgg", "", "vgg/24", "vgg@64", "inception/", "@64", "inception@", "inception@a"])
def test_an_unknown_extractor_is_refused_with_the_good_ones(choice):
    with pytest.raises(UserError) as caught:
        resolve(choice, device=CPU)
    text = one_line(caught)
    assert repr(choice) in text
    assert all(name in text for name in ["auto", *EXTRACTORS])


@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        (
            "efficientnet-lite0/24",
            ["'24'", "efficientnet-lite0/320", "efficientnet-lite0/112", "efficientnet-lite0/40"],
        ),
        ("efficientnet-lite0@50", ["50", "multiple of 16 from 64 to 448"]),
        ("efficientnet-lite0@32", ["32", "multiple of 16 from 64 to 448"]),
        ("efficientnet-lite0@464", ["464", "multiple of 16 from 64 to 448"]),
        ("efficientnet-lite0/112@0", ["0", "multiple of 16 from 64 to 448"]),
        ("inception/320", ["'320'", "inception/768", "inception/192", "inception/64"]),
        ("inception@150", ["150", "299 only"]),
        ("auto@64", ["'auto@64'", "takes no"]),
        ("auto/64", ["'auto/64'", "takes no"]),
        ("package.module:Class@64", ["'package.module:Class@64'", "takes no"]),
    ],
)
def test_an_unknown_layer_or_side_is_refused_with_the_good_ones(hub, choice, parts):
    with pytest.raises(UserError) as caught:
        resolve(choice, device=CPU)
    text = one_line(caught)
    assert all(part in text for part in parts)


def test_a_layer_and_a_side_go_together():
    extractor = resolve("efficientnet-lite0/40@64", device=CPU)
    assert (extractor.name, extractor.side, extractor.width) == ("efficientnet-lite0/40", 64, 40)
    assert extractor.label == "efficientnet-lite0/40, 64 px"
    assert extractor.narrower == ()


def test_every_extractor_in_the_table_can_be_imported():
    for target in EXTRACTORS.values():
        module, function = target.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_the_table_is_open(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "constant", f"{__name__}:build_constant")
    assert resolve("constant", device=CPU).label == "constant, 1 px"
    assert feature_package.EXTRACTORS is EXTRACTORS


def build_constant(device, weights):
    return Constant()


# Auto


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("no route to host"), TimeoutError("timed out"), b"<html>not the weights</html>"]
)
def test_auto_falls_back_in_one_line_when_fetching_fails(hub, monkeypatch, capsys, failure):
    serve(monkeypatch, failure)
    extractor = resolve("auto", device=CPU)
    printed = capsys.readouterr()
    assert extractor.name == "efficientnet-lite0"
    lines = [line for line in printed.err.replace("\r", "\n").splitlines() if line.startswith("features: ")]
    assert len(lines) == 1
    assert "efficientnet-lite0, 224 px" in lines[0]
    assert "no Inception weights" in lines[0]
    assert printed.out == ""
    assert not hub.exists() or not list(hub.iterdir())


def test_auto_takes_what_it_can_fetch_and_then_what_is_there(hub, monkeypatch, capsys, random_inception):
    monkeypatch.setattr(weights, "OFFICIAL_INCEPTION", weights.digest(random_inception)[:8])
    monkeypatch.setattr(inception, "OFFICIAL_INCEPTION", weights.digest(random_inception)[:8])
    serve(monkeypatch, random_inception.read_bytes())
    fetched = resolve("auto", device=CPU)
    assert fetched.name == "inception"
    assert fetched.label == "inception, 299 px"
    assert fetched.weights_hash == weights.digest(hub / OFFICIAL) == weights.digest(random_inception)
    assert [p.name for p in hub.iterdir()] == [OFFICIAL]
    assert "were fetched" in capsys.readouterr().err
    serve(monkeypatch, AssertionError("the file is here: nothing must be fetched"))
    assert resolve("auto", device=CPU).name == "inception"
    assert "are here" in capsys.readouterr().err
    assert resolve("inception/64", device=CPU).label == "inception/64, 299 px"


def test_auto_passes_over_a_damaged_file_and_says_so(hub, capsys):
    hub.mkdir(parents=True)
    (hub / OFFICIAL).write_bytes(b"half a file")
    assert resolve("auto", device=CPU).name == "efficientnet-lite0"
    assert "is damaged; move it away" in capsys.readouterr().err


def test_auto_takes_the_weights_that_are_given(hub, capsys, random_inception):
    extractor = resolve("auto", device=CPU, weights=random_inception)
    sha256 = hashlib.sha256(random_inception.read_bytes()).hexdigest()
    assert extractor.weights_hash == sha256
    assert extractor.name == f"inception:{sha256[:8]}"  # not the official weights: never to be called FID
    assert str(random_inception) in capsys.readouterr().err


def test_inception_by_name_says_what_is_missing_and_where_it_goes(hub):
    with pytest.raises(UserError) as caught:
        resolve("inception", device=CPU)
    text = one_line(caught)
    assert all(part in text for part in [OFFICIAL, str(hub), "--extractor-weights FILE", "no route to host"])


@pytest.mark.parametrize("choice", ["efficientnet-lite0", "efficientnet-lite0@64", "package.module:Class"])
def test_weights_for_another_extractor_are_refused(random_inception, choice):
    with pytest.raises(UserError, match="does not go with"):
        resolve(choice, device=CPU, weights=random_inception)


# Classes of the user's own


class Own:
    """A complete extractor: three moments of the pixels."""

    name, side, width, weights_hash, label = "own", 8, 3, "0" * 64, "own, 8 px"

    def __init__(self, device):
        self.device = device

    def __call__(self, images):
        x = images.to(self.device).float().flatten(1)
        return torch.stack([x.mean(1), x.std(1), x.amax(1)], 1), x.mean(1, keepdim=True)


def test_a_class_of_the_users_own_is_taken():
    extractor = resolve(f"{__name__}:Own", device=CPU)
    assert isinstance(extractor, Own)
    assert extractor.device == CPU


def own(**changes):
    """A module attribute name of a class like `Own` with attributes changed, or removed where they are None."""
    members = {k: v for k, v in vars(Own).items() if not k.startswith("__") or k in ("__init__", "__call__")}
    members = {k: v for k, v in (members | changes).items() if v is not None}
    sys.modules[__name__].Changed = type("Changed", (), members)
    return f"{__name__}:Changed"


@pytest.mark.parametrize("attribute", ["name", "side", "width", "weights_hash", "label", "__call__"])
def test_what_a_class_lacks_is_named(attribute):
    with pytest.raises(UserError, match=rf"Changed' does not keep the protocol: it lacks {attribute}") as caught:
        resolve(own(**{attribute: None}), device=CPU)
    assert "docs/extractors.md" in one_line(caught)


def test_all_that_a_class_lacks_is_named_at_once():
    with pytest.raises(UserError, match=r"lacks name .*, weights_hash .*, label "):
        resolve(own(name=None, weights_hash=None, label=None), device=CPU)


def fails(*arguments):
    raise RuntimeError("two\nlines")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"side": 0}, "its side is 0"),
        ({"side": "8"}, "its side is '8'"),
        ({"width": True}, "its width is True"),
        ({"name": ""}, "its name is ''"),
        ({"weights_hash": 12}, "its weights_hash is 12"),
        ({"label": "own"}, "its label 'own' does not hold its name 'own' and side 8"),
        ({"name": "inception", "label": "inception, 8 px"}, "that of another extractor"),
        ({"name": "inception/2", "label": "inception/2, 8 px"}, "that of another extractor"),
        ({"width": 4}, r"gave features \(2, 3\)"),
        ({"__call__": fails}, "failed on uint8 images.*RuntimeError: two lines"),
        ({"__call__": lambda self, images: (images.float().flatten(1)[:, :3] / 0, images.float()[:, 0, 0])}, "finite"),
        ({"__init__": fails}, r"Changed\(device\) failed \(RuntimeError: two lines"),
        ({"__init__": lambda self: None}, r"Changed\(device\) failed \(TypeError"),
    ],
)
def test_a_class_that_breaks_the_protocol_is_refused_before_any_training(changes, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        resolve(own(**changes), device=CPU)
    one_line(caught)


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("no_such_package.module:Class", "cannot be imported"),
        (f"{__name__}:Nothing", "has no 'Nothing'"),
        (f"{__name__}:CPU", "not a class or function"),
        (":Class", "package.module:Class"),
        ("package.module:", "package.module:Class"),
        ("inception:1a2b3c4d", "package.module:Class"),
    ],
)
def test_a_class_that_cannot_be_had_is_one_line(target, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        resolve(target, device=CPU)
    assert repr(target) in one_line(caught)


def test_a_module_that_fails_when_imported_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_extractor_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"importing it failed \(ZeroDivisionError") as caught:
        resolve("broken_extractor_module:Class", device=CPU)
    one_line(caught)
