"""Signals: at once, or when a training has saved; the process's own handlers come back."""

from __future__ import annotations

import os
import signal

import pytest

from bench.config.commandline import outcome
from bench.grid.training import TrainingConfig
from bench.machine import signals
from bench.storage.checkpoint import load_checkpoint
from tests.builders import cell_folder, trainer
from tests.test_training import run, weights


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_program_with_its_status(number, status, capsys):
    before = signal.getsignal(number)
    assert outcome("bench.any", lambda: send(number) or 0) == status
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err.startswith(f"bench.any: {signal.Signals(number).name}; the same command continues")


def test_a_deferred_signal_waits_for_the_check_and_a_second_one_does_not():
    reached = []

    def wait(*sent, check=False):
        with signals.deferred() as waiting:
            for number in sent:
                send(number)
                reached.append(waiting.noted)
            if check:
                waiting.check()
                reached.append("beyond the check")

    with signals.handled():
        with pytest.raises(signals.Interrupted) as first:
            wait(signal.SIGTERM, check=True)
        assert (reached, first.value.status) == ([True], 143)
        with pytest.raises(signals.Interrupted):
            wait(signal.SIGTERM, signal.SIGINT)
        assert reached == [True, True]


def test_a_signal_is_not_lost_at_the_end_of_the_block():
    with signals.handled(), pytest.raises(signals.Interrupted), signals.deferred():
        send(signal.SIGINT)


def test_training_finishes_its_update_saves_and_goes_on_later(tmp_path):
    whole = trainer("ebm", updates=6)
    run(whole, tmp_path / "whole")
    stopped = trainer("ebm", updates=6)
    step, done = stopped.step, []

    def interrupted_step(batch, generator):
        if len(done) == 3:
            send(signal.SIGTERM)  # in the midst of the fourth update
        done.append(1)
        return step(batch, generator)

    stopped.step = interrupted_step
    config = TrainingConfig(grids=0)
    with signals.handled(), pytest.raises(signals.Interrupted):
        run(stopped, tmp_path / "cut", config=config)
    assert len(done) == 4
    assert cell_folder(tmp_path / "cut").checkpoint_path.exists()
    resumed = trainer("ebm", updates=6)
    run(resumed, tmp_path / "cut", config=config)
    assert (weights(resumed) == weights(whole)).all()


def test_a_signal_between_looking_and_leaving_is_saved_too(tmp_path, monkeypatch):
    """It comes just after the training has looked for one: the next update is finished and saved as well."""
    looks = []

    def noted(self):
        looks.append(signals._State.noted is not None)
        if len(looks) == 3:
            send(signal.SIGTERM)
        return looks[-1]

    monkeypatch.setattr(signals.Deferred, "noted", property(noted))
    config = TrainingConfig(grids=0)
    with signals.handled(), pytest.raises(signals.Interrupted):
        run(trainer("ebm", updates=6), tmp_path, config=config)
    assert load_checkpoint(cell_folder(tmp_path).checkpoint_path)[1]["done"] == 4
