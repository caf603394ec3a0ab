"""DINOv2 and CLIP: equal to torch-fidelity's extractors on the same weights, named and refused as they should be."""

from __future__ import annotations

import urllib.error
import warnings

import numpy as np
import pytest
import torch
from torch_fidelity import feature_extractor_clip, feature_extractor_dinov2
from torch_fidelity.feature_extractor_clip import CLIPVisual
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from bench import metrics
from bench.errors import UserError
from bench.features import EXTRACTORS, clip, dinov2, extract, official, resolve, weights
from bench.features.cache import cached
from bench.metrics import FeatureSets
from tests.feature_builders import CPU, empty_hub, one_line, pictures, serve
from tests.transformer_weights import CLIP_SIZES, DINOV2, draw, save_clip, save_dinov2, torchvision_twin

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


def test_a_gated_block_is_swiglu():
    """Two thirds of 4 x 24 hidden features are 64: (silu(x A) * x B) C."""
    block = draw(lambda: dinov2._Gated(dinov2.DINOv2Size(24, 1, 3, gated=True)), "gated")
    assert block.w12.weight.shape == (128, 24)
    x = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))
    both = np.einsum("nti,oi->nto", x.numpy(), block.w12.weight.detach().numpy()) + block.w12.bias.detach().numpy()
    a, b = both[..., :64], both[..., 64:]
    expected = np.einsum("nto,io->nti", a / (1 + np.exp(-a)) * b, block.w3.weight.detach().numpy())
    expected += block.w3.bias.detach().numpy()
    np.testing.assert_allclose(block(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_position_embedding_is_resized_by_cubic_convolution_with_the_published_scale():
    """Keys 1981 with a = -3/4, the edge repeated; position i of 16 lies at (i + 1/2) 37 / 16.1 - 1/2 of 37."""
    embedding = torch.randn(1, 1 + 37**2, 2, generator=torch.Generator().manual_seed(2))
    along = np.zeros((16, 37))
    for i in range(16):
        at = (i + 0.5) * 37 / 16.1 - 0.5
        for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            t = abs(at - k)
            inner, outer = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            along[i, min(max(k, 0), 36)] += inner if t <= 1 else outer
    square = embedding[0, 1:].reshape(37, 37, 2).numpy()
    expected = np.einsum("ia,jb,abc->ijc", along, along, square).reshape(256, 2)
    actual = dinov2.resized(embedding, 16)
    assert torch.equal(actual[:, 0], embedding[:, 0])
    np.testing.assert_allclose(actual[0, 1:], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "published"), [("s", 88_283_115), ("b", 346_378_731), ("l", 1_217_586_395), ("g", 4_546_108_579)]
)
def test_dinov2_has_as_many_parameters_as_its_published_file(monkeypatch, size, published):
    monkeypatch.undo()  # the real sizes
    with torch.device("meta"):
        network = dinov2.DinoV2(dinov2.SIZES[size])
    total = 4 * sum(one.numel() for one in network.state_dict().values())
    assert 0.998 * published < total < published < official.dinov2(size).most


@pytest.mark.parametrize(("name", "parameters"), [(VIT, 87_849_216), ("clip-vit-l-14", 303_966_208), (RN, 38_316_896)])
def test_clips_image_half_has_as_many_parameters_as_published(monkeypatch, name, parameters):
    monkeypatch.undo()
    size = clip.SIZES[name]
    with torch.device("meta"):
        network = CLIPVisual(size.embedding, size.side, size.layers, size.width, size.patch)
    assert sum(one.numel() for one in network.parameters()) == parameters


def test_every_dinov2_and_clip_that_torch_fidelity_registers_is_offered():
    theirs = {name for name in FEATURE_EXTRACTORS_REGISTRY if name.startswith(("dinov2-", "clip-"))}
    assert len(theirs) == 13
    assert theirs == {name for name in EXTRACTORS if name.startswith(("dinov2-", "clip-"))}
    assert theirs == {*clip.SIZES, *(f"dinov2-vit-{size}-14" for size in dinov2.SIZES)}


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
