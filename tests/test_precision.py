"""The precision of training: the same setting for every model, close to float32 and not float32, and in the record."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.config.registry import MODELS
from bench.contract.images import from_uint8, to_uint8
from bench.contract.precision import full_precision, lowered
from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.grid.request import plan
from bench.grid.run_state import RunState
from bench.grid.training import TrainingConfig, one_update
from bench.racing import race
from bench.racing.lanes import Lane
from bench.racing.turns import Rules
from bench.report.content.captions import caption
from bench.results.record import first_difference
from bench.tuning import trial
from ebm.langevin import ChainSettings, langevin
from ebm.learning import Contrast
from tests import timed
from tests.builders import energy_net, images, smoke_request, stop_at, trainer
from tests.evaluation_builders import bytes_of
from tests.fabricate import record, section_of, sections_of
from tests.pretend_cuda import CUDA, pretended
from tests.test_training import StopError, run, weights
from tests.test_tuning import cells as toys

CPU = torch.device("cpu")
every_model = pytest.mark.parametrize("name", sorted(MODELS))
BF16 = TrainingConfig(log_every=1, grids=2, precision="bf16")


def trained(name, precision, updates=3):
    """Trainer and the scalars of its last update."""
    t, state = trainer(name, updates=updates), RunState(0, 0.0, [], {})
    batch = to_uint8(images(8))
    for _ in range(updates):
        scalars = one_update(t, lambda _: batch, state, 0, lambda: 0.0, precision)
    return t, scalars


# The arithmetic


@every_model
def test_bf16_is_close_to_float32_but_not_equal(name):
    (low, said), (full, expected) = trained(name, "bf16"), trained(name, "float32")
    assert not torch.equal(weights(low), weights(full))
    rate = low.config.lr[0] if isinstance(low.config.lr, tuple) else low.config.lr
    assert (weights(low) - weights(full)).abs().max() <= 2 * 3 * rate  # Adam moves a weight by about its rate
    moved = weights(full) - weights(trainer(name))
    assert torch.nn.functional.cosine_similarity(weights(low) - weights(trainer(name)), moved, dim=0) > 0.7
    assert said.keys() == expected.keys()
    assert all(p.dtype == torch.float32 for net in low.networks for p in net.parameters())
    assert all(state.dtype == torch.float32 for state in _tensors(low.state_dict()) if state.is_floating_point())
    assert not torch.is_autocast_enabled("cpu")


def _tensors(node):
    if isinstance(node, torch.Tensor):
        return [node]
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


@every_model
def test_float32_and_tf32_are_the_plain_update_on_a_cpu(name):
    plain = trainer(name, updates=3)
    for update in range(3):
        plain.step(from_uint8(to_uint8(images(8))), seeded(0, "update", update))
    for precision in ("float32", "tf32"):
        assert torch.equal(weights(trained(name, precision)[0]), weights(plain))


def test_losses_are_float32(monkeypatch):
    """What every loss is the gradient of, and what is logged."""
    seen = []
    backward = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss, *given: (seen.append(loss.dtype), backward(loss))[1])
    for name in sorted(MODELS):
        trained(name, "bf16", updates=1)
    assert len(seen) > len(MODELS)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_chain_keeps_its_own_precision(precision):
    net, x, settings = energy_net("plain", 1, 8), images(4), ChainSettings(4, 1.0, 0.0, precision)
    alone = langevin(net, x, settings)
    with lowered("bf16", CPU):
        assert torch.equal(langevin(net, x, settings), alone)
        t, plain = trainer("published").model, trainer("published").model
        within = t.decode(x)
    assert torch.equal(within, plain.decode(x))


def test_energies_are_compared_in_float32():
    net, x = energy_net("plain", 1, 8), images(8)
    with lowered("bf16", CPU):
        log = Contrast(net, x[:4], x[4:])
        features = net.features(x.contiguous(memory_format=torch.channels_last))
    assert features.dtype == torch.bfloat16  # or this test would show nothing
    energies = torch.cat(log._energies)
    assert energies.dtype == torch.float32
    torch.testing.assert_close(energies, net.of_features(features.float()), rtol=0, atol=0)


def test_full_precision_undoes_what_is_around_it():
    a, b = images(2)[:, 0]
    with lowered("bf16", CPU):
        assert (a @ b).dtype == torch.bfloat16
        with full_precision(CPU):
            assert (a @ b).dtype == torch.float32
        assert (a @ b).dtype == torch.bfloat16


def test_tf32_is_put_back():
    kinds = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before = [kind.fp32_precision for kind in kinds]
    seen = []

    def look():
        with lowered("tf32", CUDA):
            seen.extend(kind.fp32_precision for kind in kinds)
            with full_precision(CUDA):
                seen.extend(kind.fp32_precision for kind in kinds)
            seen.extend(kind.fp32_precision for kind in kinds)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        look()
    assert seen == ["tf32", "tf32", "ieee", "ieee", "tf32", "tf32"]
    assert [kind.fp32_precision for kind in kinds] == before


# Runs


@every_model
def test_a_run_in_bf16_is_continued_exactly(name, tmp_path):
    whole = trainer(name, updates=4)
    run(whole, tmp_path / "whole", config=BF16)
    with pytest.raises(StopError):
        run(stop_at(trainer(name, updates=4), 3, StopError), tmp_path / "cut", config=BF16, save_grid=lambda _: None)
    with pytest.raises(UserError, match="left by a run with other settings"):
        run(trainer(name, updates=4), tmp_path / "cut")
    again = trainer(name, updates=4)
    run(again, tmp_path / "cut", config=BF16)
    assert torch.equal(weights(again), weights(whole))


def cells(tmp_path, **training):
    request = smoke_request(tmp_path, training=training)
    return request, plan(request)


def test_float32_is_recorded_as_before_there_was_a_choice(tmp_path):
    (full,), (low,) = (cells(tmp_path, precision=one)[1] for one in ("float32", "bf16"))
    assert set(full.settings("x")) == {"data", "model", "evaluation"}
    assert low.settings("x")["training"] == {"precision": "bf16"}
    told = first_difference(full.settings("x"), low.settings("x"))
    assert "training" in told
    (curve,) = cells(tmp_path, curve=[1.0], precision="bf16")[1]
    assert curve.settings("x")["training"].keys() == {"curve", "curve_samples", "checkpoint", "precision"}


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"training.*precision='fp16' .* one of float32, tf32, bf16"):
        cells(tmp_path, precision="fp16")


def test_what_a_gpu_has_not_is_refused_in_one_line(tmp_path):
    (cell,) = cells(tmp_path, precision="bf16")[1]
    cell.check_device(CPU)
    with pretended() as device:
        cell.check_device(CUDA)
        device.capability = (7, 5)
        with pytest.raises(
            UserError, match=r"training\.precision='bf16' .* compute capability 7\.5: .* float32"
        ) as told:
            cell.new_trainer((1, 8, 8), CUDA)
        assert "\n" not in str(told.value)
        dataclasses.replace(cell, training=TrainingConfig(precision="tf32")).check_device(CUDA)


def test_races_trials_and_their_timing_have_the_cell_s_precision(tmp_path, monkeypatch):
    seen, step = [], timed.Trainer.step

    def noting(*given):
        seen.append(torch.is_autocast_enabled("cpu"))
        return step(*given)

    monkeypatch.setattr(timed.Trainer, "step", noting)
    data = bytes_of(4, 0)
    track = race.Track(data, CPU, Rules(seconds=10.0), lambda _: 1.0, {}, "", timed.Clock())
    for precision in ("bf16", "float32"):
        (one,) = toys(tmp_path / precision, 0)
        one = dataclasses.replace(one, training=TrainingConfig(precision=precision))
        assert trial.run(one, {}, data, timed.Yardstick(), CPU, seconds=8.0, clock=timed.Clock()).updates > 0
        assert race.Runner(one, Lane("toy", 0, 5), track).turn(2.0)
        assert len(seen) > 10
        assert set(seen) == {precision == "bf16"}
        seen.clear()


# What a reader is told


def test_the_caption_says_it_where_it_is_not_float32():
    plain, low, asked = (record("digits", model, 0) for model in ("ebm", "vae", "dcgan"))
    low["config"]["training"], asked["config"]["training"] = {"precision": "bf16"}, {"precision": "tf32"}
    told = " ".join(caption(section_of(plain, low, asked)))
    assert "are in tf32, which is float32 on this device (dcgan); bf16 (vae); weights, losses and scores in" in told
    assert "Convolutions and matrix products" not in " ".join(caption(section_of(plain)))


def test_two_precisions_of_a_model_are_two_rows_of_one_table():
    full, low = record("digits", "vae", 0), record("digits", "vae", 0)
    low["config"]["training"] = {"precision": "bf16"}
    (section,) = sections_of(full, low)
    assert [row.label for row in section.rows] == [
        "vae (training.precision=float32)",
        "vae (training.precision=bf16)",
    ]
