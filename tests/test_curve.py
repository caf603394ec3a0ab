"""Scores on the way of a training: when, of which weights, and that they change nothing but what is reported."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.config import registry
from bench.contract.images import to_uint8
from bench.data import DataConfig, ImageData
from bench.errors import UserError
from bench.evaluation import EvaluationConfig, Evaluator, Yardstick
from bench.grid import curve, outcome
from bench.grid.cell import Cell
from bench.grid.request import plan
from bench.grid.run import run_cell
from bench.grid.training import TrainingConfig, TrainingResult, train
from bench.report.content.captions import caption
from bench.report.content.sections import split
from bench.storage.checkpoint import load_checkpoint
from bench.tracking import Trackers
from tests import timed
from tests.builders import cell_folder, images, smoke_request, stop_at, trainer
from tests.evaluation_builders import Pixels, bytes_of
from tests.test_training import StopError, run, weights

SHARES = (0.25, 0.5, 1.0)
CPU = torch.device("cpu")
KID = EvaluationConfig(metrics=("KID",), lead="KID", samples=64)


def watched(**settings):
    return TrainingConfig(log_every=1, **({"grids": 0, "curve": SHARES, "curve_samples": 64} | settings))


# When


@pytest.mark.parametrize(
    ("shares", "planned", "updates"),
    [((), 8, set()), (SHARES, 8, {2, 4, 8}), ((0.1, 1.0), 1000, {100, 1000}), ((0.001, 0.1), 4, {1})],
)
def test_shares_are_of_the_planned_updates(shares, planned, updates):
    assert TrainingConfig(curve=shares).curve_updates(planned) == updates


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curve": (0.0,)}, "curve=.* above 0 and at most 1"),
        ({"curve": (1.5,)}, "curve=.* above 0 and at most 1"),
        ({"curve": (0.5, 0.5)}, "that differ"),
        ({"curve_samples": 10}, "curve_samples=10 .* at least 64"),
        ({"checkpoint": "first", "curve": (1.0,)}, "checkpoint='first' .* last or best"),
        ({"checkpoint": "best"}, r"curve=\(\) .* shares to choose the best from"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**settings)


# Of which weights: `timed` counts its updates in its only weight


def test_the_best_of_known_scores_is_kept_and_the_first_of_equals(tmp_path):
    known = {2: 3.0, 4: 1.0, 6: 1.0, 8: 2.0}
    config = watched(curve=(0.25, 0.5, 0.75, 1.0), checkpoint="best")
    toy = timed.Trainer(timed.Config(updates=8), (1, 8, 8), generator=None, device=CPU)
    result = train(
        toy, bytes_of(4, 0), seed=0, folder=cell_folder(tmp_path), config=config, score=known.get, progress=False
    )
    assert {point.updates: point.score for point in result.points} == known
    assert (result.chosen.updates, result.chosen.score, result.updates) == (4, 1.0, 8)
    assert toy.model.scale.item() == 4


@pytest.mark.parametrize("stopped", [1, 3, 5, 7])
def test_a_continued_run_has_the_same_points_and_the_same_best(tmp_path, stopped):
    known = {2: 1.0, 4: 3.0, 8: 2.0}
    options = {"config": watched(checkpoint="best", checkpoint_minutes=1e-9), "score": known.get}

    def toy():
        return timed.Trainer(timed.Config(updates=8), (1, 8, 8), generator=None, device=CPU)

    with pytest.raises(StopError):
        run(stop_at(toy(), stopped, StopError), tmp_path, data=bytes_of(4, 0), **options)
    again = toy()
    result = run(again, tmp_path, data=bytes_of(4, 0), **options)
    assert [(point.updates, point.score) for point in result.points] == list(known.items())
    assert result.chosen.updates == 2
    assert again.model.scale.item() == 2
    later = toy()  # stopped once more, in the evaluation
    assert run(later, tmp_path, data=bytes_of(4, 0), **options) == result
    assert later.model.scale.item() == 2


def test_a_checkpoint_of_another_curve_is_refused(tmp_path):
    with pytest.raises(StopError):
        run(
            stop_at(trainer("vae", updates=8), 5, StopError),
            tmp_path,
            config=watched(checkpoint_minutes=1e-9),
            score=lambda _: 1.0,
        )
    for options in ({}, {"config": watched(), "score": lambda _: 1.0, "score_of": "another score"}):
        with pytest.raises(UserError, match="left by a run with other settings"):
            run(trainer("vae", updates=8), tmp_path, **options)


def test_a_score_that_is_not_finite_ends_the_run(tmp_path):
    result = run(trainer("vae", updates=4), tmp_path, config=watched(), score=lambda _: float("nan"))
    assert (result.status, result.message) == (
        "diverged",
        "the score became nan, in the samples of the curve at update 1",
    )


# Scored by the real yardstick


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_scores_leave_no_trace_in_the_weights_and_survive_a_stop(name, tmp_path):
    real, data = to_uint8(images(70, seed=1)), to_uint8(images(20))
    yardstick = Yardstick(real, Pixels(), KID, what="train", key="")

    def scored(t, out, **settings):
        def score(update):
            return yardstick.score(t.model, update).value

        return run(t, tmp_path / out, data=data, config=watched(checkpoint_minutes=1e-9, **settings), score=score)

    plain, whole, broken, again = (trainer(name, updates=4, batch_size=4) for _ in range(4))
    run(plain, tmp_path / "plain", data=data)
    expected = scored(whole, "whole")
    assert torch.equal(weights(whole), weights(plain))
    assert all(torch.equal(one, two) for one, two in zip(whole.model.buffers(), plain.model.buffers(), strict=True))
    with pytest.raises(StopError):
        scored(stop_at(broken, 3, StopError), "cut")
    found = scored(again, "cut")
    assert [(one.updates, one.score) for one in found.points] == [(one.updates, one.score) for one in expected.points]
    assert torch.equal(weights(again), weights(plain))


def cell(tmp_path, validation=0, checkpoint="last"):
    settings = (DataConfig(validation=validation), watched(checkpoint=checkpoint), SMALL, (0,))
    config = registry.factory("vae").Config(updates=8, batch_size=8, width=4, latent=4)
    factory = registry.factory("vae")
    return Cell("digits", "digits", "vae", "vae", factory, 0, *settings, config, tmp_path)


SMALL = dataclasses.replace(
    KID, reconstructions=4, budget=2, inpaintings=0, dimensions=(), paths=2, points=3, midpoints=8, ood=("noise",)
)


def evaluator(validation=0):
    train, held_out, apart = to_uint8(images(90)), to_uint8(images(12, seed=2)), to_uint8(images(70, seed=3))
    apart = apart[:validation]
    data = ImageData("digits", train, held_out, 0, "00" * 32, (), **({"validation": apart} if validation else {}))
    return Evaluator(data, Pixels(), SMALL, progress=False)


def test_the_best_weights_are_evaluated_kept_and_named(tmp_path):
    one, scores = cell(tmp_path, 70, "best"), evaluator(70)
    assert scores.yardstick(64).against == "70 validation images"
    assert evaluator().yardstick(64).against == "90 training images"
    found = run_cell(one, scores, Trackers((), one.folder, {}), device=CPU, title="", progress=False)
    record = outcome.record_of(one, scores, found, device=CPU, profile="mine", command="")
    outcome.write(one, found, record)
    chosen = record["training"]["checkpoint"]
    points = found.training.points
    assert chosen["score"] == min(point.score for point in points)
    assert chosen["update"] == next(point.updates for point in points if point.score == chosen["score"])
    kept, _ = load_checkpoint(one.folder.weights_path)
    model = one.new_trainer((1, 8, 8), CPU).model
    model.load_state_dict(kept)
    assert curve.scorer(one, scores, model)(chosen["update"]) == chosen["score"]  # these are those weights
    read = one.folder.read_record()
    assert [curve["x"] for curve in read.data["curves"] if curve["name"] == "KID by updates"] == [[2.0, 4.0, 8.0]]
    seconds = next(curve for curve in read.data["curves"] if curve["name"] == "KID by training seconds")
    assert seconds["x"] == sorted(seconds["x"])
    (section,) = split([read])
    told = " ".join(caption(section))
    assert "by the rule best" in told
    assert f"update {chosen['update']}" in told
    assert "70 validation images" in told


def test_a_cell_without_a_curve_is_recorded_as_before_there_was_any(tmp_path):
    one = dataclasses.replace(cell(tmp_path), training=TrainingConfig(grids=0))
    assert set(one.settings("x")) == {"data", "model", "evaluation"}
    result = TrainingResult(8, 1.0, {})
    assert curve.chosen(one, evaluator(), result) == {}
    assert curve.curves(one, evaluator(), result) == []


def test_the_best_by_no_validation_images_is_refused_before_anything_is_trained(tmp_path):
    request = smoke_request(tmp_path, training={"curve": [1.0], "checkpoint": "best"})
    with pytest.raises(UserError, match=r"training\.checkpoint='best' .* data\.validation is 0"):
        plan(request)
    with_split = dataclasses.replace(request, overrides={**request.overrides, "data": {"validation": 64}})
    assert plan(with_split)[0].settings("x")["training"]["checkpoint"] == "best"


def test_too_few_images_for_the_score_are_refused_early():
    yardstick = Yardstick(
        bytes_of(8, 0), Pixels(), dataclasses.replace(KID, metrics=("FD",), lead="FD"), what="train", key=""
    )
    with pytest.raises(UserError, match="at least 64 images"):
        yardstick.check()
