"""Profiles, overrides and typed configurations: nothing unknown is ever ignored."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench.config import registry
from bench.config.settings import build, load_profile, parse_overrides, profile_names
from bench.errors import UserError
from bench.grid.request import SECTIONS, Request, plan
from bench.scoring.setup import Setup
from tests.builders import trainer


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
        ({"count": 10**30}, r"s\.count=10+ is too large: give at most 9223372036854775807"),
        ({"rate": 10**400}, r"s\.rate=10+\.\.\. is too large"),
        ({"a\nb": 1}, r"unknown setting s\.'a\\nb'"),
        ({"rate": -1}, r"setting s\.rate=-1\.0 is out of range: it must be 0 or more"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(UserError, match=message):
        build(Config, values, "s")


def test_a_long_value_out_of_range_still_names_field_and_range():
    @dataclass(frozen=True)
    class Named:
        net: str = "plain"

        def __post_init__(self):
            raise ValueError(f"net={self.net!r} is out of range: it must be plain or residual")

    with pytest.raises(UserError, match=r"^setting s\.net='x+\.\.\.x+' is out of range: it must be plain") as caught:
        build(Named, {"net": "x" * 10_000}, "s")
    assert len(str(caught.value)) < 300


def test_overrides_are_read_as_toml_or_words():
    texts = ["ebm.steps=50", "ebm.lr=1e-3", "ebm.net=residual", 'vae.x="a=b"', "ebm.steps=60"]
    assert parse_overrides(texts, ["ebm", "vae"]) == {
        "ebm": {"steps": 60, "lr": 1e-3, "net": "residual"},
        "vae": {"x": "a=b"},
    }


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000, "50\nlr = 1", "=", "{a = 1"])
def test_an_override_that_is_no_single_toml_value_is_a_word(value):
    assert parse_overrides([f"ebm.steps={value}"], ["ebm"]) == {"ebm": {"steps": value}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps=50", "not of the form section.name=value"),
        ("ebm.steps", "not of the form section.name=value"),
        ("gan.steps=50", "unknown section 'gan': choose one of ebm, vae"),
        ("x" * 5000, r"--set 'x{76}\.\.\. is not of the form"),
        (f"{'x' * 5000}.steps=50", r"unknown section 'x{76}\.\.\.: choose"),
    ],
)
def test_bad_overrides_are_named(text, message):
    with pytest.raises(UserError, match=message):
        parse_overrides([text], ["ebm", "vae"])


def test_unknown_profile_lists_the_good_ones():
    with pytest.raises(
        UserError, match="unknown profile 'fast': choose one of community, cpu, minimal-script, paper, quick, smoke"
    ):
        load_profile("fast")


GOOD = 'description = "x"\ndatasets = ["digits"]\nmodels = ["ebm"]\nseeds = [0]\nfeatures = "auto"\n'


def test_a_profile_file_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + "[ebm]\nsteps = 3\n[on.digits.ebm]\nsteps = 4\n")
    profile = load_profile(str(path))
    assert (profile.name, profile.seeds, profile.evaluation_seeds) == ("mine", (0,), (0,))
    assert profile.settings("digits", "ebm") == {"steps": 4}
    assert profile.settings("svhn", "ebm") == {"steps": 3}
    assert profile.small_models is False


@pytest.mark.parametrize("value", [True, False])
def test_a_profile_can_ask_for_small_models(tmp_path, value):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + f"small_models = {str(value).lower()}\n[ebm]\nsteps = 3\n")
    profile = load_profile(str(path))
    assert profile.small_models is value
    assert set(profile.sections) == {"ebm"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("datasets = [", "cannot be read"),
        ("x = " + "[" * 5000, "cannot be read"),
        ("x = " + "9" * 5000, "cannot be read"),
        ("\udcff", "not UTF-8 text"),
        (GOOD.replace("[0]", "0"), "'seeds' is missing or not a list of whole numbers"),
        (GOOD.replace("[0]", "[true]"), "'seeds' is missing or not a list of whole numbers"),
        (GOOD.replace('["ebm"]', '["ebm", 1]'), "'models' is missing or not a list of strings"),
        (GOOD.replace('"auto"', "1"), "'features' is missing or not a string"),
        (GOOD + "evaluation_seeds = [0.5]", "'evaluation_seeds' is not a list of one or more seeds"),
        (GOOD + "evaluation_seeds = []", "'evaluation_seeds' is not a list of one or more seeds"),
        (GOOD + "small_models = 1", "'small_models' is neither true nor false"),
        (GOOD + "small_models = 'true'", "'small_models' is neither true nor false"),
        (GOOD + "[small_models]\nebm = true", "'small_models' is neither true nor false"),
        (GOOD + "ebm = 3", "'ebm' is not a section of settings"),
        (GOOD + "on = 3", "'on' is not a section of settings"),
        (GOOD + "[on]\ndigits = 3", "'on.digits' is not a section of settings"),
        (GOOD + "[on.digits]\nebm = 3", "'on.digits.ebm' is not a section of settings"),
        ("#" * 2**20 + "\n" + GOOD, "more than 1,048,576 bytes"),
    ],
)
def test_a_damaged_profile_is_one_line_that_names_it(tmp_path, text, named):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=named) as caught:
        load_profile(str(path))
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["x" * 5000 + ".toml", "a\0b.toml", ""])
def test_a_name_that_no_file_can_have_is_an_unknown_profile(name):
    with pytest.raises(UserError, match="unknown profile"):
        load_profile(name)


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


# Smoke settings, which a model's configuration states itself


@dataclass(frozen=True)
class Small:
    updates: int = 1000
    batch_size: int = 64
    width: int = 100
    smoke = {"updates": 7, "batch_size": 8}  # noqa: RUF012 - a user's own, without the contract's base


class Own:
    Config = Small

    def __init__(self, *given, **named):
        pass


def planned(tmp_path, model: str, profile: str, **overrides):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + profile)
    request = Request(
        setup=Setup(),
        profile=load_profile(str(path)),
        overrides={registry.label(model): overrides},
        datasets=("digits",),
        models=(model,),
        seeds=(0,),
        evaluation_seeds=(0,),
        out=tmp_path,
        command="",
    )
    (cell,) = plan(request)
    return cell.config


OWN = f"{__name__}:Own"


def test_a_model_starts_from_its_smoke_settings_where_the_profile_says_so(tmp_path):
    assert planned(tmp_path, OWN, "") == planned(tmp_path, OWN, "small_models = false") == Small()
    assert planned(tmp_path, OWN, "small_models = true") == Small(updates=7, batch_size=8)
    assert planned(tmp_path, "vae", "small_models = true") == trainer("vae", updates=10, batch_size=16).config


def test_sections_and_overrides_come_after_smoke_settings(tmp_path):
    profile = "small_models = true\n[ebm]\nsteps = 9\n[on.digits.ebm]\nbatch_size = 4\n"
    smoke = registry.smoke(registry.factory("ebm"))
    config = planned(tmp_path, "ebm", profile, n_f=5)
    assert (config.steps, config.batch_size, config.n_f, config.updates) == (9, 4, 5, smoke["updates"])
    inheriting = planned(tmp_path, "ebm-residual", profile, n_f=5)
    assert (inheriting.steps, inheriting.batch_size, inheriting.n_f, inheriting.net) == (9, 4, 5, "residual")


@pytest.mark.parametrize("model", sorted(registry.MODELS))
def test_every_registered_model_states_smoke_settings(model):
    factory = registry.factory(model)
    config = build(factory.Config, registry.smoke(factory), model)
    assert config != factory.Config()
    assert config.updates <= 20


def test_smoke_settings_that_are_none_are_one_line(monkeypatch):
    monkeypatch.setattr(Small, "smoke", 3)
    with pytest.raises(UserError, match=r"^Small\.smoke is 3: make it a dict of settings$"):
        registry.smoke(Own)
    monkeypatch.delattr(Small, "smoke")
    assert registry.smoke(Own) == {}


def test_a_smoke_setting_that_is_wrong_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Small, "smoke", {"widht": 3})
    with pytest.raises(UserError, match=r"unknown setting Own\.widht: choose one of updates, batch_size, width"):
        planned(tmp_path, OWN, "small_models = true")
