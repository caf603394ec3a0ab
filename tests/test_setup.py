"""What the options of every program come to: one `Setup`, whose parts are found once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import compare, evaluate
from bench.config.commandline import DATA_ROOT
from bench.data import DataConfig
from bench.errors import UserError
from bench.evaluation import EvaluationConfig
from bench.paper import __main__ as paper
from bench.scoring.setup import Setup

PROGRAMS = {"compare": (compare, []), "evaluate": (evaluate, ["model.safetensors"]), "paper": (paper, [])}
PIXELS = "tests.faults.own_extractor:Projection"
every_program = pytest.mark.parametrize("program", PROGRAMS)


def setup(program: str, *options: str) -> Setup:
    module, needed = PROGRAMS[program]
    return Setup.of(module.parser().parse_args([*needed, *options]), "the default")


@every_program
def test_what_is_not_said(program, monkeypatch, tmp_path):
    monkeypatch.delenv(DATA_ROOT, raising=False)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    assert setup(program) == Setup("auto", None, "the default", None, tmp_path, Path("data"), True)
    monkeypatch.setenv(DATA_ROOT, "elsewhere")
    assert setup(program).data_root == Path("elsewhere")


@every_program
def test_every_option_is_taken(program):
    said = ["--device", "cpu", "--threads", "3", "--features", "vgg", "--extractor-weights", "w.pth", "--no-cache"]
    expected = Setup("cpu", 3, "vgg", Path("w.pth"), None, Path("there"), False)
    assert setup(program, *said, "--data-root", "there", "--quiet") == expected


def test_what_differs_is_another_setup():
    """The grid shares evaluators between requests by it."""
    one = Setup(device_choice="cpu", extractor_choice=PIXELS)
    assert one.extractor.name == "projection"  # which is no part of it
    again = Setup(device_choice="cpu", extractor_choice=PIXELS)
    assert (again, hash(again)) == (one, hash(one))
    changes = {
        "device_choice": "auto",
        "threads": 1,
        "extractor_choice": "auto",
        "extractor_weights": Path("w.pth"),
        "cache": Path("c"),
        "data_root": Path("d"),
        "progress": False,
    }
    assert len({one, *(replace(one, **{name: value}) for name, value in changes.items())}) == 1 + len(changes)


def test_the_extractor_is_loaded_once_and_only_when_it_is_wanted(monkeypatch):
    calls = []
    monkeypatch.setattr("bench.features.resolve", lambda choice, **how: calls.append((choice, how)) or object())
    one = Setup(device_choice="cpu", extractor_choice="x", extractor_weights=Path("w"))
    one.configure()
    assert not calls
    assert one.extractor is one.extractor
    assert calls == [("x", {"device": torch.device("cpu"), "weights": Path("w")})]


def test_the_process_is_set_up():
    before = torch.get_num_threads()
    try:
        assert Setup(device_choice="cpu", threads=2).configure() == torch.device("cpu")
        assert torch.get_num_threads() == 2
        Setup(device_choice="cpu").configure()
        assert torch.get_num_threads() == 2  # nothing said, nothing changed
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UserError, match="unknown device 'tpu': choose one of auto, cpu, cuda"):
        Setup(device_choice="tpu").configure()


def test_an_evaluator_has_the_setup_s_parts(tmp_path):
    one = Setup(device_choice="cpu", extractor_choice=PIXELS, cache=tmp_path, data_root=tmp_path, progress=False)
    data, evaluation = DataConfig(max_train=100, held_out=16), EvaluationConfig(samples=64)
    made = one.evaluator("digits", data, evaluation)
    assert made.extractor is one.extractor
    assert (made.config, made.cache, made.data_root, made.progress) == (evaluation, tmp_path, tmp_path, False)
    assert (len(made.data.train), len(made.data.held_out), len(made.data.spare)) == (100, 16, 48)
    assert len(one.images("digits", data).spare) == 0
    few = one.evaluator("digits", DataConfig(max_train=100, held_out=90), evaluation)
    assert len(few.data.spare) == 0
    with pytest.raises(UserError, match="celeba"):
        one.images("celeba", data)
