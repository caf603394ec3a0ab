"""The contract that every model keeps: all of them go through the same tests."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise

import pytest
import torch
from torch.nn.functional import interpolate

from bench.config.registry import MODELS
from bench.contract.images import from_uint8, to_uint8
from bench.contract.model import GenerativeModel, count_parameters
from bench.contract.seeds import BLOCK, in_blocks, seeded
from bench.storage.checkpoint import load_checkpoint, save_checkpoint
from tests.builders import images, trainer

SHAPES = [(1, 8, 8), (3, 16, 16), (1, 28, 28)]
NETS = {"ebm-multigrid": 2}  # that a sample is made with, for images of side 8
every_model = pytest.mark.parametrize("name", sorted(MODELS))


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


@every_model
def test_shapes_ranges_and_types(name, shape):
    model = trainer(name, shape).model
    assert isinstance(model, GenerativeModel)
    assert tuple(model.image_shape) == shape
    latents = model.sample_latents(3, seeded("z"))
    made = {
        "sample": model.sample(3, seeded("x")),
        "decode": model.decode(latents),
        "reconstruct": model.reconstruct(images(3, shape), 2, seeded("r")),
    }
    assert len(latents) == 3
    for what, result in made.items():
        assert result.shape == (3, *shape), what
        assert result.dtype == torch.float32, what
        assert result.abs().max() <= 1, what
        assert not result.requires_grad, what


@every_model
@pytest.mark.parametrize("side", [32, 64, 128])
def test_larger_sides(name, side):
    model = trainer(name, (3, side, side)).model
    assert model.sample(2, seeded("x")).shape == (2, 3, side, side)


@every_model
def test_sample_is_a_function_of_the_generator(name):
    model = trainer(name).model
    first, again, other = (model.sample(4, seeded("x", seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_model
def test_sample_i_does_not_depend_on_how_many_are_drawn(name):
    model = trainer(name).model
    few = torch.cat(list(in_blocks(model.sample, 5, 7, "sample")))
    many = torch.cat(list(in_blocks(model.sample, 2 * BLOCK + 3, 7, "sample")))
    assert len(few) == 5
    assert len(many) == 2 * BLOCK + 3
    assert torch.equal(few, many[:5])
    assert not torch.equal(many[:5], many[BLOCK : BLOCK + 5])


@every_model
def test_decode_is_deterministic_and_of_each_latent_alone(name):
    model = trainer(name).model
    latents = model.sample_latents(5, seeded("z"))
    together = model.decode(latents)
    assert torch.equal(together, model.decode(latents))
    alone = torch.cat([model.decode(z) for z in latents.split(1)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@every_model
def test_reconstruction_is_of_each_image_alone_and_deterministic(name):
    model = trainer(name).model
    x = images(4)
    together = model.reconstruct(x, 3, seeded("r"))
    assert torch.equal(together, model.reconstruct(x, 3, seeded("r")))
    changed = x.clone()
    changed[3] = -changed[3]
    torch.testing.assert_close(model.reconstruct(changed, 3, seeded("r"))[:3], together[:3], rtol=1e-4, atol=1e-5)


@every_model
def test_a_larger_budget_never_reconstructs_worse(name):
    model, x = trainer(name).model, images(4)
    errors = [(model.reconstruct(x, budget, seeded("r")) - x).square().flatten(1).mean(1) for budget in (1, 4, 12)]
    assert (errors[1] <= errors[0]).all()
    assert (errors[2] <= errors[1]).all()
    if model.reconstructs_by_inversion:
        assert (errors[2] < errors[0]).all()


@every_model
def test_mixed_latents_stay_on_the_prior(name):
    """Same ends, and at the middle the same first two moments as a draw of the prior."""
    model = trainer(name).model
    a, b = model.sample_latents(4000, seeded("a")), model.sample_latents(4000, seeded("b"))
    torch.testing.assert_close(model.mix_latents(a, b, 0.0), a, rtol=0, atol=1e-3)
    torch.testing.assert_close(model.mix_latents(a, b, 1.0), b, rtol=0, atol=1e-3)
    middle, draw = model.mix_latents(a, b, 0.5), model.sample_latents(4000, seeded("c"))
    tolerance = 6 / math.sqrt(middle.numel())
    assert abs(middle.mean() - draw.mean()) < tolerance
    assert abs(middle.std() / draw.std() - 1) < tolerance
    assert abs((middle.abs() < 0.5).float().mean() - (draw.abs() < 0.5).float().mean()) < tolerance


@every_model
def test_paper_path_is_on_the_circle(name):
    """rho a + sqrt(1 - rho^2) b: the ends themselves, and for a normal prior the same path as `mix_latents`."""
    model = trainer(name).model
    a, b = model.sample_latents(8, seeded("a")), model.sample_latents(8, seeded("b"))
    torch.testing.assert_close(model.mix_latents_paper(a, b, 0.0), a)
    torch.testing.assert_close(model.mix_latents_paper(a, b, 1.0), b, rtol=0, atol=1e-6)
    rho = math.cos(math.pi / 6)
    third = model.mix_latents_paper(a, b, 1 / 3)
    torch.testing.assert_close(third, rho * a + math.sqrt(1 - rho**2) * b)
    assert torch.equal(third, model.mix_latents(a, b, 1 / 3)) == (name in ("vae", "flow"))


@every_model
def test_inverted_latents_decode_to_the_reconstruction(name):
    model, x = trainer(name).model, images(5)
    latents = model.invert_latents(x, 4, seeded("r"))
    assert latents.shape == model.sample_latents(5, seeded("z")).shape
    assert not latents.requires_grad
    torch.testing.assert_close(model.decode(latents), model.reconstruct(x, 4, seeded("r")), rtol=1e-4, atol=1e-5)


@every_model
def test_inversion_tells_its_error_after_every_decode(name):
    model, x = trainer(name).model, images(3)
    if not model.reconstructs_by_inversion:
        pytest.skip("it has an encoder")
    seen = []
    made = model.reconstruct(x, 5, seeded("r"), lambda decodes, errors: seen.append((decodes, errors.clone())))
    assert [decodes for decodes, _ in seen] == [1, 2, 3, 4, 5]
    for (_, before), (_, after) in pairwise(seen):
        assert (after <= before).all()
    torch.testing.assert_close(seen[-1][1], (made - x).square().flatten(1).mean(1))
    # what a smaller budget would have reached is what is told on the way
    few = model.reconstruct(x, 2, seeded("r"))
    torch.testing.assert_close(seen[1][1], (few - x).square().flatten(1).mean(1))


@every_model
def test_optional_parts_come_whole_or_not_at_all(name):
    model = trainer(name).model
    unlikely, other = model.ood_score(images(6)), model.at_compute(2.0)
    assert (unlikely is None) == (model.ood_score_name == "") == (not name.startswith("ebm"))
    if unlikely is not None:
        assert unlikely.shape == (6,)
        assert not unlikely.requires_grad
    assert (other is None) == (model.evaluations_per_sample == 1)
    if other is not None:
        assert other.evaluations_per_sample == 2 * model.evaluations_per_sample
        assert model.at_compute(1e-9).evaluations_per_sample == NETS.get(name, 1)
        same = model.at_compute(1.0)
        assert torch.equal(same.sample(2, seeded("x")), model.sample(2, seeded("x")))
    found = model.diagnose(4, seeded("diagnose"), train=images(4), samples=lambda: images(2), far=True)
    for curve in found.curves:
        assert curve.group == "diagnostics"
        assert len(curve.x) == len(curve.y) > 1
        assert all(math.isfinite(y) for y in curve.y)
    assert all(score.group == "diagnostics" and math.isfinite(score.value) for score in found.scores)
    assert model.step_name


@every_model
def test_gradient_mode_of_the_caller_is_kept(name):
    model = trainer(name).model
    x = images(2)
    with torch.no_grad():
        model.sample(2, seeded("x"))
        model.reconstruct(x, 2, seeded("r"))
        assert not torch.is_grad_enabled()
    model.sample(2, seeded("x"))
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in model.parameters())


@every_model
def test_trajectory_ends_in_the_sample(name):
    model = trainer(name).model
    path = model.trajectory(2, seeded("x"), 4)
    if path is None:
        assert model.evaluations_per_sample == 1
    else:
        assert path.shape == (4, 2, *model.image_shape)
        start = model.sample_latents(2, seeded("x"))  # that of a cascade is smaller than the image
        torch.testing.assert_close(path[0], interpolate(start, model.image_shape[1:], mode="nearest"))
        torch.testing.assert_close(path[-1], model.sample(2, seeded("x")))


@every_model
def test_a_step_changes_weights_and_reports_finite_scalars(name):
    t = trainer(name)
    before = [p.clone() for net in t.networks for p in net.parameters()]
    scalars = t.step(images(8), seeded("step"))
    after = [p for net in t.networks for p in net.parameters()]
    assert scalars
    assert all(isinstance(v, float) and math.isfinite(v) for v in scalars.values())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not t.model.training


@every_model
def test_training_is_a_function_of_the_seeds(name):
    def weights(seed):
        t = trainer(name, seed=seed)
        for update in range(3):
            t.step(images(8, seed=update), seeded("step", update))
        return torch.cat([p.detach().flatten() for p in t.model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@every_model
def test_state_is_complete(name, tmp_path):
    """Two more steps from a state read from disk equal two more steps of the original, bit for bit."""
    original, restored = trainer(name, seed=0), trainer(name, seed=1)
    original.step(images(8), seeded("step", 0))
    save_checkpoint(tmp_path / "state", original.state_dict(), {})
    restored.load_state_dict(load_checkpoint(tmp_path / "state")[0])
    results = []
    for t in (original, restored):
        last = [t.step(images(8, seed=u), seeded("step", u)) for u in (1, 2)]
        results.append((last, torch.cat([p.detach().flatten() for p in t.model.parameters()])))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


@every_model
def test_configuration_is_frozen_and_checked(name):
    config = trainer(name).config
    with pytest.raises(FrozenInstanceError):
        config.updates = 3
    with pytest.raises(ValueError, match="updates=0 is out of range"):
        type(config)(updates=0)
    assert all(field.default is not None for field in fields(config))


@every_model
def test_unsupported_side_is_named(name):
    with pytest.raises(ValueError, match=r"side 48 .* 8, 16, 28, 32, 64, 128"):
        trainer(name, (3, 48, 48))


@every_model
def test_sizes_are_of_the_sampler_and_of_all_that_is_trained(name):
    t = trainer(name)
    sampler, trained = count_parameters(t.model.sampler), count_parameters(*t.networks)
    assert 0 < sampler <= trained
    assert (sampler < trained) == (name in ("vae", "dcgan"))  # an encoder, a discriminator


def test_uint8_is_the_only_way_out():
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(values)), values)
    assert to_uint8(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(ValueError, match="not finite"):
        to_uint8(torch.tensor([0.0, float("nan")]))
