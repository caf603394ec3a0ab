"""Flow matching: Gaussian data, whose velocity, flow and least loss are known; solver, gradients, trainer, net."""

from __future__ import annotations

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
from bench.contract.inversion import decode_and_gradient
from bench.contract.priors import SHELL, to_shell
from bench.contract.seeds import seeded
from bench.errors import NotFiniteError
from tests.builders import images, random_unet, trainer

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


@pytest.mark.parametrize("held", [0, 1, 2**28])
@pytest.mark.parametrize("evaluations", [4, 5])
@every_solver
def test_pulled_back_gradient_equals_finite_differences(solver, evaluations, held, monkeypatch):
    """However many of the steps' graphs are held: none, that of the first step, or all."""
    shape = (1, 8, 8)
    model = flow(random_unet(shape), solver, evaluations, shape=shape)
    z, weights, direction = (latents(2, shape, key) for key in ("z", "weights", "direction"))
    monkeypatch.setattr("baselines.flow.GRAPHS", held)
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
def test_evaluations_are_counted_exactly(solver, evaluations, monkeypatch):
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
    assert spent(lambda: model.invert(x, 3, seeded("r"))) == 3 * evaluations
    monkeypatch.setattr("baselines.flow.GRAPHS", 0)
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
