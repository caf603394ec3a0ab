"""Settings of a cascade: which levels are good, how lists are given, what is refused and advised."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
import torch

from bench.config.registry import factory
from bench.config.settings import build, parse_overrides
from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.grid.run import remedy
from ebm.multigrid_training import MultigridConfig, default_levels
from tests.builders import images, trainer


@pytest.mark.parametrize(
    ("side", "levels"),
    [
        (8, (4, 8)),
        (16, (8, 16)),
        (28, (7, 14, 28)),
        (32, (8, 16, 32)),
        (64, (8, 16, 32, 64)),
        (128, (8, 16, 32, 64, 128)),
    ],
)
def test_default_levels(side, levels):
    assert default_levels(side) == levels
    assert [level.side for level in MultigridConfig().plan(side)] == list(levels)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("levels", [(4,), (4, 8), (16,), (8, 16), (4, 16)])
def test_levels_of_choice(side, levels):
    t = trainer("ebm-multigrid", (3, side, side), levels=(*levels, side), n_f=(2,), steps=(1,))
    scalars = t.step(images(2, (3, side, side)), seeded("step"))
    assert all(math.isfinite(value) for value in scalars.values())
    assert t.model.sample_latents(2, seeded("z")).shape == (2, 3, levels[0], levels[0])


def test_lists_come_from_the_command_line():
    texts = ["m.n_f=[64,32,16]", "m.lr=[1e-3, 2e-3, 1]", "m.levels=[8,16,32]", "m.steps=[5]"]
    config = build(MultigridConfig, parse_overrides(texts, ["m"])["m"], "m")
    plan = config.plan(32)
    assert [level.n_f for level in plan] == [64, 32, 16]
    assert [level.lr for level in plan] == [(1e-3, 3e-5), (2e-3, 3e-5), (1.0, 3e-5)]
    assert [level.chain.steps for level in plan] == [5, 5, 5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"levels": [8, 28]}, r"levels=\(8, 28\) is out of range: it must be .* each a divisor of the next"),
        ({"levels": [16, 8]}, r"levels=\(16, 8\) .* coarse to fine"),
        ({"levels": [8, 8]}, r"levels=\(8, 8\) .* coarse to fine"),
        ({"levels": [2, 4, 8]}, r"levels=\(2, 4, 8\) .* made of 4, 7, 8, 14, 16, 28, 32, 64, 128"),
        ({"levels": [8, 16], "n_f": [1, 2, 3]}, r"n_f=\(1, 2, 3\) .* one value for all levels, or one for each of 2"),
        (
            {"steps": [1, 2], "lr": [1e-3, 1e-3, 1e-3]},
            r"steps=\(1, 2\) .* one value for all levels, or one for each of 3",
        ),
        ({"steps": []}, r"steps=\(\) is out of range: it must be one value"),
        ({"steps": [5, 0]}, r"steps=\(5, 0\) is out of range: it must be at least 1"),
        ({"lr": [0.0]}, r"lr=\(0.0,\) is out of range: it must be above 0"),
        ({"n_f": 3}, r"n_f=3 is not a list: give one"),
        ({"inversion_lr": 0.0}, r"inversion_lr=0.0 is out of range: it must be above 0"),
    ],
)
def test_bad_settings_are_one_line_that_says_what_is_good(values, message):
    with pytest.raises(UserError, match=message) as caught:
        build(MultigridConfig, values, "ebm-multigrid")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "side", "message"),
    [
        ({"levels": (4, 8)}, 16, r"levels=\(4, 8\) .* it must be a list that ends with the images' side, 16"),
        ({"levels": (8, 16, 32)}, 16, r"a list that ends with the images' side, 16"),
        ({"n_f": (1, 2, 3)}, 8, r"n_f=\(1, 2, 3\) .* one value for all levels, or one for each of 2"),
        ({}, 48, r"side 48 .* 8, 16, 28, 32, 64, 128"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused_before_training(settings, side, message):
    with pytest.raises(ValueError, match=message):
        factory("ebm-multigrid")(
            MultigridConfig(**settings), (1, side, side), generator=seeded("weights"), device=torch.device("cpu")
        )


def test_steadier_settings_of_every_level():
    config = MultigridConfig(lr=(2e-3, 1e-3), sigma=(0.02,))
    advice = config.steadier()
    assert advice["lr"] == (1e-3, 5e-4)
    assert advice["sigma"] == pytest.approx((0.03,))
    build(MultigridConfig, advice, "m")


def test_advice_to_a_run_that_diverged_can_be_given_back_as_it_is():
    config = MultigridConfig(lr=(2e-3, 1e-3))
    texts = re.findall(r"m\.\S+", remedy(SimpleNamespace(model="m", config=config)))
    assert build(MultigridConfig, parse_overrides(texts, ["m"])["m"], "m").lr == (1e-3, 5e-4)
