"""DINOv2 and CLIP: equal to torch-fidelity's extractors on the same weights, named and refused as they should be."""

from __future__ import annotations

import urllib.error
import warnings

import pytest
import torch
from torch_fidelity import feature_extractor_clip, feature_extractor_dinov2

from bench import metrics
from bench.errors import UserError
from bench.features import clip, dinov2, extract, official, resolve, weights
from bench.features.cache import cached
from bench.metrics import FeatureSets
from tests.feature_builders import CPU, empty_hub, one_line, pictures, serve
from tests.transformer_weights import CLIP_SIZES, DINOV2, save_clip, save_dinov2, torchvision_twin

DINO, VIT, RN = "dinov2-vit-s-14", "clip-vit-b-32", "clip-rn50"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Networks of the real layout with few and narrow blocks."""
    monkeypatch.setitem(dinov2.SIZES, "s", DINOV2)
    for name, size in CLIP_SIZES.items():
        monkeypatch.setitem(clip.SIZES, name, size)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder, and a network that answers nothing."""
    serve(monkeypatch, urllib.error.URLError("no route to host"))
    return empty_hub(monkeypatch, tmp_path / "torch")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A weights file for each name."""
    folder = tmp_path_factory.mktemp("weights")
    return {DINO: save_dinov2(folder / "dinov2.pth")} | {
        name: save_clip(folder / f"{name}.pt", name) for name in (VIT, RN)
    }


def publish(monkeypatch, name, path):
    """Let the weights at `path` be the official ones of `name`."""
    sha256 = weights.digest(path)
    if name == DINO:
        monkeypatch.setitem(official._DINOV2, "s", (sha256, 2**28))
    else:
        monkeypatch.setitem(feature_extractor_clip.MODEL_METADATA, name, {"hash": sha256, "filename": "ViT-B-32"})


def close(ours, theirs):
    spread = float(theirs.std(0).mean())
    assert spread > 1e-2
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3 * spread)


# The networks


def test_dinov2_equals_torch_fidelitys_extractor_around_torchvisions_transformer(files, monkeypatch):
    """torch-fidelity fetches the network: it gets an independent one here, and brings its own input scaling."""
    twin = torchvision_twin(torch.load(files[DINO], weights_only=True))
    monkeypatch.setattr(torch.hub, "load", lambda *names: twin)
    theirs = feature_extractor_dinov2.FeatureExtractorDinoV2(DINO, ["dinov2"])
    ours = resolve(DINO, device=CPU, weights=files[DINO])
    for images in (pictures(3, side=20), pictures(2, side=224)):
        features, logits = ours(images)
        close(features, theirs(images)[0])
        assert features.shape == (len(images), ours.width) == (len(images), DINOV2.width)
        assert logits.shape == (len(images), 0)


@pytest.mark.parametrize("name", [VIT, RN])
@pytest.mark.parametrize("script", [True, False])
def test_clip_equals_torch_fidelitys_extractor(files, tmp_path, name, script):
    own = files[name] if script else save_clip(tmp_path / "plain.pth", name, script=False)
    with warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):
        theirs = feature_extractor_clip.FeatureExtractorCLIP(
            name, ["clip"], feature_extractor_weights_path=str(files[name])
        )
    ours = resolve(name, device=CPU, weights=own)
    for images in (pictures(3, side=20), pictures(2, side=CLIP_SIZES[name].side)):
        features, logits = ours(images)
        close(features, theirs(images)[0])
        assert features.shape == (len(images), ours.width)
        assert logits.shape == (len(images), 0)


@pytest.mark.parametrize("name", [DINO, VIT])
def test_grey_is_grey_colour_and_batches_change_rounding_only(files, name):
    extractor = resolve(name, device=CPU, weights=files[name])
    grey = pictures(3, channels=1)
    whole = extractor(grey)[0]
    assert torch.equal(whole, extractor(grey.repeat(1, 3, 1, 1))[0])
    apart = torch.cat([extractor(one)[0] for one in grey.split(1)])
    torch.testing.assert_close(apart, whole, rtol=1e-4, atol=1e-4)


# Names, layers and titles


@pytest.mark.parametrize("choice", [DINO, VIT, f"{VIT}/unit", RN, f"{RN}/unit"])
def test_other_weights_than_the_official_ones_are_named_by_their_hash_and_bear_no_title(files, choice):
    name, _, layer = choice.partition("/")
    extractor = resolve(choice, device=CPU, weights=files[name])
    sha256 = weights.digest(files[name])
    assert extractor.weights_hash == sha256
    assert extractor.name == f"{name}:{sha256[:8]}" + (f"/{layer}" if layer else "")
    assert extractor.label == f"{extractor.name}, {extractor.side} px"
    assert extractor.titles == {}


@pytest.mark.parametrize(
    ("choice", "titles"), [(DINO, {"FD": "FD-DINOv2"}), (VIT, {}), (f"{VIT}/unit", {"MMD": "CMMD"})]
)
def test_the_official_weights_bear_the_name_and_title(hub, files, monkeypatch, choice, titles):
    name = choice.partition("/")[0]
    publish(monkeypatch, name, files[name])
    extractor = resolve(choice, device=CPU, weights=files[name])
    assert extractor.name == choice
    assert extractor.titles == titles
    assert extractor.narrower == ()


def test_the_layer_unit_of_clip_has_features_of_length_one_in_the_same_directions(files):
    images = pictures(4)
    plain, unit = (resolve(choice, device=CPU, weights=files[VIT])(images)[0] for choice in (VIT, f"{VIT}/unit"))
    assert (plain.norm(dim=1) - 1).abs().min() > 0.1
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(unit * plain.norm(dim=1, keepdim=True), plain)


@pytest.mark.parametrize(
    ("choice", "parts"),
    [
        (f"{DINO}/6", ["'6'", f"take {DINO}, which has no other layers"]),
        (f"{DINO}@112", ["112", "224 only"]),
        (f"{VIT}/768", ["'768'", f"{VIT}/unit"]),
        ("clip-vit-l-14-336px@224", ["224", "336 only"]),
        ("clip-vit-b-14", ["'clip-vit-b-14'", VIT, DINO]),
    ],
)
def test_an_unknown_layer_or_side_is_refused_with_the_good_ones(hub, choice, parts):
    with pytest.raises(UserError) as caught:
        resolve(choice, device=CPU)
    assert all(part in one_line(caught) for part in parts)


# Weights


@pytest.mark.parametrize(
    ("name", "file", "url"),
    [
        (DINO, "dinov2_vits14_pretrain.pth", "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/"),
        (VIT, f"{VIT}-40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af.pt", "ViT-B-32.pt"),
    ],
)
def test_missing_weights_are_one_line_with_what_to_do(hub, name, file, url):
    with pytest.raises(UserError) as caught:
        resolve(name, device=CPU)
    text = one_line(caught)
    assert all(part in text for part in [file, url, str(hub), "--extractor-weights FILE", "no route to host"])


@pytest.mark.parametrize("name", [DINO, VIT])
def test_official_weights_are_fetched_once_and_then_there(hub, files, monkeypatch, name):
    publish(monkeypatch, name, files[name])
    serve(monkeypatch, files[name].read_bytes())
    assert resolve(name, device=CPU).name == name
    there = official.dinov2("s") if name == DINO else official.clip(name)
    assert [one.name for one in hub.iterdir()] == [there.file]
    serve(monkeypatch, AssertionError("the file is here: nothing must be fetched"))
    assert resolve(name, device=CPU).weights_hash == weights.digest(files[name])
    there.path.write_bytes(b"half a file")
    with pytest.raises(UserError, match="is damaged; move it away"):
        resolve(name, device=CPU)


@pytest.mark.parametrize("name", [DINO, VIT])
def test_another_file_than_the_official_one_is_not_kept(hub, monkeypatch, name):
    serve(monkeypatch, b"<html>not the weights</html>")
    with pytest.raises(UserError, match="not the one its name promises") as caught:
        resolve(name, device=CPU)
    one_line(caught)
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("choice", [DINO, VIT, f"{VIT}/unit", RN])
def test_weights_of_another_network_or_none_at_all_are_one_clear_line(hub, files, tmp_path, choice):
    name = choice.partition("/")[0]
    other = files[VIT if name != VIT else RN]
    text, named = tmp_path / "text.pth", tmp_path / f"{VIT}-{'0' * 64}.pt"
    text.write_text("not weights")
    named.write_bytes(files[VIT].read_bytes())
    for path, complaint in [
        (tmp_path / "absent.pth", "No such file"),
        (text, "not a file of PyTorch weights"),
        (other, r"another network.*names or shapes differ, [a-z]"),
        (named, "are damaged"),
    ]:
        with pytest.raises(UserError, match=complaint) as caught:
            resolve(choice, device=CPU, weights=path)
        assert str(path) in one_line(caught)
        assert "--extractor-weights FILE" in one_line(caught)


def test_weights_of_another_size_are_refused_although_the_names_agree(files, monkeypatch):
    monkeypatch.setitem(dinov2.SIZES, "s", dinov2.DINOv2Size(DINOV2.width * 2, DINOV2.depth, DINOV2.heads))
    with pytest.raises(UserError, match=r"weights of another network than DINOv2 ViT-s/14 \(\d\d names or shapes"):
        resolve(DINO, device=CPU, weights=files[DINO])
    monkeypatch.setitem(clip.SIZES, VIT, clip.CLIPSize(24, 96, 2, 64, 32))
    with pytest.raises(UserError, match=r"another network than CLIP ViT-B-32 \(1 names .* visual.positional_embedding"):
        resolve(VIT, device=CPU, weights=files[VIT])


def test_building_draws_nothing_from_the_global_generator(files):
    before = torch.random.get_rng_state()
    for name, path in files.items():
        resolve(name, device=CPU, weights=path)
    assert torch.equal(torch.random.get_rng_state(), before)


# Without classes


def test_an_extractor_without_classes_has_every_score_but_the_inception_score(files):
    extractor = resolve(DINO, device=CPU, weights=files[DINO])
    real, generated = (extract(extractor, [pictures(60, side=8, seed=seed)]) for seed in (1, 2))
    rows = {row.name: row for row in metrics.score(FeatureSets(real, generated, None), extractor, seed=0)}
    assert real.logits.shape == (60, 0)
    assert "IS" not in rows
    assert {"FD", "KID", "precision", "recall", "density", "coverage"} <= rows.keys()
    assert rows["FD"].value > 0


def test_the_cache_keeps_features_without_classes_and_tells_weights_and_layers_apart(files, tmp_path, capsys):
    images, folder = pictures(6, side=8), tmp_path / "cache"
    other = save_dinov2(tmp_path / "other.pth", seed="other")
    extractors = [
        resolve(DINO, device=CPU, weights=files[DINO]),
        resolve(DINO, device=CPU, weights=other),
        resolve(VIT, device=CPU, weights=files[VIT]),
        resolve(f"{VIT}/unit", device=CPU, weights=files[VIT]),
    ]
    first = [cached(one, images, what="train", key="k", folder=folder) for one in extractors]
    assert len([one for one in folder.rglob("*") if one.is_file()]) == len(extractors)
    calls = []
    for extractor, kept in zip(extractors, first, strict=True):
        extractor.network.register_forward_hook(lambda module, inputs, out: calls.append(len(inputs[0])))
        again = cached(extractor, images, what="train", key="k", folder=folder)
        assert torch.equal(again.features, kept.features)
        assert again.logits.shape == (6, 0)
    assert calls == [4] * len(extractors)  # of each, the few that an entry is probed with
    assert not torch.equal(first[0].features, first[1].features)
    assert capsys.readouterr().err == ""
