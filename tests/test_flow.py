"""Flow matching: Gaussian data, whose velocity, flow and least loss are known; solver, gradients, trainer, net."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from baselines import ode
from baselines.flow import (
    Flow,
    SamplerSettings,
    conditional_path,
    draw_times,
    matching_loss,
)
from baselines.unet import UNet, level_sides, time_features
from bench.contract.inversion import decode_and_gradient
from bench.contract.priors import SHELL, to_shell
from bench.contract.seeds import seeded, seeded_init
from bench.errors import NotFiniteError
from bench.evaluation import pictures
from tests.builders import images, trainer

SHAPE = (1, 2, 2)
every_solver = pytest.mark.parametrize("solver", sorted(ode.STAGES))


class GaussianField(nn.Module):
    """The velocity E[image - noise | x_t] for images drawn from N(mean, covariance), in closed form.

    x_t is N(t m, Σ_t) with Σ_t = (1-t)² I + t² S, and the velocity's covariance with it is t S - (1-t) I.
    The flow from time 0 to 1 is the affine map m + S^(1/2) z: S commutes with every Σ_t.
    """

    def __init__(self):
        super().__init__()
        a = torch.randn(4, 4, generator=seeded("covariance"), dtype=torch.float64)
        self.covariance = nn.Parameter(0.02 * (a @ a.T + torch.eye(4)))
        self.mean = nn.Parameter(torch.tensor([0.2, -0.1, 0.0, 0.3], dtype=torch.float64))

    def forward(self, x, t):
        eye = torch.eye(4, dtype=x.dtype)
        t = t[:, None, None]
        marginal = (1 - t).square() * eye + t.square() * self.covariance
        away = x.flatten(1)[..., None] - t * self.mean[:, None]
        return (
            self.mean[:, None] + (t * self.covariance - (1 - t) * eye) @ torch.linalg.solve(marginal, away)
        ).view_as(x)

    @torch.no_grad()
    def flow(self, z):
        values, vectors = torch.linalg.eigh(self.covariance)
        root = vectors @ values.sqrt().diag() @ vectors.T
        return (self.mean + z.flatten(1) @ root).view_as(z)

    @torch.no_grad()
    def draw(self, n, key):
        return self.flow(torch.randn(n, *SHAPE, generator=seeded(key), dtype=torch.float64))


def flow(velocity, solver="heun", evaluations=20, reconstruct="inversion", shape=SHAPE) -> Flow:
    return Flow(velocity, shape, SamplerSettings(solver, evaluations, reconstruct, inversion_lr=0.1))


def random_unet(shape=(1, 8, 8), seed=0) -> UNet:
    """In float64, no weight at zero: before its first update a U-Net's velocity is zero."""
    with seeded_init(seeded("unet", seed)):
        net = UNet(shape[0], shape[1], width=4, levels=2, blocks=1).double()
        for p in net.parameters():
            nn.init.normal_(p, std=0.3)
    return net


def latents(n, shape=SHAPE, key="z"):
    return torch.randn(n, *shape, generator=seeded(key), dtype=torch.float64)


def test_conditional_path_is_the_line_from_noise_to_image():
    noise, x = latents(3), latents(3, key="x")
    for t, expected in ((0.0, noise), (1.0, x), (0.25, 0.75 * noise + 0.25 * x)):
        torch.testing.assert_close(conditional_path(noise, x, torch.full((3,), t, dtype=x.dtype))[0], expected)
    times = torch.tensor([0.1, 0.5, 0.8], dtype=x.dtype)
    _, velocity = torch.autograd.functional.jvp(
        lambda t: conditional_path(noise, x, t)[0], times, torch.ones(3).double()
    )
    torch.testing.assert_close(conditional_path(noise, x, times)[1], velocity)


def test_times_are_one_in_each_of_equal_intervals():
    drawn = torch.stack([draw_times(8, seeded("t", k)) for k in range(2000)])
    assert torch.equal((drawn * 8).floor(), torch.arange(8.0).expand(2000, 8))
    within = drawn * 8 - torch.arange(8.0)  # uniform within its interval
    assert abs(within.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / 2000)
    assert abs(within.square().mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / 2000)


def test_loss_is_least_at_the_marginal_velocity():
    """There its gradient vanishes in eight directions, and its value is the conditional variance of image - noise."""
    field, n = GaussianField(), 200_000
    x = field.draw(n, "data")
    scale, shift = (torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def loss_and_gradients(factor):
        def velocity(x_t, t):
            return factor * field(x_t, t).detach() + scale * x_t + shift

        loss = matching_loss(velocity, x, seeded("noise"))
        return loss.item(), torch.cat([g.flatten() for g in torch.autograd.grad(loss, (scale, shift))])

    loss, gradients = loss_and_gradients(1.0)
    tolerance = (
        5 * (2 / 4) * 1.5 / math.sqrt(n)
    )  # five standard errors of 2/4 residual x_t, a product of size 1.5 or less
    assert gradients.abs().max() < tolerance
    assert loss_and_gradients(0.5)[1].abs().max() > 5 * tolerance

    # Var[image - noise | x_t] = S + I - C Σ_t^-1 C, C = t S - (1-t) I, for each eigenvalue of S, integrated over t
    t = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    s = torch.linalg.eigvalsh(field.covariance.detach())[:, None]
    variance = s + 1 - (t * s - (1 - t)).square() / ((1 - t).square() + t.square() * s)
    assert loss == pytest.approx(variance.mean().item(), rel=0.01)


def end_of(model, z):
    """The flow's end, not clamped."""
    with torch.no_grad():
        return list(ode.states(model.velocity, z, model.steps()))[-1]


def order_of(error, solver, odd):
    """How fast an error falls with the steps, as the exponent of their size; `error` is given the evaluations.

    With an odd number of evaluations the last step of a solver of two stages is Euler's.
    """
    numbers = [steps * ode.STAGES[solver] - (odd and ode.STAGES[solver] == 2) for steps in (80, 160)]
    coarse, fine = map(error, numbers)
    return math.log2(coarse / fine)


def logistic(x, t):
    """dx/dt = (1 + 2t) x (1 - x): the odds x / (1 - x) grow by a factor of e^2 from time 0 to 1."""
    return (1 + 2 * t[:, None]) * x * (1 - x)


@pytest.mark.parametrize("odd", [False, True])
@every_solver
def test_solver_converges_at_its_order(solver, odd):
    x = torch.tensor([[0.1], [0.2], [0.3]], dtype=torch.float64)
    odds = x / (1 - x) * math.exp(2)
    truth = odds / (1 + odds)

    def forward(evaluations):
        return (list(ode.states(logistic, x, ode.steps(solver, evaluations)))[-1] - truth).abs().max()

    def backward(evaluations):
        return (list(ode.states(logistic, truth, ode.steps(solver, evaluations, 1.0, 0.0)))[-1] - x).abs().max()

    for error in (forward, backward):
        assert order_of(error, solver, odd) == pytest.approx(ode.STAGES[solver], abs=0.15)


@pytest.mark.parametrize("odd", [False, True])
@every_solver
def test_flow_and_its_inverse_converge_to_the_gaussian_s(solver, odd):
    """At the solver's order at least: here the midpoint rule is of order 3, and errors there and back may cancel."""
    field, z = GaussianField(), latents(50)
    x = field.flow(z)

    def decoded(evaluations):
        return (end_of(flow(field, solver, evaluations), z) - x).abs().max()

    def encoded(evaluations):
        return (flow(field, solver, evaluations).encode(x) - z).abs().max()

    def there_and_back(evaluations):
        model = flow(field, solver, evaluations)
        return (end_of(model, model.encode(x)) - x).abs().max()

    for error in (decoded, encoded, there_and_back):
        assert order_of(error, solver, odd) > ode.STAGES[solver] - 0.1
        assert error(160) < 0.1


class PointField(nn.Module):
    """E[image - noise | x_t] where all images are 0.5: (0.5 - x) / (1 - t); at t = 1, the noise forgotten, x."""

    def forward(self, x, t):
        t = t[:, None, None, None]
        return torch.where(t < 1, (0.5 - x) / (1 - t).clamp_min(1e-12), x)


@pytest.mark.parametrize(
    ("solver", "evaluations", "grain"),
    [("euler", 5, 0.0), ("midpoint", 10, 0.0), ("midpoint", 9, 0.0), ("heun", 9, 0.0), ("heun", 10, 0.1)],
)
def test_what_is_left_of_the_noise_where_the_data_are_constant(solver, evaluations, grain):
    """Nothing, but for half a step of it where the last step is Heun's: its second velocity is at t = 1."""
    z = latents(20)
    torch.testing.assert_close(end_of(flow(PointField(), solver, evaluations), z), 0.5 + grain * z)


def test_noise_is_carried_to_the_data_s_mean_and_covariance():
    field, n = GaussianField(), 10_000
    made = end_of(flow(field, "midpoint", 40), latents(n)).flatten(1)
    mean, covariance = field.mean.detach(), field.covariance.detach()
    deviations = covariance.diag().sqrt()
    assert ((made.mean(0) - mean).abs() < 5 * deviations / math.sqrt(n)).all()
    tolerance = 5 * math.sqrt(2 / n) * deviations[:, None] * deviations
    assert ((made.T.cov() - covariance).abs() < tolerance).all()
    assert ((covariance - covariance.diag().diag()).abs() > 3 * tolerance).any()  # there is something to get right


@pytest.mark.parametrize("evaluations", [4, 5])
@every_solver
def test_pulled_back_gradient_equals_finite_differences(solver, evaluations):
    shape = (1, 8, 8)
    model = flow(random_unet(shape), solver, evaluations, shape=shape)
    z, weights, direction = (latents(2, shape, key) for key in ("z", "weights", "direction"))
    end, gradient = model.decode_and_pull_back(z, lambda end: weights)
    torch.testing.assert_close(end, end_of(model, z))
    assert (end - z).abs().max() > 0.1  # the flow does move
    h = 1e-5
    ahead, behind = (end_of(model, z + sign * h * direction) for sign in (1, -1))
    difference = (weights * (ahead - behind)).flatten(1).sum(1) / (2 * h)
    torch.testing.assert_close((gradient * direction).flatten(1).sum(1), difference, rtol=1e-6, atol=1e-7)
    assert all(p.grad is None for p in model.parameters())


def test_inversion_descends_its_own_error():
    """Its gradient is that of ||x - M(z)||^2 where no pixel is clamped, and still points inwards where one is."""
    field, x, seen = GaussianField(), torch.zeros(3, *SHAPE, dtype=torch.float64), torch.ones(SHAPE, dtype=torch.bool)
    descent = flow(field).decode_and_pull_back
    z, direction, h = 0.3 * latents(3), latents(3, key="direction"), 1e-6
    decoded, gradient = decode_and_gradient(descent, z, x, seen)
    assert decoded.abs().max() < 0.99
    ahead, behind = ((end_of(flow(field), z + sign * h * direction) - x).square().flatten(1).sum(1) for sign in (1, -1))
    torch.testing.assert_close((gradient * direction).flatten(1).sum(1), (ahead - behind) / (2 * h))

    far = 20 * latents(3)
    decoded, gradient = decode_and_gradient(descent, far, x, seen)
    assert (decoded.abs() == 1).any()
    closer, _ = decode_and_gradient(descent, far - 5 * gradient, x, seen)
    assert (end_of(flow(field), far - 5 * gradient).abs() < end_of(flow(field), far).abs()).any()
    assert ((closer - x).square().mean() <= (decoded - x).square().mean()).all()


@pytest.mark.parametrize("evaluations", [1, 2, 5, 8])
@every_solver
def test_evaluations_are_counted_exactly(solver, evaluations):
    model, calls = flow(GaussianField().float(), solver, evaluations), []
    model.velocity.register_forward_hook(lambda *_: calls.append(1))

    def spent(act):
        calls.clear()
        act()
        return len(calls)

    z, x = latents(2).float(), torch.zeros(2, *SHAPE)
    assert spent(lambda: model.decode(z)) == evaluations == model.evaluations_per_sample
    assert spent(lambda: model.sample(2, seeded("x"))) == evaluations
    assert spent(lambda: model.encode(z)) == evaluations
    assert spent(lambda: model.trajectory(2, seeded("x"), 3)) == evaluations
    assert spent(lambda: model.invert(x, 3, seeded("r"))) == 3 * 2 * evaluations  # each step again for its gradient
    assert [model.at_compute(f).evaluations_per_sample for f in (1e-9, 1.0, 3.0)] == [1, evaluations, 3 * evaluations]


def test_inversion_stays_on_the_prior_s_shell():
    z = torch.cat([s * latents(1, (3, 8, 8)) for s in (0.1, 1.0, 10.0)])
    norms = to_shell(z).flatten(1).norm(dim=1)
    radius = math.sqrt(3 * 8 * 8)
    torch.testing.assert_close(norms[[0, 2]], torch.tensor([radius - SHELL, radius + SHELL], dtype=z.dtype))
    torch.testing.assert_close(to_shell(z)[1], z[1])
    draws = latents(20_000, (1, 8, 8), "draws").flatten(1).norm(dim=1)
    assert 0.995 < ((draws - 8).abs() < SHELL).double().mean() < 0.9995  # 0.9973 for three standard deviations

    model = trainer("flow", inversion_lr=3.0).model
    found = model.invert_latents(images(4), 8, seeded("r")).flatten(1).norm(dim=1)
    assert ((found - 8).abs() < SHELL + 1e-3).all()


def test_backward_reconstruction_goes_there_and_back_without_a_budget():
    field = GaussianField()
    model, x = flow(field, evaluations=200, reconstruct="backward"), field.draw(5, "data").clamp(-1, 1)
    assert not model.reconstructs_by_inversion
    made = [model.reconstruct(x, budget, seeded("r", budget)) for budget in (1, 7)]
    assert torch.equal(*made)
    torch.testing.assert_close(made[0], x, rtol=0, atol=1e-3)
    torch.testing.assert_close(model.decode(model.invert_latents(x, 1, seeded("r"))), made[0])


def test_a_flow_that_explodes_names_its_step():
    class Explosive(nn.Module):
        def forward(self, x, t):
            return 1e30 * x

    with pytest.raises(NotFiniteError, match="not finite from step 2 of 5 on"):
        flow(Explosive(), "euler", 5).decode(torch.randn(3, *SHAPE, generator=seeded("z")))


def test_average_follows_the_learner_and_is_young_at_first():
    t = trainer("flow", ema=0.5)
    mean = [p.clone() for p in t.model.parameters()]
    for update in range(20):
        t.step(images(8, seed=update), seeded("step", update))
        decay = min(0.5, t.updates / (t.updates + 10))
        mean = [decay * m + (1 - decay) * p for m, p in zip(mean, t.net.parameters(), strict=True)]
    for a, b in zip(t.model.parameters(), mean, strict=True):
        torch.testing.assert_close(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(t.model.parameters(), t.net.parameters(), strict=True))


def test_state_is_complete_without_an_average():
    original, restored = trainer("flow", ema=0.0), trainer("flow", ema=0.0, seed=1)
    original.step(images(8), seeded("step", 0))
    restored.load_state_dict(copy.deepcopy(original.state_dict()))
    results = [t.step(images(8, seed=1), seeded("step", 1)) for t in (original, restored)]
    assert results[0] == results[1]
    for a, b in zip(original.model.parameters(), restored.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_learning_finds_the_data_s_moments():
    """Images of a pattern and a little noise: after training, samples have the same mean and deviation."""
    t = trainer("flow", width=8, levels=1, lr=1e-2, ema=0.9, evaluations=10)
    pattern = 0.6 * images(1, seed=5)
    for update in range(120):
        noise = torch.randn(32, 1, 8, 8, generator=seeded("data", update))
        t.step(pattern + 0.2 * noise, seeded("step", update))
    made = t.model.sample(500, seeded("x"))
    assert (made.mean(0) - pattern[0]).square().mean().sqrt() < 0.06
    assert made.std(0).mean() == pytest.approx(0.2, abs=0.1)  # that of untrained samples is above 0.6


@pytest.mark.parametrize(
    ("setting", "value"),
    [("width", 6), ("levels", 0), ("evaluations", 0), ("lr", 0.0), ("ema", 1.0), ("clip", -1.0), ("solver", "rk4")],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value!r} is out of range"):
        trainer("flow", **{setting: value})


def test_clipped_gradients_leave_the_log_their_norm():
    """One Adam step hardly depends on the gradient's size: the norm in the log is that before clipping."""
    norms = [trainer("flow", clip=clip).step(images(8), seeded("step"))["gradient norm"] for clip in (0.0, 1e-3)]
    assert norms[0] == norms[1] > 1e-2


@pytest.mark.parametrize(
    ("side", "sides"),
    [(8, [8, 4]), (16, [16, 8, 4]), (28, [28, 14, 7]), (32, [32, 16, 8, 4]), (128, [128, 64, 32, 16])],
)
def test_sides_of_the_levels(side, sides):
    assert level_sides(side, 4) == sides
    assert level_sides(side, 1) == [side]


def test_unet_is_zero_at_first_and_uses_all_it_has():
    with seeded_init(seeded("net")):
        net = UNet(3, 16, width=8, levels=3, blocks=2)
    x, t = torch.randn(2, 3, 16, 16, generator=seeded("x")), torch.tensor([0.2, 0.7])
    assert torch.equal(net(x, t), torch.zeros_like(x))
    net = random_unet((3, 16, 16)).double()
    x, t = x.double(), t.double()
    weights = torch.randn(2, 3, 16, 16, generator=seeded("w"), dtype=torch.float64)
    (net(x, t) * weights).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in net.parameters())
    assert not torch.allclose(net(x, t), net(x, t.flip(0)))
    torch.testing.assert_close(net(x, t)[:1], net(x[:1], t[:1]))  # each image alone


def test_time_features_tell_near_times_apart():
    """Unit vectors up to width / 2, whose products depend on the difference of times alone."""
    t = torch.tensor([0.0, 0.001, 0.3, 0.301, 1.0], dtype=torch.float64)
    products = time_features(t, 32) @ time_features(t, 32).T / 16
    torch.testing.assert_close(products.diag(), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(products[0, 1], products[2, 3])
    assert products[0, 1] < 0.99


def test_a_flow_is_drawn_on_its_way_but_not_run_on():
    model = trainer("flow").model
    assert pictures.chain(model, 0, 4)["chain"].labels == ("0", "1", "3", "4")
    assert pictures.long_chain(model, 0) == {}
