"""Scales: which cells a paper run has, where they are, and which it shares."""

from __future__ import annotations

import pytest

from bench.config.settings import load_profile
from bench.errors import UserError
from bench.paper import plan as plans
from bench.paper.reported import reported

SCALE = 'description = "few"\nprofile = "quick"\n'
TABLE2 = '[table2]\ndataset = "digits"\n'


def scale(tmp_path, text: str, name: str = "mine.toml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_quick_shares_the_profiles_own_point():
    plan = plans.load("quick")
    cells = {run.folder: len(run.datasets) * len(run.models) * len(run.seeds) for run in plan.runs()}
    assert cells == {
        "main": 15,
        "ebm.steps=22": 3,
        "ebm.steps=44": 3,
        "ebm.sigma=0.1,ebm.sigma_final=0.1": 3,
        "ebm.sigma=0.07,ebm.sigma_final=0.07": 3,
        "ebm.n_f=16": 3,
        "ebm.n_f=64": 3,
    }
    assert plan.folders == list(cells)
    for ablation in plan.ablations:
        assert [point.folder for point in ablation.points].count("main") == 1
    main = plan.runs()[0]
    profile = load_profile("quick")
    assert (main.datasets, main.models, main.seeds, main.overrides) == (
        profile.datasets,
        profile.models,
        profile.seeds,
        {},
    )


def test_only_runs_what_its_tables_need():
    plan = plans.load("quick")
    assert [run.folder for run in plan.runs(["table1"])] == ["main"]
    table2 = plan.runs(["table2"])
    assert table2[0].folder == "main"
    assert table2[0].models == ("ebm",)
    assert plan.runs(["toy"]) == []


def test_smoke_runs_six_cells():
    runs = plans.load("smoke").runs()
    assert sum(len(run.datasets) * len(run.models) * len(run.seeds) for run in runs) == 6


def test_paper_scale_has_the_papers_points():
    plan = plans.load("paper")
    assert plan.datasets == tuple(reported().datasets)
    for ablation in plan.ablations:
        theirs = {(value.steps, value.sigma, value.n_f) for value in reported().of(ablation.table)}
        ours = {tuple(point.settings[name] for name in plans.SETTINGS) for point in ablation.points}
        assert ours == theirs
    folders = {a.table: {point.folder for point in a.points} for a in plan.ablations}
    assert folders["2"] & folders["3a"] & folders["3b"] == {"ebm.n_f=32"}  # K = 100, sigma = 0.03: run once
    assert "main" in folders["3b"]  # n_f = 128 is Table 1's on CIFAR-10


@pytest.mark.parametrize("name", plans.scale_names())
def test_every_scale_can_be_planned(name, tmp_path):
    from bench.grid.request import Request
    from bench.grid.request import plan as cells_of
    from bench.scoring.setup import Setup

    plan = plans.load(name)
    for run in plan.runs():
        request = Request(
            setup=Setup(),
            profile=plan.profile,
            overrides=run.overrides,
            datasets=run.datasets,
            models=run.models,
            seeds=run.seeds,
            evaluation_seeds=(0,),
            out=tmp_path / run.folder,
            command="",
        )
        for cell in cells_of(request):
            for key, value in run.overrides.get(cell.model, {}).items():
                assert getattr(cell.config, key) == value


def test_sigma_final_follows_sigma():
    plan = plans.load("paper")  # its sigma falls from 0.03 to 0.01
    first = plan.ablations[0].points[0]
    assert first.overrides["sigma"] == 0.15
    assert first.overrides["sigma_final"] == pytest.approx(0.05)


def test_a_stored_plan_does_not_depend_on_the_shipped_one(tmp_path):
    profile = tmp_path / "own.toml"
    profile.write_text(load_file("quick").replace("steps = 11", "steps = 30"))
    header = SCALE.replace('"quick"', f'"{profile}"')
    plan = plans.load(scale(tmp_path, header + TABLE2 + "points = [{ steps = 5 }, { steps = 30 }]"))
    out = tmp_path / "out"
    plans.save(out, plan)
    profile.unlink()
    again = plans.stored(out)
    assert again is not None
    assert again.ablations == plan.ablations
    assert again.profile == plan.profile
    assert again.folders == ["main", "ebm.steps=5"]
    plans.save(out, plans.load("quick"))
    assert [p.name for p in sorted(out.rglob("*.toml"))] == ["quick.toml", "quick.toml"]
    assert plans.stored(tmp_path / "nothing") is None


def test_a_stored_plan_does_not_depend_on_what_its_profile_extends(tmp_path):
    """Neither on a file beside it, nor on a shipped profile: the stored one says all itself."""
    (tmp_path / "base.toml").write_text(
        'extends = "quick"\nseeds = [7]\n["my.module:MODEL"]\nnote = "a \\"b\\" ü"\nx = 1e-30\n'
    )
    own = tmp_path / "own.toml"
    own.write_text('extends = "base.toml"\n[on.digits.ebm]\nsteps = 3\n[ebm-multigrid]\nlr = [1e-3, 2.0]\n')
    (tmp_path / "scale.toml").write_text(SCALE.replace('"quick"', f'"{own}"'))
    plan = plans.load(str(tmp_path / "scale.toml"))
    plans.save(tmp_path / "out", plan)
    (tmp_path / "base.toml").unlink()
    own.unlink()
    assert "extends" not in (tmp_path / "out" / "profile" / "own.toml").read_text()
    again = plans.stored(tmp_path / "out")
    assert again.profile == plan.profile
    assert again.profile.sections["my.module:MODEL"] == {"note": 'a "b" ü', "x": 1e-30}
    assert again.profile.settings("digits", "ebm")["steps"] == 3


def load_file(profile: str) -> str:
    from bench.config.settings import PROFILES

    return (PROFILES / f"{profile}.toml").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profile = 'quick'", ["description"]),
        ("description = 'x'\nprofile = 'nowhere'", ["nowhere", "choose"]),
        ("not toml at all", ["cannot be read"]),
        (SCALE + "[table4]", ["table4", "table3b"]),
        (SCALE + "[table1]\nmodel = ['ebm']", ["table1.model", "models"]),
        (SCALE + "[table1]\nseeds = []", ["table1.seeds", "[]"]),
        (SCALE + "[table1]\nseeds = [0, 0]", ["[0, 0]", "twice"]),
        (SCALE + "[table1]\nseeds = [-1]", ["negative"]),
        (SCALE + "[table1]\nmodels = 'ebm'", ["'ebm'", "list"]),
        (SCALE + "[table2]\npoints = [{ steps = 5 }]", ["table2.dataset"]),
        (SCALE + TABLE2, ["points"]),
        (SCALE + TABLE2 + "points = []", ["points"]),
        (SCALE + TABLE2 + "points = [5]", ["points"]),
        (SCALE + TABLE2 + "points = [{ steps = 5 }, { steps = 5, sigma = 0.1 }]", ["[5, 5]", "once"]),
        (SCALE + TABLE2 + "points = [{ steps = -5 }]", ["-5"]),
        (SCALE + TABLE2 + "points = [{ steps = '5' }]", ["'5'"]),
        (SCALE + TABLE2 + "points = [{ '../out' = 5 }]", ["../out"]),
        (SCALE + TABLE2 + "points = [{ sigma = inf }]", ["inf"]),
        (SCALE + "[toy]\nupdates = 0", ["toy.updates", "0"]),
        (SCALE + "table1 = 5", ["table1"]),
    ],
)
def test_a_bad_scale_is_refused_in_one_line(text, words, tmp_path):
    with pytest.raises(UserError) as refused:
        plans.load(scale(tmp_path, text))
    message = str(refused.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_scale_names_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="unknown scale 'huge': choose one of cpu, paper, quick, smoke"):
        plans.load("huge")
    with pytest.raises(UserError, match="unknown scale"):
        plans.load(str(tmp_path / "nowhere.toml"))
