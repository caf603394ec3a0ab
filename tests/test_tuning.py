"""Tuning: what is searched, what a trial's seconds buy, and that a search that was stopped goes on as if it had not."""

from __future__ import annotations

import csv
import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import tune
from bench.config import registry
from bench.config.settings import build, parse_overrides
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import EvaluationConfig, Yardstick
from bench.grid.cell import Cell
from bench.grid.training import TrainingConfig
from bench.tuning import search, study, table, trial
from bench.tuning.space import Dimension, space
from bench.tuning.trial import Outcome
from tests import timed
from tests.evaluation_builders import Pixels, Scaled, bytes_of

IMAGES = bytes_of(16, 0)
ROOT = Path(__file__).parent.parent


def cells(out, *seeds, config=None):
    model = timed.Trainer
    common = (DataConfig(), TrainingConfig(), EvaluationConfig(), (0,), config or timed.Config())
    return [Cell("digits", "digits", "toy", "tests.timed:Trainer", model, seed, *common, out) for seed in seeds]


class Asked:
    """In a trial's place: gives the low end of every range, the last of the choices."""

    def suggest_categorical(self, key, choices):
        return choices[-1]

    def suggest_int(self, key, low, high, log):
        return low

    def suggest_float(self, key, low, high, log):
        return low * 1.2345678


# What is searched


def test_a_declaration_becomes_dimensions():
    found = space(timed.Config, "toy")
    assert found == (
        Dimension("lr+lr_final", False, False, 1e-3, 1.0, True),
        Dimension("width", False, True, 2, 9, False),
        Dimension("levels", True, False, 0.5, 2.0, True),
        Dimension("kind", False, choices=("plain", "residual")),
    )
    tried = {name: value for one in found for name, value in one.suggest(Asked()).items()}
    # one value for both rates, three digits, and one value for all levels
    assert tried == {"lr": 0.00123, "lr_final": 0.00123, "width": 2, "levels": (0.617,), "kind": "residual"}


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, "declares nothing to search"),
        (3, "make it a dict"),
        ({"lrr": (1, 2, "log")}, "unknown setting 'lrr'"),
        ({"lr": (0, 1, "log")}, "make it \\(low, high"),
        ({"lr": (2.0, 1.0, "linear")}, "low < high"),
        ({"lr": (1.0, 2.0)}, "make it"),
        ({"lr": []}, "a list of choices"),
        ({"kind": (1, 2, "linear")}, "make it"),
        ({"width": (1.5, 2, "linear")}, "make it"),
        ({"lr+width": (1, 2, "linear")}, "different types"),
    ],
)
def test_a_wrong_declaration_is_one_line(declared, words, monkeypatch):
    monkeypatch.setattr(timed.Config, "search", declared)
    with pytest.raises(UserError, match=words):
        space(timed.Config, "toy")


@pytest.mark.parametrize("model", sorted(set(registry.MODELS) - {"published"}))
def test_every_end_of_every_declared_range_is_a_good_setting(model):
    config = registry.factory(model).Config
    found = space(config, model)
    assert len(found) >= 4
    for one in found:
        ends = one.choices or ([int(one.low), int(one.high)] if one.whole else [one.low, one.high])
        for end in ends:
            settings = dict.fromkeys(one.key.split("+"), (end,) if one.listed else end)
            assert dataclasses.asdict(build(config, settings, model)).items() >= settings.items()


# A trial


def test_seconds_become_updates_that_are_known_before_training_starts(tmp_path):
    """An update takes 2 s, the first one 20 s, and scoring 1000 s, which are not training."""
    timed.Trainer.planned.clear()
    (cell,) = cells(tmp_path, 7, config=timed.Config(cost=2.0))
    yardstick = timed.Yardstick()
    device = torch.device("cpu")
    found = trial.run(cell, {"lr": 0.5}, IMAGES, yardstick, device, seconds=60.0, clock=timed.Clock())
    assert timed.Trainer.planned[-1] == 30  # of the trainer that was trained; the one before it was timed alone
    assert found == Outcome({"lr": 0.5}, 7, "finished", "", 8 / 30, 2.0 * 30 + 18, 30)
    assert [updates for _, updates in yardstick.taken] == [30]


@pytest.mark.parametrize(("at", "updates"), [(3, 0), (12, 11)])  # while it is timed, while it trains
def test_divergence_is_an_outcome_with_its_reason(tmp_path, at, updates):
    (cell,) = cells(tmp_path, 0, config=timed.Config(fails_at=at))
    found = trial.run(cell, {}, IMAGES, timed.Yardstick(), torch.device("cpu"), seconds=30.0, clock=timed.Clock())
    assert (found.status, found.score, found.updates) == ("diverged", None, updates)
    assert f"the toy diverged, at update {at}" in found.message


def test_the_yardstick_is_the_metric_of_the_tables():
    real, config = bytes_of(96, 3), EvaluationConfig(samples=64, lead="FD")
    own = Yardstick(real, Pixels(), config, what="validation", key="k")
    same = own.of_real(real[:64]).value
    assert own.score(Scaled(), 0).value > same
    assert own.score(Scaled(), 0) == own.score(Scaled(), 0) != own.score(Scaled(), 1)
    assert own.score(Scaled(), 0).label == "FD(pixels, 8 px)"
    for lead in ("recall", "memorization", "nothing"):
        with pytest.raises(UserError, match=r"no score that is better when lower"):
            Yardstick(real, Pixels(), EvaluationConfig(lead=lead), what="validation", key="k")


# The study

SETTINGS = {"model": "toy", "seconds": 1.0}


def objective(cell, tried):
    """Best at lr = 0.1 and kind residual; with rates below 0.03, half of those that are drawn, it diverges."""
    if tried["lr"] < 0.03:
        return Outcome(tried, cell.seed, "diverged", "too slow", None, 0.5, 3)
    score = abs(tried["lr"] - 0.1) + (tried["kind"] == "plain") + tried["width"] / 100
    return Outcome(tried, cell.seed, "finished", "", score, 1.0, 10)


def searched(out, trials, sampler="tpe", objective=objective, settings=SETTINGS, seed=0):
    pytest.importorskip("optuna")
    own = study.Study(out, settings, sampler=sampler, seed=seed)
    return search.complete(own, cells(out, 4, 5), space(timed.Config, "toy"), trials, objective)


@pytest.mark.parametrize(("sampler", "pieces", "total"), [("tpe", (11,), 13), ("random", (2,), 4)])
def test_a_search_in_pieces_is_the_search_in_one(tmp_path, sampler, pieces, total):
    """Stopped between two trials and within one, with TPE also beyond the ten trials that it draws at random."""

    def stops(cell, tried):
        raise KeyboardInterrupt

    whole = searched(tmp_path / "whole", total, sampler)
    for trials in pieces:
        searched(tmp_path / "pieces", trials, sampler)
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / "pieces", total, sampler, stops)
    assert searched(tmp_path / "pieces", total, sampler) == whole
    texts = [(tmp_path / name / table.FILE).read_text() for name in ("whole", "pieces")]
    assert texts[0] == texts[1]
    assert [one.seed for one in whole[:4]] == [4, 5, 4, 5]
    assert len({tuple(one.settings["levels"]) for one in whole}) == total
    first, second = searched(tmp_path / "other", 2, sampler, seed=1)
    assert (first, second != whole[1]) == (whole[0], True)


def test_the_first_trial_is_the_profile_s(tmp_path):
    """As far as the space holds it: a list that differs by level, and a rate out of the range, are drawn."""
    (own,) = searched(tmp_path / "own", 1)
    known = timed.Config()
    assert own.settings == {"lr": known.lr, "lr_final": known.lr_final, "width": 4, "levels": [1.0], "kind": "plain"}
    unlike = [
        dataclasses.replace(cell, config=dataclasses.replace(known, lr=2.0, lr_final=2.0, levels=(1.0, 1.5)))
        for cell in cells(tmp_path, 4)
    ]
    study_ = study.Study(tmp_path / "unlike", SETTINGS, sampler="tpe", seed=0)
    (drawn,) = search.complete(study_, unlike, space(timed.Config, "toy"), 1, objective)
    assert (drawn.settings["width"], drawn.settings["kind"]) == (4, "plain")
    assert drawn.settings["lr"] <= 1.0
    assert drawn.settings["levels"][0] not in (1.0, 1.5)


def test_what_is_fixed_is_not_searched():
    free = [one.key for one in space(timed.Config, "toy", fixed={"lr_final": 0.1, "kind": "plain"})]
    assert free == ["lr", "width", "levels"]
    with pytest.raises(UserError, match="--set fixes all that is searched of toy: leave out one of lr\\+lr_final"):
        space(timed.Config, "toy", fixed=["lr", "lr_final", "width", "levels", "kind"])


def test_a_finished_search_runs_nothing(tmp_path):
    whole = searched(tmp_path, 3)
    assert searched(tmp_path, 3, objective=lambda *_: pytest.fail("ran a trial again")) == whole
    assert len(searched(tmp_path, 4)) == 4  # more trials may be asked for


def test_a_trial_whose_outcome_was_kept_but_not_told_is_not_run_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(study.Study, "_tell", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            searched(tmp_path, 1)
    (kept,) = searched(tmp_path, 1, objective=lambda *_: pytest.fail("ran a trial again"))
    assert kept.status in ("finished", "diverged")


def test_tpe_learns_from_what_finished_and_from_what_did_not(tmp_path):
    found = searched(tmp_path, 34)
    early, late = found[:10], found[24:]
    assert sum(one.status == "diverged" for one in early) >= 4
    assert sum(one.status == "diverged" for one in late) <= 2
    assert sum(one.settings["kind"] == "residual" for one in late) >= 7
    winner = found[table.best(found)]
    assert winner.score == min(one.score for one in found if one.score is not None)


def test_another_search_in_the_folder_is_refused(tmp_path):
    searched(tmp_path, 1)
    with pytest.raises(UserError, match=r"another configuration \(seconds is 1.0 there and 2.0 here\)"):
        searched(tmp_path, 1, settings={**SETTINGS, "seconds": 2.0})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / study.FILE).write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"cannot be used .* choose another --out"):
        searched(tmp_path / "damaged", 1)


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"^tuning needs Optuna, which is not installed: pip install 'optuna>=4'$"):
        study.optuna()


# The table


def test_the_table_has_a_row_for_each_trial(tmp_path):
    outcomes = [
        Outcome({"lr": 1e-5, "levels": [0.5]}, 3, "finished", "", 0.25, 1.5, 7),
        Outcome({"lr": 0.5, "levels": [2.0]}, 4, "diverged", "it, too", None, 0.5, 2),
        Outcome({"lr": 0.1, "levels": [1.0]}, 3, "finished", "", 0.125, 1.0, 8),
    ]
    table.write(tmp_path, outcomes)
    rows = list(csv.DictReader((tmp_path / table.FILE).open()))
    assert [row["score"] for row in rows] == ["0.25", "", "0.125"]
    assert rows[1] | {"status": "diverged", "message": "it, too", "seed": "4", "updates": "2"} == rows[1]
    assert [row["levels"] for row in rows] == ["[0.5]", "[2.0]", "[1.0]"]
    assert table.best(outcomes) == 2
    assert table.best(outcomes[1:2]) is None


def test_the_best_options_are_read_as_the_settings_that_were_tried():
    settings = {"lr": 1e-05, "levels": (0.5,), "kind": "plain", "on": True}
    given = table.options("toy", Outcome(settings, 0, "finished", updates=9, score=0.0), 64)
    assert given.startswith("--set data.validation=64 toy.updates=9 ")
    read = parse_overrides(shlex.split(given)[1:], ["data", "toy"])
    assert read == {"data": {"validation": 64}, "toy": {"updates": 9, **settings, "levels": [0.5]}}


# The command


def refused(capsys, *arguments):
    assert tune.main(["--model", "vae", "--profile", "smoke", "--quiet", "--threads", "1", *arguments]) == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "99", "100"], "--seeds 100: reported seeds begin at 100, so tuning takes 0 to 99"),
        (["--trials", "0"], "give at least 1"),
        (["--seconds", "nan"], "give more than 0"),
        (["--sampler", "grid"], "choose one of tpe, random"),
        (["--set", "data.validation=0"], "leaves nothing to tune on"),
        (["--set", "data.validation=300"], "give at most 128"),
        (["--model", "published"], "declares nothing to search"),
    ],
)
def test_what_is_refused_is_one_line(tmp_path, capsys, arguments, words):
    pytest.importorskip("optuna")
    assert words in refused(capsys, "--out", str(tmp_path / "out"), *arguments)
    assert not (tmp_path / "out" / study.FILE).exists()


@pytest.mark.parametrize("program", ["tune", "race"])
def test_help_imports_neither_torch_nor_optuna(program):
    code = (
        f"import sys\nfrom bench.{program} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'torch', 'optuna', 'matplotlib'} & sys.modules.keys()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert "--seconds" in run.stdout


def test_the_command_from_start_to_finish(tmp_path, capsys):
    pytest.importorskip("optuna")
    command = ["--model", "vae", "--profile", "smoke", "--quiet", "--threads", "1", "--seconds", "0.05"]
    command += ["--features", "tests.faults.own_extractor:Projection", "--out", str(tmp_path / "out")]
    command += ["--set", "data.validation=64", "evaluation.samples=64"]
    assert tune.main([*command, "--trials", "2"]) == 0
    first = (tmp_path / "out" / table.FILE).read_text()
    assert "--set data.validation=64 vae.updates=" in capsys.readouterr().out
    assert tune.main([*command, "--trials", "3"]) == 0
    assert (tmp_path / "out" / table.FILE).read_text().startswith(first)
    assert "another configuration (seconds" in refused(capsys, *command[2:], "--seconds", "0.06")
