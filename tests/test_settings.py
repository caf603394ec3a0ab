"""Profiles, overrides and typed configurations: nothing unknown is ever ignored."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench import registry
from bench.errors import UserError
from bench.grid import SECTIONS
from bench.settings import build, load_profile, parse_overrides, profile_names


@dataclass(frozen=True)
class Config:
    count: int = 1
    rate: float = 0.5
    name: str = "a"

    def __post_init__(self):
        if self.rate < 0:
            raise ValueError(f"rate={self.rate} is out of range: it must be 0 or more")


def test_values_are_typed():
    assert build(Config, {"count": 3, "rate": 2, "name": "b"}, "s") == Config(3, 2.0, "b")
    assert isinstance(build(Config, {"rate": 2}, "s").rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 3}, r"unknown setting s\.cuont: choose one of count, rate, name"),
        ({"count": 1.5}, r"s\.count=1\.5 has the wrong type: give a value of type int"),
        ({"count": True}, r"s\.count=True has the wrong type"),
        ({"rate": "fast"}, r"s\.rate='fast' has the wrong type: give a value of type float"),
        ({"rate": float("nan")}, r"s\.rate=nan is not finite"),
        ({"rate": -1}, r"setting s\.rate=-1\.0 is out of range: it must be 0 or more"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(UserError, match=message):
        build(Config, values, "s")


def test_overrides_are_read_as_toml_or_words():
    texts = ["ebm.steps=50", "ebm.lr=1e-3", "ebm.net=residual", 'vae.x="a=b"', "ebm.steps=60"]
    assert parse_overrides(texts, ["ebm", "vae"]) == {
        "ebm": {"steps": 60, "lr": 1e-3, "net": "residual"},
        "vae": {"x": "a=b"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=50", "not of the form section.name=value"),
        ("ebm.steps", "not of the form section.name=value"),
        ("gan.steps=50", "unknown section 'gan': choose one of ebm, vae"),
    ],
)
def test_bad_overrides_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_overrides([text], ["ebm", "vae"])


def test_unknown_profile_lists_the_good_ones():
    with pytest.raises(UserError, match="unknown profile 'fast': choose one of cpu, paper, quick, smoke"):
        load_profile("fast")


def test_damaged_profile_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("datasets = [")
    with pytest.raises(UserError, match=r"mine\.toml cannot be read"):
        load_profile(str(path))
    path.write_text('description = "x"\ndatasets = ["digits"]\nmodels = ["ebm"]\nseeds = 0\nfeatures = "auto"')
    with pytest.raises(UserError, match="'seeds' is missing or not a list"):
        load_profile(str(path))


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_is_valid(name):
    profile = load_profile(name)
    assert set(profile.sections) <= {*SECTIONS, *registry.MODELS}
    for dataset in profile.datasets:
        for section, config in SECTIONS.items():
            build(config, profile.settings(dataset, section), section)
        for model in registry.MODELS:
            build(registry.factory(model).Config, profile.settings(dataset, model), model)


def test_settings_of_a_data_set_come_last():
    profile = load_profile("paper")
    assert profile.settings("cifar10", "ebm")["n_f"] == 128
    assert profile.settings("celeba", "ebm")["n_f"] == 64
