"""Extractors: equal to the networks they fold, at every layer and side, and blind to how images are batched."""

from __future__ import annotations

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as reference

from bench.errors import UserError
from bench.features import Features, efficientnet_lite0, extract, inception, resolve
from tests.feature_builders import CPU, Constant, counted, one_line, pictures, save_random_inception


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    return save_random_inception(tmp_path_factory.mktemp("weights") / "random.pth")


@pytest.fixture(scope="module")
def lite0():
    return resolve("efficientnet-lite0", device=CPU)


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


@pytest.mark.parametrize("side", [64, 96, 112])
def test_efficientnet_at_another_side_equals_the_package_with_paddings_found_as_it_runs(side):
    images = pictures(3, side=side)
    ours = resolve(f"efficientnet-lite0@{side}", device=CPU)
    with torch.random.fork_rng(devices=[]):
        plain = EfficientNet.from_name("efficientnet-lite0", image_size=None)  # None: padding by each input's size
    plain.load_state_dict(efficientnet_lite0.load()[0].body.state_dict())
    with torch.no_grad():
        expected = plain.eval()((images.float() - 127) / 128)
    features, logits = ours(images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert features.shape == (3, 1280)
    assert (ours.name, ours.side, ours.label) == ("efficientnet-lite0", side, f"efficientnet-lite0, {side} px")


def test_images_are_resized_to_the_side_and_not_past_it():
    images = pictures(2, side=40)
    small = resolve("efficientnet-lite0@64", device=CPU)
    resized = nn.functional.interpolate(images.float(), size=(64, 64), mode="bilinear", antialias=True)
    with torch.no_grad():
        expected = efficientnet_lite0.load(side=64)[0].body((resized - 127) / 128)
    torch.testing.assert_close(small(images)[1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", efficientnet_lite0.LAYERS)
def test_a_layer_of_efficientnet_is_the_pooled_output_of_the_last_block_of_its_width(lite0, layer):
    images = pictures(4, side=40)
    extractor = resolve(f"efficientnet-lite0/{layer}", device=CPU)
    plain, _ = efficientnet_lite0.load()
    seen = {}
    for block in plain.body._blocks:  # later blocks of a width overwrite earlier ones
        block.register_forward_hook(lambda m, i, out: seen.__setitem__(out.shape[1], out.mean((2, 3))))
    with torch.no_grad():
        plain(images)
    features, logits = extractor(images)
    assert features.shape == (4, int(layer)) == (4, extractor.width)
    torch.testing.assert_close(features, seen[int(layer)], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, lite0(images)[1], rtol=1e-4, atol=1e-4)
    assert extractor.label == f"efficientnet-lite0/{layer}, 224 px"


@pytest.mark.parametrize("layer", [None, *inception.LAYERS])
def test_folded_inception_equals_torch_fidelitys_own(random_inception, layer):
    images = pictures(2)
    choice = "inception" if layer is None else f"inception/{layer}"
    extractor = resolve(choice, device=CPU, weights=random_inception)
    with torch.random.fork_rng(devices=[]):
        plain = reference.FeatureExtractorInceptionV3(
            "inception-v3-compat",
            [layer or "2048", "logits_unbiased"],
            feature_extractor_weights_path=str(random_inception),
        )
    for actual, wanted in zip(extractor(images), plain(images), strict=True):
        spread = float(wanted.std(0).mean())
        assert spread > 1e-3
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-3 * spread)
    assert extractor.width == len(extractor(images)[0][0])
    assert extractor.name == f"inception:{extractor.weights_hash[:8]}" + ("" if layer is None else f"/{layer}")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in extractor.network.modules())


def test_narrower_layers_are_named_as_the_command_line_takes_them(random_inception):
    for choice, weights in [("efficientnet-lite0@64", None), ("inception", random_inception)]:
        wide = resolve(choice, device=CPU, weights=weights)
        assert len(wide.narrower) == 3
        widths = [wide.width]
        for other in wide.narrower:
            narrow = resolve(other, device=CPU, weights=weights)
            assert narrow.side == wide.side
            assert narrow.narrower == wide.narrower[len(widths) :]
            widths.append(narrow.width)
        assert widths == sorted(set(widths), reverse=True)


def test_batch_splits_change_rounding_only(lite0, monkeypatch):
    monkeypatch.setattr(lite0, "chunk", 4)
    images = pictures(11)
    whole = extract(lite0, [images])
    assert whole.features.shape == (11, lite0.width)
    assert whole.logits.shape == (11, 1000)
    assert whole.features.dtype == whole.logits.dtype == torch.float32
    for split in (
        extract(lite0, iter([images[:1], images[1:10], images[10:]]), total=11),
        Features(*map(torch.cat, zip(*(lite0(part) for part in images.split(5)), strict=True))),
    ):
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


def test_extract_keeps_the_order():
    result = extract(Constant(), counted(10).split(3))
    assert isinstance(result, Features)
    assert result.features.flatten().tolist() == list(range(10))
    assert result.features.dtype == torch.float32


@pytest.mark.parametrize(
    ("chunk", "sizes"), [(None, [3, 3, 20, 1]), (8, [8, 8, 8, 3]), (64, [27]), (1, [1] * 27), (3, [3] * 9)]
)
def test_batches_are_joined_to_the_extractors_chunk(chunk, sizes):
    """A sampler gives blocks of 64 images, a GPU wants 256 at once."""
    extractor = Constant(chunk=chunk)
    result = extract(extractor, iter(counted(27).split([3, 3, 20, 1])))
    assert extractor.sizes == sizes
    assert result.features.flatten().tolist() == list(range(27))


def test_joining_draws_no_more_batches_than_it_needs():
    extractor, drawn = Constant(chunk=4), []

    def batches():
        for index, images in enumerate(counted(12).split(2)):
            assert sum(extractor.sizes) >= 2 * index - 4  # never more than a chunk and a batch are held
            drawn.append(index)
            yield images

    extract(extractor, batches())
    assert drawn == list(range(6))
    assert extractor.sizes == [4, 4, 4]


def test_images_of_different_shapes_are_not_joined():
    extractor = Constant(chunk=8)
    images = counted(6)
    result = extract(extractor, [images[:2], images[2:3].expand(-1, 3, 5, 5), images[3:]])
    assert extractor.sizes == [2, 1, 3]
    assert result.features.flatten().tolist() == list(range(6))


@pytest.mark.parametrize("chunk", [None, 4])
def test_a_feature_that_is_not_finite_names_its_image(chunk):
    with pytest.raises(UserError, match="features of constant are not finite for image 7 ") as caught:
        extract(Constant(poison=7, chunk=chunk), counted(10).split(3))
    one_line(caught)


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, 4).byte(), torch.zeros(3, 4, 4).byte()]
)
def test_images_of_the_wrong_kind_are_refused(images, chunk):
    with pytest.raises(ValueError, match="uint8"):
        extract(Constant(chunk=chunk), [images])


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


class Small(Constant):
    """An extractor whose memory takes three images at once, or none at all."""

    room = 3

    def __call__(self, images):
        if len(images) > self.room:
            raise torch.OutOfMemoryError("no room for so many")
        return super().__call__(images)


def test_a_batch_that_does_not_fit_into_memory_is_halved():
    small = Small()
    assert extract(small, [counted(11)]).features.flatten().tolist() == list(range(11))
    assert max(small.sizes) <= 3
    small.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        extract(small, [counted(4)])


def test_another_fault_of_an_extractor_is_not_mended_by_halves():
    class Broken(Constant):
        def __call__(self, images):
            self.sizes.append(len(images))
            raise RuntimeError("of its own")

    broken = Broken()
    with pytest.raises(RuntimeError, match="of its own"):
        extract(broken, [counted(4)])
    assert broken.sizes == [4]
