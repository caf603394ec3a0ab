"""The cascade: its map and the gradient of it, what each level learns from, its settings, and its failures."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from bench.contract.seeds import seeded
from bench.errors import DivergedError, NotFiniteError
from ebm.energy import ENERGY_NETS
from ebm.multigrid import MultigridEBM, enlarged, enlarged_transposed, reduced
from ebm.reference import langevin_reference
from tests.builders import energy_net, images, short_run, trainer


def cascade(*sides, net="plain", activation="leaky_relu", channels=1, steps=(3, 4, 2), step_size=3.0, double=True):
    """Noise-free levels of different lengths, with weights of their own."""
    levels = []
    for i, side in enumerate(sides):
        energy = energy_net(net, channels, side, 4, activation, seed=i)
        energy = energy.double() if double else energy
        levels.append(short_run(energy, (channels, side, side), steps[i], noise_std=0.0, step_size=step_size))
    return MultigridEBM(levels, inversion_lr=0.1)


def unrolled(model, z):
    """M(z) with the graph of the whole cascade kept."""
    x = z
    for level in model.levels:
        if x is not z:
            x = F.interpolate(x, size=level.image_shape[1:], mode="bilinear", align_corners=False)
        for _ in range(level.settings.steps):
            (gradient,) = torch.autograd.grad(level.energy(x).sum(), x, create_graph=True)
            x = x - level.settings.step_size * gradient
    return x


@pytest.mark.parametrize("sides", [(4, 8), (8,), (4, 8, 16), (7, 14, 28)], ids=str)
@pytest.mark.parametrize("activation", ["leaky_relu", "silu"])
@pytest.mark.parametrize("net", sorted(ENERGY_NETS))
def test_gradient_equals_double_backward_through_the_unrolled_cascade(net, activation, sides):
    model = cascade(*sides, net=net, activation=activation)
    z, target = images(3, (1, sides[0], sides[0])).double(), images(3, (1, sides[-1], sides[-1]), seed=1).double()
    end, gradient = model.decode_and_pull_back(z, lambda end: 2 * (end - target))
    z.requires_grad_()
    expected_end = unrolled(model, z)
    (expected,) = torch.autograd.grad((expected_end - target).square().sum(), z)
    torch.testing.assert_close(end, expected_end.detach())
    torch.testing.assert_close(gradient, expected)
    # the chains do move, and those of a smooth energy bend the gradient, or the test would show less than it says
    bare = z.detach()
    for side in sides[1:]:
        bare = enlarged(bare, side)
    assert (end - bare).abs().max() > 1e-3
    if activation == "silu":
        alone = 2 * (end - target)
        for side in reversed(sides[:-1]):
            alone = enlarged_transposed(alone, side)
        assert (gradient - alone).abs().max() > 1e-6


@pytest.mark.parametrize(("side", "larger"), [(4, 8), (7, 14), (4, 28), (8, 8)])
def test_enlargement_and_its_transpose(side, larger):
    """<U x, g> = <x, U^T g>, and U keeps constants: the mean of U^T g is that of g times the ratio of areas."""
    x, g = images(2, (3, side, side)).double(), images(2, (3, larger, larger), seed=1).double()
    back = enlarged_transposed(g, side)
    assert back.shape == x.shape
    torch.testing.assert_close((enlarged(x, larger) * g).sum(), (x * back).sum())
    torch.testing.assert_close(back.sum(), g.sum())
    torch.testing.assert_close(enlarged(torch.ones_like(x), larger), torch.ones_like(g))


def test_reduced_images_are_means_over_squares():
    x = images(2, (3, 28, 28))
    torch.testing.assert_close(reduced(x, 7), x.view(2, 3, 7, 4, 7, 4).mean((3, 5)))
    assert torch.equal(reduced(x, 28), x)


def test_cascade_equals_its_specification():
    """The reference chain at every level under the same noise, drawn level by level from one generator."""
    t = trainer(
        "ebm-multigrid", (3, 16, 16), levels=(4, 8, 16), steps=(2, 3, 4), n_f=(8, 4, 4), noise_std=(0.1, 0.02, 0)
    )
    model, generator, twin = t.model, seeded("noise"), seeded("noise")
    z = model.sample_latents(3, seeded("z"))
    ends = model.cascade(z, generator)
    x = z
    for level, end in zip(model.levels, ends, strict=True):
        x = enlarged(x, level.image_shape[1])
        n, c, h, w = x.shape

        def noise(_, shape=(n, h, w, c), std=level.settings.noise_std):
            return std * torch.randn(shape, generator=twin).permute(0, 3, 1, 2)

        std = level.settings.noise_std
        x = langevin_reference(level.energy, x, steps=level.settings.steps, step_size=1.0, noise=noise if std else None)
        torch.testing.assert_close(end, x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.sample(3, seeded("s")), model.sample(3, seeded("s")))


def test_a_cascade_of_one_level_is_the_single_chain():
    """The same weights, to the last bit, after updates with averages, penalties and annealing."""
    shared = {"updates": 6, "ema": 0.5, "energy_penalty": 0.1, "beta1": 0.0, "anneal_from": 0.2}
    single = trainer("ebm", (1, 16, 16), n_f=4, steps=3, sigma=0.1, sigma_final=0.0, lr=1e-3, lr_final=1e-5, **shared)
    lists = {"n_f": (4,), "steps": (3,), "sigma": (0.1,), "sigma_final": (0.0,), "lr": (1e-3,), "lr_final": (1e-5,)}
    one = trainer("ebm-multigrid", (1, 16, 16), levels=(16,), **lists, **shared)
    for update in range(4):
        x = images(8, (1, 16, 16), seed=update)
        expected = single.step(x, seeded("step", update))
        assert one.step(x, seeded("step", update)) == {f"{name} 16": value for name, value in expected.items()}
    assert torch.equal(one.model.sample(4, seeded("x")), single.model.sample(4, seeded("x")))
    x = images(4, (1, 16, 16))
    assert torch.equal(one.model.ood_score(x), single.model.ood_score(x))


def test_every_level_learns_from_reduced_images_and_its_own_chains():
    """The weights' gradient of mean E(reduced data) - mean E(own ends), with Adam's first step one of size lr."""
    lrs = (1e-3, 3e-3)
    still = {"sigma": (0.0,), "sigma_final": (0.0,), "energy_penalty": 0.0, "lr": lrs, "lr_final": lrs}
    t, reference = trainer("ebm-multigrid", **still), trainer("ebm-multigrid", **still)
    x, generator = images(8), seeded("step")
    ends = reference.model.cascade(reference.model.sample_latents(8, generator), generator)
    scalars = t.step(x, seeded("step"))
    for lr, net, before, end in zip(lrs, t.networks, reference.networks, ends, strict=True):
        loss = before(reduced(x, end.shape[-1])).mean() - before(end).mean()
        gradients = torch.autograd.grad(loss, list(before.parameters()))
        assert scalars[f"energy gap {end.shape[-1]}"] == pytest.approx(-loss.item(), abs=1e-6)
        for now, then, gradient in zip(net.parameters(), before.parameters(), gradients, strict=True):
            clear = gradient.abs() > 1e-4
            torch.testing.assert_close((now - then)[clear], -lr * gradient[clear].sign(), rtol=1e-2, atol=1e-6)


def test_nothing_flows_from_a_fine_level_into_a_coarse_one():
    """The coarse level's weights are the same whatever the fine one's settings, of those that leave the draws alone."""
    weights = []
    for fine in ({}, {"step_size": (1.0, 5.0), "noise_std": (0.01, 0.3), "sigma": (0.03, 0.3), "lr": (1e-3, 1e-2)}):
        t = trainer("ebm-multigrid", **fine)
        for update in range(3):
            t.step(images(8, seed=update), seeded("step", update))
        weights.append([torch.cat([p.detach().flatten() for p in net.parameters()]) for net in t.networks])
    assert torch.equal(weights[0][0], weights[1][0])
    assert not torch.equal(weights[0][1], weights[1][1])


def test_reconstruction_descends_and_latents_stay_in_the_prior():
    for activation in ("leaky_relu", "silu"):
        model, x = cascade(4, 8, activation=activation, step_size=1.0, double=False), images(4)
        x = enlarged(reduced(x, 4), 8)  # what the latent can reach
        errors = [(model.reconstruct(x, budget, seeded("r")) - x).square().mean() for budget in (1, 30)]
        assert errors[1] < 0.2 * errors[0]
        assert model.invert_latents(x, 30, seeded("r")).abs().max() <= 1


def test_trajectory_goes_through_all_levels():
    """A frame a step: 3 coarse states, 4 fine ones from the enlarged start on, and the end."""
    model = cascade(4, 8, double=False)
    path = model.trajectory(2, seeded("x"), 8)
    z = model.sample_latents(2, seeded("x"))
    coarse, fine = model.cascade(z)
    assert torch.equal(path[0], F.interpolate(z, (8, 8), mode="nearest"))
    assert torch.equal(path[0, :, :, ::2, ::2], path[0, :, :, 1::2, 1::2])
    assert not torch.equal(path[2], path[1])
    torch.testing.assert_close(path[3], enlarged(coarse, 8).clamp(-1, 1))
    assert torch.equal(path[7], fine.clamp(-1, 1))
    assert model.trajectory(2, seeded("x"), 3).shape == (3, 2, 1, 8, 8)


def test_every_level_is_scaled_by_compute():
    model = cascade(4, 8, 16, steps=(3, 4, 10))
    assert model.evaluations_per_sample == 17
    assert [level.settings.steps for level in model.at_compute(0.4).levels] == [1, 2, 4]
    assert model.at_compute(0.4).levels[0].energy is model.levels[0].energy


def test_diagnostics_of_every_level_and_energy_of_the_finest():
    model = trainer("ebm-multigrid", (1, 28, 28)).model
    x = images(4, (1, 28, 28))
    found = model.diagnose(4, seeded("diagnose"), train=x, samples=lambda: -x[:2], far=True)
    names = [curve.name for curve in found.curves]
    assert len(set(names)) == len(names)
    for name in ("gradient norm by step", "energy by step", "displacement by layer", "energy over a long run"):
        assert {name, f"{name}, level 7", f"{name}, level 14"} <= set(names)
    assert all("level" not in curve.name for curve in found.curves if curve.figures)
    scores = {score.name: score.value for score in found.scores}
    assert scores.keys() == {*(f"gradient norm{end}" for end in (", level 7", ", level 14", "")), "moment mismatch"}
    assert 0 < scores["moment mismatch"] <= 2
    assert torch.equal(model.ood_score(x), model.levels[-1].energy(x).detach())


def test_a_chain_that_explodes_names_its_level_and_step():
    class Quadratic(torch.nn.Module):
        def forward(self, x):
            return x.square().flatten(1).sum(1) / 2

    for broken, side in ((0, 4), (1, 8)):
        sizes = [1e30 if i == broken else 0.1 for i in range(2)]
        levels = [short_run(Quadratic(), (1, s, s), 5, 0.0, size) for s, size in zip((4, 8), sizes, strict=True)]
        model = MultigridEBM(levels, inversion_lr=0.1)
        with pytest.raises(NotFiniteError, match=f"chain of level {side} is not finite from step 2 of 5 on"):
            model.decode(images(3, (1, 4, 4)))


def test_a_level_that_loses_the_data_is_named():
    still = {"step_size": (1.0, 1e-9), "noise_std": (0.0,), "sigma": (0.0,), "sigma_final": (0.0,)}
    t = trainer("ebm-multigrid", lost_after=5, steps=(1,), **still)
    flat = torch.full((8, 1, 8, 8), -1.0)

    def learn():
        for update in range(200):
            t.step(flat, seeded("step", update))

    with pytest.raises(DivergedError, match=r"the chains of level 8 have lost the data: .* for 5 updates"):
        learn()
