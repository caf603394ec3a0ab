"""Latent inversion and the priors that it keeps to: known optima, masks, supports, and the method spelled out."""

from __future__ import annotations

import math

import pytest
import torch

from bench.config.registry import MODELS
from bench.contract.inversion import InvertingModel, decode_and_gradient
from bench.contract.priors import NORMAL, SHELL, UNIFORM
from bench.contract.seeds import seeded
from tests.builders import images, trainer
from tests.evaluation_builders import Linear

INVERTING = [name for name in sorted(MODELS) if isinstance(trainer(name).model, InvertingModel)]
every_inverting_model = pytest.mark.parametrize("name", INVERTING)
priors = pytest.mark.parametrize("prior", [UNIFORM, NORMAL], ids=["uniform", "normal"])


@priors
def test_a_prior_is_a_function_of_standard_normal_draws(prior):
    """The same mean square and quartiles as its own draws; inverse and slope by mathematics."""
    normal = torch.randn(50_000, generator=seeded("normal"), dtype=torch.float64)
    made, drawn = prior.of_normal(normal), prior.draw(50_000, generator=seeded("draw")).double()
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert made.quantile(q).item() == pytest.approx(drawn.quantile(q).item(), abs=0.03)
    assert made.square().mean().item() == pytest.approx(1 / 3 if prior is UNIFORM else 1, rel=0.02)
    inner = normal[normal.abs() < 4]
    torch.testing.assert_close(prior.to_normal(prior.of_normal(inner)), inner)
    h = 1e-6
    difference = (prior.of_normal(normal + h) - prior.of_normal(normal - h)) / (2 * h)
    torch.testing.assert_close(prior.slope(normal), difference, rtol=1e-6, atol=1e-8)


@priors
def test_projection_leaves_draws_where_they_are(prior):
    draws = prior.draw(2_000, 64, generator=seeded("draws"))
    kept = (prior.project(draws) - draws).abs().amax(1) < 1e-6
    assert kept.double().mean() > 0.99
    far = prior.project(5 * draws)
    torch.testing.assert_close(prior.project(far), far)
    assert far.abs().max() <= 1 if prior is UNIFORM else (far.norm(dim=1) <= 8 + SHELL + 1e-4).all()


@every_inverting_model
def test_inverted_latents_lie_where_the_prior_s_draws_do(name):
    """Even where the optimizer would leave: steps are far too large."""
    rates = dict.fromkeys(("ebm", "ebm-residual", "published"), "inversion_rate")
    model = trainer(name, **{rates.get(name, "inversion_lr"): 1.9}).model
    found = model.invert(2 * images(6).sign(), 6, seeded("r")).latents
    if model.prior is UNIFORM:
        assert found.abs().max() <= 1
        assert (found.abs() == 1).any()  # or nothing had to be held back
    else:
        norms, radius = found.flatten(1).norm(dim=1), math.sqrt(model.latent_dimensions)
        assert ((norms - radius).abs() <= SHELL + 1e-3).all()


@every_inverting_model
def test_the_primitive_gives_the_decode_and_its_gradient(name):
    """Central differences of v . M(z) along a direction, clamped nowhere; v is asked for at M(z) itself."""
    model = trainer(name).model.double()
    z = model.sample_latents(3, seeded("z")).double()
    direction = torch.randn(z.shape, generator=seeded("direction"), dtype=torch.float64)
    asked = []

    def of_end(end):
        asked.append(end)
        return torch.ones_like(end)

    end, gradient = model.decode_and_pull_back(z, of_end)
    assert len(asked) == 1
    assert torch.equal(asked[0], end)
    assert not end.requires_grad
    assert not gradient.requires_grad
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(end.clamp(-1, 1), model.decode(z))
    h = 1e-7
    ahead, behind = (
        model.decode_and_pull_back(z + sign * h * direction, torch.zeros_like)[0].flatten(1).sum(1) for sign in (1, -1)
    )
    torch.testing.assert_close(
        (gradient * direction).flatten(1).sum(1), (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-5
    )


def test_dcgan_is_inverted_by_adam_in_the_cube():
    """The method spelled out: Adam on ||x - G(z)||^2, latents clamped, the best iterate."""
    model, x, budget = trainer("dcgan", inversion_lr=0.3).model, images(5), 12
    z = model.sample_latents(5, seeded("r")).requires_grad_()
    adam = torch.optim.Adam([z], lr=0.3)
    best, latents = x.clone(), z.detach().clone()
    least = torch.full((5,), torch.inf)
    for _ in range(budget):
        decoded = model.generator(z[:, :, None, None])
        each = (decoded - x).square().flatten(1)
        better = each.mean(1).detach() < least
        best[better], latents[better] = decoded.detach()[better], z.detach()[better]
        least = torch.minimum(least, each.mean(1).detach())
        adam.zero_grad()
        each.sum().backward()
        adam.step()
        with torch.no_grad():
            z.clamp_(-1, 1)
    found = model.invert(x, budget, seeded("r"))
    assert torch.equal(found.images, best)
    assert torch.equal(found.latents, latents)


def test_inversion_finds_the_least_squares_solution():
    model, x = Linear(5, NORMAL), 0.5 * images(4)
    found = model.invert(x, 3000, seeded("r"))
    expected = torch.linalg.lstsq(model.weight.detach(), (x.flatten(1) - model.bias.detach()).T).solution.T
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-2)


def test_unseen_pixels_neither_pull_nor_count():
    """Least squares on the seen rows alone, whatever the unseen pixels hold; the error told is of the seen ones."""
    model, x = Linear(5, NORMAL), 0.5 * images(4)
    seen = torch.zeros(1, 8, 8, dtype=torch.bool)
    seen[..., :3] = True
    other = torch.where(seen, x, -x)
    told = []
    found = model.invert(x, 3000, seeded("r"), lambda _, errors: told.append(errors.clone()), seen=seen)
    assert torch.equal(found.latents, model.invert(other, 3000, seeded("r"), seen=seen).latents)
    rows = seen.flatten()
    expected = torch.linalg.lstsq(
        model.weight.detach()[rows], (x.flatten(1) - model.bias.detach())[:, rows].T
    ).solution.T
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-2)
    torch.testing.assert_close(told[-1], (found.images - x)[..., :3].square().flatten(1).mean(1))
    _, gradient = decode_and_gradient(model.decode_and_pull_back, expected, other, seen)
    assert gradient.abs().max() < 1e-3


def test_a_clamped_pixel_comes_back():
    """Straight through: where M(z) lies beyond [-1, 1] its pixel still pulls, and by the clamped error."""
    model = Linear(3, NORMAL)
    far, x = 100 * torch.ones(2, 3), torch.zeros(2, 1, 8, 8)
    decoded, gradient = decode_and_gradient(model.decode_and_pull_back, far, x, torch.ones(1, 8, 8, dtype=torch.bool))
    assert (decoded.abs() == 1).any()
    torch.testing.assert_close(gradient, 2 * decoded.flatten(1) @ model.weight)
