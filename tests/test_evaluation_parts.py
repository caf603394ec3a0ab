"""Reconstruction, interpolation, sweeps and diagnostics of models whose scores are known."""

from __future__ import annotations

import math

import pytest
import torch

from bench.contract.images import from_uint8
from bench.contract.model import GenerativeModel
from bench.contract.seeds import seeded
from bench.evaluation import EvaluationConfig, corruptions, diagnostics, interpolation, reconstruction, samples
from bench.features import Features
from bench.metrics import FeatureSets
from ebm.diagnostics import chain_curves
from ebm.langevin import ChainSettings
from tests.builders import images as noise_images
from tests.evaluation_builders import SHAPE, Guessing, Pixels, Scaled, by_name, bytes_of, config, real

SHAPES = (*interpolation.MEASURES, interpolation.REALISM)


def test_one_image_alone_has_a_score_without_an_interval():
    made = reconstruction.reconstruct(Scaled(0.5), from_uint8(bytes_of(1, 3)), config(), 0)
    entries = made.scores(reconstruction.settings(Scaled(), config()), seed=0, intervals=True)
    assert by_name(entries)["MSE"].value > 0
    assert all(one.interval is None and one.spread is None for one in entries)


def test_reconstruction_of_a_model_that_is_known():
    """The image times 0.5 is off by half of itself: MSE = mean x^2 / 4, of each image."""
    x = from_uint8(bytes_of(70, 3))
    made = reconstruction.reconstruct(Scaled(0.5), x, config(), 0)
    entries = by_name(made.scores(reconstruction.settings(Scaled(), config()), seed=0, intervals=True))
    each = x.square().flatten(1).mean(1) / 4
    assert entries["MSE"].value == pytest.approx(each.mean().item())
    assert entries["PSNR"].value == pytest.approx((10 * torch.log10(4 / each)).mean().item(), rel=1e-5)
    assert 0 < entries["SSIM"].value < 1
    half = 1.96 * each.std().item() / math.sqrt(len(each))
    low, high = entries["MSE"].interval
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)
    assert (entries["MSE"].budget, entries["MSE"].method, entries["MSE"].n) == (1, "encoder", 70)
    assert made.curve().x == (1,)


def test_error_falls_with_decodes_and_restarts_share_the_budget():
    x = from_uint8(bytes_of(70, 3))
    once, thrice = (config(budget=20, restarts=restarts) for restarts in (1, 3))
    one, three = (reconstruction.reconstruct(Guessing(), x, each, 0) for each in (once, thrice))
    assert list(one.by_decodes) == [1, 2, 3, 5, 10, 20]
    assert list(three.by_decodes) == [1, 2, 3, 5, 10, 18]  # three times six
    for found in (one, three):
        errors = list(found.by_decodes.values())
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] == pytest.approx((found.made - x).square().mean().item(), rel=1e-5)
    assert one.by_decodes[5] == pytest.approx(three.by_decodes[5])  # the first start is the same
    assert one.by_decodes[20] != pytest.approx(three.by_decodes[18])
    assert reconstruction.settings(Guessing(), thrice).budget == 18
    assert "best of 3 starts" in reconstruction.settings(Guessing(), thrice).method


@pytest.mark.parametrize(
    ("budget", "counts"),
    [(1, [1]), (3, [1, 2, 3]), (50, [1, 2, 3, 5, 10, 20, 30, 50]), (60, [1, 2, 3, 5, 10, 20, 30, 50, 60])],
)
def test_decode_counts_end_in_the_budget(budget, counts):
    assert reconstruction.decode_counts(budget) == counts


def test_kinds_of_paths():
    """Uniform latents: the paper's path is another than the prior's. Normal ones: both are one and scored once."""
    held_out = from_uint8(bytes_of(20, 4))
    for normal in (False, True):
        entries, strips = interpolation.interpolate(Scaled(0.2, normal), held_out, real(), config(), 0)
        scored = by_name(entries)
        assert len(scored) == 4 * 5 + 4 + 4
        assert not any(one.better != "none" for one in entries if one.name.partition(",")[0] in SHAPES)
        assert set(strips) == {"interpolations", "interpolations-reconstructed"}
        for name in (*interpolation.MEASURES, interpolation.REALISM):
            same = scored[name].value == scored[f"{name}, paper path"].value
            assert same == normal, name
        # a quarter circle between independent draws: an arc of pi/2 over a chord of sqrt 2, as a polygon of four sides
        arc = 4 * 2 * math.sin(math.pi / 16) / math.sqrt(2)
        assert scored["length ratio, paper path"].value == pytest.approx(arc, rel=0.05)
        assert scored["largest step, paper path"].value == pytest.approx(1, abs=0.1)
        assert scored["length ratio"].label == "interpolation length ratio"
        assert scored["length ratio"].n == 4


def test_real_ends_are_the_reconstructed_images():
    held_out = from_uint8(bytes_of(20, 4))
    _, strips = interpolation.interpolate(Scaled(1.0, normal=True), held_out, real(), config(), 0)
    sheet = strips["interpolations-reconstructed"].image
    assert torch.equal(sheet[:, :8, :8], bytes_of(20, 4)[0])
    assert torch.equal(sheet[:, :8, -8:], bytes_of(20, 4)[1])


def test_a_model_without_latents_of_images_has_no_real_ends():
    class Without(Scaled):
        invert_latents = GenerativeModel.invert_latents

    entries, strips = interpolation.interpolate(Without(0.2), from_uint8(bytes_of(20, 4)), real(), config(), 0)
    assert len(entries) == 2 * 5 + 4
    assert set(strips) == {"interpolations"}


class Slow(Scaled):
    """As many evaluations as you like; beyond 20 its samples are not finite."""

    evaluations_per_sample = 10

    def at_compute(self, factor):
        other = Slow(1 / max(1, round(10 * factor)))
        other.evaluations_per_sample = max(1, round(10 * factor))
        if factor > 2:
            other.sample = lambda n, generator: torch.full((n, *SHAPE), torch.nan)
        return other


def test_sweep_marks_the_own_length_and_leaves_out_what_diverged():
    r = real()
    sets = FeatureSets(r.train, Features(*Pixels()(bytes_of(64, 9))))
    swept = config(sweep=(10.0, 1.0, 0.1, 0.13), sweep_samples=64)
    fd, kid = samples.sweep(Slow(), sets, r, swept, 0)
    assert (kid.name, fd.name) == ("KID by network evaluations", "FD by network evaluations")
    assert (kid.x, kid.mark, kid.log_x) == ((1, 10), 10, True)
    assert kid.y[0] < kid.y[1]  # at a length of 1 the scale is right
    assert "not finite at 100 steps" in kid.title
    assert samples.sweep(Scaled(), sets, r, config(sweep=(1.0,), sweep_samples=64), 0) == []


class Mean(Scaled):
    """The brighter an image, the less likely."""

    ood_score_name = "brightness"

    def ood_score(self, images):
        return images.flatten(1).mean(1)


def test_ood_scores_tells_sets_apart():
    dark, bright = torch.zeros(20, *SHAPE, dtype=torch.uint8), torch.full((9, *SHAPE), 255, dtype=torch.uint8)
    found = diagnostics.diagnose(Mean(), dark, {"bright": bright, "same": dark}, 30, 0, train=dark)
    scored = by_name(found.scores)
    assert found.curves == ()
    assert scored["OOD AUROC (bright)"].value == 1
    assert scored["OOD AUROC (same)"].value == 0.5
    assert scored["brightness gap"].value == pytest.approx(1, abs=0.1)  # samples have mean 0, the dark ones -1
    assert scored["brightness gap"].better == "none"


def test_other_data_sets_are_made_to_fit(tmp_path, capsys):
    real = torch.randint(256, (30, 3, 16, 16), generator=seeded("held out"), dtype=torch.uint8)
    names = (*EvaluationConfig().ood, "digits", "cifar10")
    found = diagnostics.ood_sets(names, tmp_path, real, own="x", progress=False)
    assert list(found) == ["noise", "blends", "blurred", "constants", "digits"]
    assert {(tuple(images.shape), images.dtype) for images in found.values()} == {((30, 3, 16, 16), torch.uint8)}
    assert torch.equal(found["blends"], corruptions.blends(real))
    assert torch.equal(found["blurred"], corruptions.blurred(real))
    assert capsys.readouterr().err.count("no AUROC against cifar10") == 1
    grey_ones = real[:, :1, :8, :8]
    assert diagnostics.ood_sets(("digits",), tmp_path, grey_ones, own="digits", progress=False) == {}
    grey = diagnostics.fitted(torch.tensor([0, 30, 60], dtype=torch.uint8).view(1, 3, 1, 1), (1, 1, 1))
    assert grey.item() == 30


def test_chain_curves_of_a_quadratic_energy():
    """E = |x|^2 / 2, step 0.5, no noise: the norm halves in every step, the energy falls to a quarter."""
    x = noise_images(6)
    settings = ChainSettings(steps=3, step_size=0.5, noise_std=0.0)
    norms, energies = chain_curves(lambda x: x.square().flatten(1).sum(1) / 2, x, settings, seeded("chain"))
    assert (norms.x, norms.mark) == (tuple(range(30)), 3)
    first = x.flatten(1).norm(dim=1).mean().item()
    assert norms.y[:5] == pytest.approx([first / 2**k for k in range(5)], rel=1e-5)
    start = (x.square().flatten(1).sum(1) / 2).mean().item()
    assert energies.y[:5] == pytest.approx([start / 4**k for k in range(5)], rel=1e-5)
    assert energies.x[-1] == 30


def test_chain_curves_end_where_the_numbers_do():
    settings = ChainSettings(steps=3, step_size=1e8, noise_std=0.0)
    curves = chain_curves(lambda x: x.square().flatten(1).sum(1) / 2, noise_images(2), settings, seeded("chain"))
    for curve in curves:
        assert 1 <= len(curve.x) < 30
        assert all(math.isfinite(y) for y in curve.y)
