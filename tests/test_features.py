"""Extractors: equal to the networks they fold, blind to batch splits, and plain about missing or wrong weights."""

from __future__ import annotations

import hashlib
import io
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as reference

from bench import features as feature_package
from bench.errors import UserError
from bench.features import EXTRACTORS, Features, efficientnet_lite0, extract, inception, resolve, weights

CPU = torch.device("cpu")
OFFICIAL = "weights-inception-2015-12-05-6726825d.pth"


def pictures(n, channels=3, side=12, seed=0):
    """Uint8 images of smooth blobs: noise alone looks the same to any network."""
    coarse = torch.randint(0, 256, (n, channels, 3, 3), generator=torch.Generator().manual_seed(seed)).float()
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear").round().to(torch.uint8)


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    """A file of random Inception weights that keep signals alive through the depth."""

    class Unloaded(reference.FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            pass

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(reference, "load_state_dict_from_url", lambda *a, **k: {})
        torch.manual_seed(0)
        network = Unloaded("inception-v3-compat", ["2048"])
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            if isinstance(module, nn.BatchNorm2d):  # folding must use every one of its four tensors
                nn.init.uniform_(module.weight, 0.7, 1.3)
                nn.init.normal_(module.bias, std=0.1)
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.7, 1.3)
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def lite0():
    return resolve("efficientnet-lite0", device=CPU)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub folder, and a network that answers nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    serve(monkeypatch, urllib.error.URLError("no route to host"))
    return tmp_path / "torch" / "hub" / "checkpoints"


def serve(monkeypatch, answer):
    """Let every download answer with these bytes, or raise this error."""

    class Response(io.BytesIO):
        headers = {"Content-Length": str(len(answer) if isinstance(answer, bytes) else 0)}  # noqa: RUF012

    def urlopen(url, timeout):
        assert timeout <= 15
        if isinstance(answer, Exception):
            raise answer
        return Response(answer)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


# The networks


def test_folded_efficientnet_equals_the_unfolded_one(lite0):
    images = pictures(5, side=40)
    plain, _ = efficientnet_lite0.load()
    with torch.no_grad():
        expected = plain(images)
    for actual, wanted in zip(lite0(images), expected, strict=True):
        assert wanted.std() > 0.1
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in lite0.network.modules())


def test_efficientnet_runs_as_its_package_runs_it(lite0):
    """The wrapper takes the network apart: its logits must be those of the package's own forward."""
    images = pictures(3, side=224)
    plain, _ = efficientnet_lite0.load()
    with torch.no_grad():
        expected = plain.body((images.float() - 127) / 128)
    torch.testing.assert_close(lite0(images)[1], expected, rtol=1e-4, atol=1e-4)


def test_folded_inception_equals_torch_fidelitys_own(random_inception):
    images = pictures(2)
    extractor = resolve("inception", device=CPU, inception_weights=random_inception)
    with torch.random.fork_rng(devices=[]):
        plain = reference.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(random_inception)
        )
    for actual, wanted in zip(extractor(images), plain(images), strict=True):
        spread = float(wanted.std(0).mean())
        assert spread > 1e-3
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-3 * spread)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in extractor.network.modules())


def test_batch_splits_change_rounding_only(lite0, monkeypatch):
    monkeypatch.setattr(lite0, "chunk", 4)
    images = pictures(11)
    whole = extract(lite0, [images])
    split = extract(lite0, iter([images[:1], images[1:10], images[10:]]), total=11)
    assert whole.features.shape == (11, lite0.width)
    assert whole.logits.shape == (11, 1000)
    assert whole.features.dtype == whole.logits.dtype == torch.float32
    torch.testing.assert_close(split.features, whole.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(split.logits, whole.logits, rtol=1e-4, atol=1e-4)


def test_memory_is_bounded_by_the_chunk(lite0, monkeypatch):
    sizes = []
    monkeypatch.setattr(lite0.network, "forward", lambda x: (sizes.append(len(x)), (x.new_zeros(len(x), 2),) * 2)[1])
    lite0(pictures(100, side=4))
    assert sum(sizes) == 100
    assert max(sizes) <= 64


def test_grey_is_grey_colour(lite0):
    grey = pictures(3, channels=1)
    for one, three in zip(lite0(grey), lite0(grey.repeat(1, 3, 1, 1)), strict=True):
        torch.testing.assert_close(one, three, rtol=0, atol=0)


def test_what_a_score_needs_to_know_is_there(lite0):
    assert lite0.label == "efficientnet-lite0, 224 px"
    assert len(lite0.weights_hash) == 64
    assert lite0.weights_hash.startswith("57934424")  # the package's file name ends in it


# The pass


class Constant:
    """An extractor of nothing: each image's first pixel, as its feature and its logit."""

    name, side, width, weights_hash, label = "constant", 1, 1, "00", "constant, 1 px"

    def __init__(self, poison=None):
        self.poison = poison

    def __call__(self, images):
        x = images[:, 0, 0, :1].double()
        return torch.where(x == self.poison, torch.nan, x) if self.poison is not None else x, x


def test_extract_keeps_the_order():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    result = extract(Constant(), images.split(3))
    assert isinstance(result, Features)
    assert result.features.flatten().tolist() == list(range(10))
    assert result.features.dtype == torch.float32


def test_a_feature_that_is_not_finite_names_its_image():
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1)
    with pytest.raises(UserError, match="features of constant are not finite for image 7 ") as caught:
        extract(Constant(poison=7), images.split(3))
    one_line(caught)


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4).byte(), torch.zeros(3, 4, 4).byte()]
)
def test_images_of_the_wrong_kind_are_refused(images):
    with pytest.raises(ValueError, match="uint8"):
        extract(Constant(), [images])


def test_no_images_and_broken_extractors_are_refused():
    with pytest.raises(ValueError, match="no images"):
        extract(Constant(), [])
    broken = Constant()
    broken.width = 3
    with pytest.raises(ValueError, match="must be \\(n, 3\\)"):
        extract(broken, [torch.zeros(2, 1, 4, 4).byte()])


def test_progress_goes_to_stderr_and_only_when_asked(capsys):
    batches = [torch.zeros(2, 1, 4, 4).byte()]
    extract(Constant(), batches)
    assert capsys.readouterr().err == ""
    extract(Constant(), batches, progress="real images", total=2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "real images" in printed.err


# Choosing


def test_an_unknown_extractor_is_refused_with_the_good_ones():
    with pytest.raises(UserError) as caught:
        resolve("vgg", device=CPU)
    text = one_line(caught)
    assert "'vgg'" in text
    assert all(name in text for name in ["auto", *EXTRACTORS])


def test_every_extractor_in_the_table_can_be_imported():
    for target in EXTRACTORS.values():
        module, function = target.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))


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


def test_auto_passes_over_a_damaged_file_and_says_so(hub, capsys):
    hub.mkdir(parents=True)
    (hub / OFFICIAL).write_bytes(b"half a file")
    assert resolve("auto", device=CPU).name == "efficientnet-lite0"
    assert "is damaged; delete it" in capsys.readouterr().err


def test_auto_takes_the_weights_that_are_given(hub, capsys, random_inception):
    extractor = resolve("auto", device=CPU, inception_weights=random_inception)
    sha256 = hashlib.sha256(random_inception.read_bytes()).hexdigest()
    assert extractor.weights_hash == sha256
    assert extractor.name == f"inception:{sha256[:8]}"  # not the official weights: never to be called FID
    assert str(random_inception) in capsys.readouterr().err


def test_inception_by_name_says_what_is_missing_and_where_it_goes(hub):
    with pytest.raises(UserError) as caught:
        resolve("inception", device=CPU)
    text = one_line(caught)
    assert all(part in text for part in [OFFICIAL, str(hub), "--inception-weights FILE", "no route to host"])


def test_weights_for_another_extractor_are_refused(random_inception):
    with pytest.raises(UserError, match="does not go with"):
        resolve("efficientnet-lite0", device=CPU, inception_weights=random_inception)


# Wrong weights


def save(path, value):
    torch.save(value, path)
    return path


class Payload:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("choice", ["auto", "inception"])
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


def test_a_state_dict_of_the_wrong_shapes_names_one(tmp_path, random_inception):
    state = torch.load(random_inception, weights_only=True)
    state["fc.weight"] = state["fc.weight"][:10]
    with pytest.raises(UserError, match=r"another network.*fc\.weight"):
        resolve("inception", device=CPU, inception_weights=save(tmp_path / "fc.pth", state))


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


def test_the_table_is_open(monkeypatch):
    monkeypatch.setitem(EXTRACTORS, "constant", f"{__name__}:build_constant")
    assert resolve("constant", device=CPU).label == "constant, 1 px"
    assert feature_package.EXTRACTORS is EXTRACTORS


def build_constant(device, weights):
    return Constant()
