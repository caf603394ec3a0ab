"""The shipped profiles: what extends what, what each plans, and that the rules of each run."""

from __future__ import annotations

import dataclasses

import pytest

from bench import compare
from bench.config import registry
from bench.config.settings import load_profile, profile_names
from bench.data import DATASETS, DataConfig, load
from bench.errors import UserError
from bench.grid import grid
from bench.grid.request import Request, plan
from bench.report.content.captions import caption
from bench.report.content.sections import split
from bench.results.cell_folder import read_all
from bench.scoring.setup import Setup
from tests.data_layouts import write_folder
from tests.test_settings import GOOD

EXTRACTOR = "efficientnet-lite0@64"


def request(profile, out, **settings):
    found = load_profile(profile)
    names = {"datasets": found.datasets, "models": found.models, "seeds": (0,), "overrides": {}} | settings
    setup = Setup(extractor_choice=EXTRACTOR, threads=1, progress=False)
    return Request(setup=setup, profile=found, evaluation_seeds=(0,), out=out, command="", **names)


# One profile upon another


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return str(folder / f"{next(iter(texts))}.toml")


def test_a_profile_has_what_it_says_and_the_rest_of_the_one_it_extends(tmp_path):
    base = GOOD + "[ebm]\nsteps = 3\nn_f = 8\n[vae]\nlatent = 2\n[on.digits.ebm]\nn_f = 16\nsteps = 5\n"
    own = 'extends = "base.toml"\nseeds = [7]\n[ebm]\nsteps = 4\n[on.digits.ebm]\nn_f = 32\n'
    found, under = load_profile(write(tmp_path, mine=own, base=base)), load_profile(str(tmp_path / "base.toml"))
    assert (found.name, found.seeds, found.models, found.description) == ("mine", (7,), ("ebm",), "x")
    assert found.settings("svhn", "ebm") == {"steps": 4, "n_f": 8}
    assert found.settings("digits", "ebm") == {"steps": 5, "n_f": 32}  # settings of a data set come last, wherever
    assert found.settings("digits", "vae") == {"latent": 2}
    assert under.settings("digits", "ebm") == {"steps": 5, "n_f": 16}


def test_a_chain_of_profiles_ends_at_a_shipped_one(tmp_path):
    found = load_profile(write(tmp_path, a='extends = "b.toml"\n[vae]\nwidth = 3', b='extends = "quick"\nseeds = [9]'))
    quick = load_profile("quick")
    assert found.settings("digits", "vae") == quick.settings("digits", "vae") | {"width": 3}
    assert (found.seeds, found.datasets) == ((9,), quick.datasets)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": 'extends = "a.toml"'}, r"a\.toml extends itself \(a -> a\): remove one 'extends'"),
        ({"a": 'extends = "b.toml"', "b": 'extends = "a.toml"'}, r"extends itself \(a -> b -> a\)"),
        ({"a": 'extends = "b.toml"', "b": 'extends = "b.toml"'}, r"extends itself \(a -> b -> b\)"),
        ({"a": 'extends = "huge"'}, r"'extends' is 'huge': give one of .*quick.*, or a \.toml file beside it"),
        ({"a": "extends = 3"}, r"'extends' is 3: give one of"),
        ({"a": 'extends = "b.toml"', "b": "="}, r"profile .*b\.toml cannot be read"),
        ({"a": 'extends = "quick"\nseeds = 3'}, r"'seeds' is missing or not a list"),
        ({"a": 'extends = "quick"\nebm = 3'}, r"a\.toml: 'ebm' is not a section"),
    ],
)
def test_what_cannot_be_extended_is_one_line(tmp_path, texts, message):
    with pytest.raises(UserError, match=message) as caught:
        load_profile(write(tmp_path, **texts))
    assert "\n" not in str(caught.value)


# What is shipped


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_profile_plans_every_data_set_and_model(name, tmp_path):
    sets = tuple(one if one != "folder:PATH" else "folder:images" for one in DATASETS)
    cells = plan(request(name, tmp_path, datasets=sets, models=tuple(registry.MODELS)))
    assert len(cells) == len(sets) * len(registry.MODELS)
    assert name in compare.listing(tmp_path)


def cell_of(profile, model, tmp_path):
    return next(cell for cell in plan(request(profile, tmp_path)) if (cell.dataset, cell.model) == ("cifar10", model))


def test_the_counts_of_the_protocols(tmp_path):
    paper, community = (cell_of(name, "vae", tmp_path) for name in ("paper", "community"))
    assert (paper.evaluation.samples, paper.evaluation.real, paper.data.max_train) == (40_000, 40_000, 40_000)
    assert (community.evaluation.samples, community.evaluation.real, community.data.max_train) == (50_000, 0, 0)
    assert load_profile("community").features == "inception"
    assert dataclasses.replace(community.evaluation, samples=40_000, real=40_000) == paper.evaluation
    assert (community.config, community.training) == (paper.config, paper.training)


def test_the_minimal_script_is_the_same_for_both_models(tmp_path):
    published, ebm = (cell_of("minimal-script", model, tmp_path).config for model in ("published", "ebm"))
    named = ("updates", "batch_size", "n_f", "steps", "sigma", "lr", "beta1")
    assert [getattr(published, name) for name in named] == [100_000, 64, 64, 100, 0.03, 1e-4, 0.9]
    same = {one.name for one in dataclasses.fields(published)} & {one.name for one in dataclasses.fields(ebm)}
    assert {name: getattr(ebm, name) for name in same} == {name: getattr(published, name) for name in same}
    assert (ebm.sigma_final, ebm.lr_final, ebm.ema, ebm.energy_penalty) == (ebm.sigma, ebm.lr, 0.0, 0.0)


# That they run, with fewer of everything


@pytest.mark.parametrize(
    ("profile", "model", "real", "words"),
    [
        ("community", "vae", None, "64 samples against all 73 training images"),
        ("minimal-script", "published", 70, "64 samples against the first 70 of 73 training images"),
    ],
)
def test_a_small_cell_of_the_profiles_rules(profile, model, real, words, tmp_path):
    write_folder(tmp_path / "set", 79)
    reduced = load_profile("smoke").sections["evaluation"] | {"samples": 64, "sweep_samples": 0, "metrics": ["FD"]}
    del reduced["real"]
    overrides = {
        "data": {"held_out": 6},
        "training": {"grids": 0},
        "evaluation": reduced | ({"real": real} if real else {}),
        model: registry.smoke(registry.factory(model)) | {"updates": 2, "batch_size": 4},
    }
    source = f"folder:{tmp_path / 'set'}"
    asked = request(profile, tmp_path / "out", datasets=(source,), models=(model,), overrides=overrides)
    evaluators: grid.Evaluators = {}
    assert grid.complete(asked, grid.prepare(asked, evaluators), evaluators) == ["finished"]
    (record,) = read_all(tmp_path / "out")
    assert record.data["protocol"] == f"{words}, features of efficientnet-lite0, 64 px"
    assert record.metric("FD")["lead"]
    (section,) = split([record])
    assert f"Protocol (profile {profile}): {record.data['protocol']}." in caption(section)
    older = dataclasses.replace(record, data={k: v for k, v in record.data.items() if k != "protocol"})
    assert not any(line.startswith("Protocol") for line in caption(split([older])[0]))


def test_all_training_images_are_all_but_those_held_out(tmp_path):
    write_folder(tmp_path / "set", 30)
    found = load(f"folder:{tmp_path / 'set'}", tmp_path, DataConfig(max_train=0, held_out=2), progress=False)
    assert (len(found.train), len(found.held_out), found.notes) == (28, 2, ())
