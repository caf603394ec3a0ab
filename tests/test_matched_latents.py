"""Reconstruction at matched latents, in-painting, and the model with its first weights: against mathematics."""

from __future__ import annotations

import pytest
import torch

from bench.contract.images import from_uint8
from bench.contract.priors import NORMAL, UNIFORM
from bench.contract.seeds import seeded
from bench.errors import NotFiniteError
from bench.evaluation import dimensions, inpainting, reconstruction
from bench.evaluation.dimensions import Piece
from tests.builders import images, trainer
from tests.evaluation_builders import Linear, Scaled, by_name, bytes_of, config, data, evaluator

priors = pytest.mark.parametrize("prior", [UNIFORM, NORMAL], ids=["uniform", "normal"])


def piece(model, k, seed=0, numbers=(2, 4, 6)) -> Piece:
    return Piece.of(model, k, *dimensions._space([*numbers, model.latent_dimensions], seed))


# --- pieces of a prior ---


@pytest.mark.parametrize("k", [1, 3, 8])
def test_a_piece_s_draws_are_the_prior_s(k):
    """The covariance of (I - A A^T) n0 + A u for independent standard normal n0 and u is I."""
    model = Linear(8, NORMAL)
    directions, _ = dimensions._space([3, 8], 0)
    bases = torch.stack([Piece.of(model, k, directions, origin).base for origin in torch.eye(8)])
    axes = directions[:, :k] if k < 8 else torch.eye(8)
    torch.testing.assert_close(bases.T @ bases + axes @ axes.T, torch.eye(8), rtol=0, atol=1e-5)


@priors
def test_pieces_are_nested_and_on_the_support(prior):
    """A smaller piece lies in every larger one, and in the whole prior; uniform latents stay in the cube."""
    model = Linear(8, prior)
    u = 3 * torch.randn(50, 2, generator=seeded("u"))
    small = piece(model, 2)
    for k in (4, 6, 8):
        large = piece(model, k)
        inside = small.normal(u) if large.axes is None else small.normal(u) @ large.axes
        torch.testing.assert_close(large.latents(inside), small.latents(u), rtol=0, atol=1e-4)
    assert small.latents(u).shape == (50, 8)
    assert prior is NORMAL or piece(model, 2).latents(50 * u).abs().max() <= 1


def test_pieces_are_functions_of_the_seed_alone():
    one, again, other = (dimensions._space([4, 64], seed) for seed in (0, 0, 1))
    assert torch.equal(one[0], again[0])
    assert torch.equal(one[1], again[1])
    assert not torch.equal(one[0], other[0])
    torch.testing.assert_close(one[0].T @ one[0], torch.eye(4), rtol=0, atol=1e-6)


@priors
@pytest.mark.parametrize("k", [3, 8])
def test_the_chain_rule_equals_central_differences(prior, k):
    directions, origin = (one.double() for one in dimensions._space([3, 8], 0))
    own = Piece.of(Linear(8, prior), k, directions, origin)
    u, v, along = (
        torch.randn(5, n, generator=seeded(n, key), dtype=torch.float64) for n, key in ((k, 0), (8, 1), (k, 2))
    )
    h = 1e-6
    difference = ((own.latents(u + h * along) - own.latents(u - h * along)) * v).sum(1) / (2 * h)
    torch.testing.assert_close((own.gradient(u, v) * along).sum(1), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [6, 30])  # one batch holds all rows, or a piece's rows lie in two
def test_the_curve_of_a_linear_model_is_least_squares(n):
    """At each k the error of min_u ||x - W (base + A u) - b||^2: it falls with k, as pieces are nested."""
    model = Linear(8, NORMAL)
    u = torch.randn(n, 2, generator=seeded("u"))
    x = (model.image(piece(model, 2).normal(u)) + 0.1 * images(n)).detach().clamp(-1, 1)
    (found,) = dimensions.curve(model, x, config(budget=1500, dimensions=(4, 2, 6, 8, 100)), 0)
    assert found.x == (2, 4, 6, 8)
    expected = []
    for k in found.x:
        own = piece(model, k)
        axes = torch.eye(8) if own.axes is None else own.axes
        rest = (x.flatten(1) - model.bias - model.weight @ own.base).T
        solution = torch.linalg.lstsq(model.weight @ axes, rest).solution
        expected.append((rest - model.weight @ axes @ solution).square().mean().item())
    assert list(found.y) == pytest.approx(expected, rel=1e-3)
    assert expected == sorted(expected, reverse=True)
    assert expected[0] > 1.02 * expected[-1]


def test_a_uniform_latent_is_found_on_its_piece():
    model = Linear(8, UNIFORM)
    x = model.image(piece(model, 4).latents(torch.randn(6, 4, generator=seeded("u")))).detach()
    (found,) = dimensions.curve(model, x, config(budget=1500, dimensions=(2, 4, 6)), 0)
    errors = dict(zip(found.x, found.y, strict=True))
    assert errors[4] < 1e-5
    assert errors[2] > 100 * errors[4]


def test_there_is_no_curve_without_dimensions_or_inversion():
    x = from_uint8(bytes_of(4, 3))
    assert dimensions.curve(Linear(8, NORMAL), x, config(dimensions=()), 0) == []
    assert dimensions.curve(Scaled(), x, config(), 0) == []
    assert dimensions.curve(Linear(3, NORMAL), x, config(dimensions=(4, 8)), 0)[0].x == (3,)


# --- in-painting ---


def test_the_unseen_half_of_a_linear_model_is_predicted_from_the_seen_one():
    """Least squares on the left columns; the score is the error on the right ones, of which nothing is known."""
    model = Linear(5, NORMAL)
    x = (model.image(0.5 * torch.randn(4, 5, generator=seeded("z"))) + 0.1 * images(4)).detach()  # far from any clamp
    blind = x.clone()
    blind[..., 4:] = 0
    (found,) = inpainting.inpaint(model, x, config(budget=3000), 0, intervals=True)
    seen = (torch.arange(64) % 8) < 4
    weight, rest = model.weight.detach(), (x.flatten(1) - model.bias.detach()).T
    solution = torch.linalg.lstsq(weight[seen], rest[seen]).solution
    assert found.value == pytest.approx((rest - weight @ solution)[~seen].square().mean().item(), rel=1e-3)
    assert (found.name, found.n, found.budget) == ("in-painting MSE", 4, 3000)
    made = (solution.T @ weight.T + model.bias.detach()).view_as(x)
    (of_blind,) = inpainting.inpaint(model, blind, config(budget=3000), 0, intervals=False)
    assert of_blind.value == pytest.approx(inpainting.hidden_error(blind, made).mean().item(), rel=1e-3)


def test_inpainting_is_of_so_many_images_and_of_models_with_inversion():
    x = from_uint8(bytes_of(9, 3))
    assert inpainting.inpaint(Linear(5, NORMAL), x, config(inpaintings=7), 0, intervals=False)[0].n == 7
    assert inpainting.inpaint(Linear(5, NORMAL), x, config(inpaintings=0), 0, intervals=False) == []
    assert inpainting.inpaint(Scaled(), x, config(), 0, intervals=False) == []


def test_the_training_images_mean_stands_beside_it():
    own = data(held_out=20)
    ceiling = by_name(evaluator(own, inpaintings=7).references["noise"].scores)
    x, mean = from_uint8(own.held_out[:7]), from_uint8(own.train).double().mean(0)
    expected = (x - mean)[..., 4:].square().mean().item()
    assert ceiling["in-painting MSE"].value == pytest.approx(expected, rel=1e-5)
    assert ceiling["in-painting MSE"].made_of == ceiling["MSE"].made_of == "the training images' mean"


# --- inversion of every model, and the untrained one ---


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("name", ["ebm", "vae"])
def test_every_model_is_inverted_within_the_same_budget(name, restarts):
    """The model's own error where it reconstructs so; the best of the starts of `invert` where it has an encoder."""
    model, x, settings = trainer(name).model, images(5), config(budget=6, restarts=restarts)
    back = reconstruction.reconstruct(model, x, settings, 0)
    (found,) = reconstruction.inverted(model, back, settings, 0, intervals=False)
    starts = [seeded(0, "reconstruct", 0, *([restart] if restart else [])) for restart in range(restarts)]
    made = [model.invert(x, 6 // restarts, generator).images for generator in starts]
    least = torch.stack([(one - x).square().flatten(1).mean(1) for one in made]).amin(0)
    assert found.value == pytest.approx(least.mean().item(), rel=1e-5)
    (mse, *_) = back.scores(reconstruction.settings(model, settings), seed=0, intervals=False)
    assert (found.value == mse.value) == model.reconstructs_by_inversion
    assert (found.budget, mse.budget) == (6, 6 if name == "ebm" else 1)
    assert reconstruction.inverted(Scaled(), back, settings, 0, intervals=False) == []


def test_the_untrained_model_is_scored_as_the_trained_one_is():
    """Its scores are those that it would have itself, of the first seed, in the group of reconstruction alone."""
    model, first = trainer("dcgan", seed=1).model, trainer("dcgan").model
    found = evaluator().evaluate(model, (3, 5), untrained=lambda: first)
    alone = evaluator().evaluate(first, (3,))
    expected = [one for one in alone.scores if one.group == "reconstruction"]
    assert [one.name for one in expected] == ["MSE", "PSNR", "SSIM", "MSE, inverted", "in-painting MSE"]
    assert found.untrained.scores == expected
    assert found.untrained.curves == [one for one in alone.curves if one.name == "MSE by latent dimensions"]
    assert by_name(found.scores)["MSE"].value != by_name(expected)["MSE"].value
    assert alone.untrained is None


def test_an_untrained_model_that_is_not_finite_has_no_scores(capsys):
    class Broken(Scaled):
        def reconstruct(self, images, budget, generator, observe=None):
            raise NotFiniteError("not finite from step 3 of 5 on")

    assert evaluator().evaluate(Scaled(), (0,), untrained=Broken).untrained is None
    assert "blobs: no scores of the untrained model: not finite from step 3 of 5 on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"dimensions": (4, 4)}, "numbers that differ"), ({"dimensions": (0,)}, "at least 1"), ({"inpaintings": -1}, "0")],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)


def test_rows_of_several_pieces_are_told_apart():
    one, other = piece(Linear(8, NORMAL), 2), piece(Linear(8, NORMAL), 4)
    parts = dimensions.Rows.of([one, one, other]).parts
    assert [(found is one, found is other, n) for found, n in parts] == [(True, False, 2), (False, True, 1)]
