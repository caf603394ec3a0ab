"""Short-run learning in the plane: densities against their integrals, the learner against the truth, files as kept."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.paper import toy
from bench.results.record import record_bytes
from ebm.toy import (
    TRUTHS,
    ToySettings,
    as_images,
    centres,
    learn,
    share,
    short_run,
    smoothed,
    total_variation,
    triptych,
    untrained,
)

REPOSITORY = Path(__file__).resolve().parents[1]
# total variation from the truth, 4,000 chain ends on a grid of 64 x 64, smoothed by one square
LEARNED = ToySettings(updates=140, lr=4e-3, ends=4000)
BOUND = 0.25
SMALL = {"batch_size": 16, "width": 8, "steps": 3, "ends": 200, "bins": 16}
QUICK = ToySettings(updates=12, **SMALL)
every_truth = pytest.mark.parametrize("name", sorted(TRUTHS))


@every_truth
def test_a_density_integrates_to_one_and_its_draws_follow_it(name):
    truth, bins = TRUTHS[name](), 200
    mass = (truth.density(centres(bins)) * (2 / bins) ** 2).view(bins, bins)
    assert mass.sum().item() == pytest.approx(1, abs=1e-3)
    drawn = share(truth.draw(200_000, seeded("draws")), bins)
    coarse = [one.view(10, 20, 10, 20).sum((1, 3)) for one in (mass, drawn)]
    # a hundred shares of 200,000 draws: half the sum of their binomial deviations is the expected distance
    expected = 0.5 * math.sqrt(2 / math.pi) * (coarse[0] / 200_000).sqrt().sum().item()
    assert total_variation(*coarse) < 3 * expected


def test_total_variation_counts_what_lies_outside():
    p, q = torch.zeros(2, 2), torch.zeros(2, 2)
    p[0, 0], q[1, 1] = 1.0, 1.0
    assert total_variation(p, p) == 0
    assert total_variation(p, q) == 1
    assert total_variation(p, 0.25 * p) == 0.75  # the other three quarters are not on the grid
    assert total_variation(p, torch.full((2, 2), 0.25)) == 0.75


def test_shares_are_where_the_points_are():
    points = torch.tensor([[-0.9, -0.9], [0.9, -0.9], [0.9, -0.8], [5.0, 0.0]])
    found = share(points, 4)
    assert found[0].tolist() == [0.25, 0, 0, 0.5]  # the bottom row, the first axis along it
    assert found.sum() == 0.75
    middles = centres(4)
    assert middles[3].tolist() == [0.75, -0.75]
    assert share(middles, 4).flatten().tolist() == [1 / 16] * 16


def test_smoothing_is_a_gaussian_that_keeps_the_mass():
    mass = torch.zeros(41, 41, dtype=torch.float64)
    mass[20, 20] = 1
    spread = smoothed(mass, 1.5)
    at = torch.arange(41, dtype=torch.float64) - 20
    assert spread.sum().item() == pytest.approx(1)
    assert (spread.sum(0) * at.square()).sum().item() == pytest.approx(1.5**2, rel=1e-2)
    torch.testing.assert_close(spread, spread.T)


def test_the_chain_is_the_sampler_of_images():
    """exp(-E) of E = |x|^2 / (2 s^2) is a normal density: a long chain reaches its deviation s."""
    s, settings = 0.2, replace(QUICK, steps=400, noise_std=0.08)

    class Bowl(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1).square().sum(1) / (2 * s**2)

    ends = short_run(Bowl(), 4000, settings, seeded("bowl"))
    assert ends.shape == (4000, 2, 1, 1)
    shrink = 1 - settings.noise_std**2 / (2 * s**2)  # of the discrete chain, whose stationary variance is exact
    expected = settings.noise_std / math.sqrt(1 - shrink**2)
    assert ends.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * ends.numel()))


def test_learning_is_a_function_of_its_seed():
    truth = TRUTHS["rings"]()
    nets = [learn(truth, QUICK, seed) for seed in (0, 0, 1)]
    x = as_images(centres(4).float())
    assert torch.equal(nets[0](x), nets[1](x))
    assert not torch.equal(nets[0](x), nets[2](x))
    assert not torch.equal(nets[0](x), untrained(QUICK, 0)(x))


@every_truth
def test_short_runs_learn_the_truth(name):
    """Fewer updates than the figure's: the chains' density comes close, which an untrained net's does not."""
    truth = TRUTHS[name]()
    found = triptych(truth, learn(truth, LEARNED, 0), LEARNED, 0).total_variation
    assert found["short_run"] < BOUND
    assert found["untrained"] > 2 * BOUND
    assert found["sampling"] < found["short_run"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("toy")
    toy.run(out, updates=2, progress=False, **SMALL)
    return out


def test_a_toy_is_read_as_it_was_written(kept):
    found = toy.read(kept)
    assert [one.name for one in found] == sorted(TRUTHS)
    for one in found:
        assert one.settings["updates"] == 2
        assert set(one.total_variation) == {"short_run", "learned", "untrained", "sampling"}
        assert set(one.masses) == {"truth", "learned", "short_run"}
        for mass in one.masses.values():
            assert mass.shape == (SMALL["bins"], SMALL["bins"])
            assert 0.3 < mass.sum() < 1 + 1e-4
        distance = total_variation(*(torch.tensor(one.masses[part]).double() for part in ("truth", "short_run")))
        assert distance == pytest.approx(one.total_variation["short_run"], abs=1e-4)


def test_the_same_toy_is_not_trained_again_and_another_is(kept, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in (kept / "toy").iterdir()}
    toy.run(kept, updates=2, progress=False, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in (kept / "toy").iterdir()} == before
    toy.run(tmp_path, updates=1, progress=False, **SMALL)
    toy.run(tmp_path, updates=2, progress=False, **SMALL)
    assert toy.read(tmp_path)[0].settings["updates"] == 2
    assert (tmp_path / "toy/toy.json").read_bytes() == (kept / "toy/toy.json").read_bytes()


def test_damage_is_found(kept, tmp_path):
    assert toy.read(tmp_path) == []
    content = {path.name: path.read_bytes() for path in (kept / "toy").iterdir()}
    assert set(content) == {"toy.json"}
    place = tmp_path / "toy"
    place.mkdir()

    def damaged(name: str, new: bytes) -> None:
        for each, old in content.items():
            (place / each).write_bytes(old)
        (place / name).write_bytes(new)
        with pytest.raises(UserError, match="move the folder"):
            toy.read(tmp_path)

    for name, old in content.items():
        flipped = bytearray(old)
        flipped[len(old) // 3] ^= 4
        damaged(name, bytes(flipped))
        damaged(name, old[:-1])
        damaged(name, b"")
    for other in ([], {}, {"schema": 2}, {"truths": {"mixture": {}}}):
        damaged("toy.json", json.dumps(other).encode())
    whole = json.loads(content["toy.json"])
    entry = whole["truths"]["rings"]
    for wrong in ({"masses": entry["masses"][:-8]}, {"masses": "no base64!"}, {"total_variation": {"learned": 2}}):
        damaged("toy.json", record_bytes(whole | {"truths": {"rings": entry | wrong}}))


def test_reading_and_drawing_need_no_torch(kept):
    code = (
        "import sys; from pathlib import Path; from bench.paper import figures;"
        "drawn = figures.write(Path(sys.argv[1]), []);"
        "print([path.name for one in drawn for path in one.pictures], 'torch' in sys.modules, 'ebm' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept)], capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "['toy.png'] False False\n"), done.stderr
