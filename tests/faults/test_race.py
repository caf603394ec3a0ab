"""A race in several processes: the same trainings as in one, and a process that is killed."""

from __future__ import annotations

import pytest

from bench import race as command
from bench.racing import race
from bench.racing.lanes import Race

EXTRACTOR = "tests.faults.own_extractor:Projection"


@pytest.fixture
def smoke(tmp_path):
    """Run the command, two seeds of three models of the smoke profile, into the folder of that name."""

    def go(name, *arguments):
        given = ["--profile", "smoke", "--quiet", "--models", "vae", "ebm", "dcgan", "--out", str(tmp_path / name)]
        more = ["--features", EXTRACTOR, "--seeds", "0", "1", "--seconds", "1", "--slice", "0.4", "--points", "3"]
        return command.main([*given, *more, *arguments]), tmp_path / name

    return go


def test_side_by_side_every_contestant_trains_as_in_one_process(smoke):
    status, two = smoke("two", "--jobs", "2")
    assert status == 0
    found = Race.read(two)
    every = {(name, seed) for name in ("vae", "ebm", "dcgan") for seed in (0, 1)}
    assert {(lane.contestant, lane.seed) for lane in found.lanes} == every
    assert all(lane.status == "finished" and lane.updates == lane.planned for lane in found.lanes)
    one = two.with_name("one")
    one.mkdir()
    machine = {**found.settings["machine"], "jobs": 1}
    race.Race(**{**vars(found), "lanes": [], "settings": {**found.settings, "machine": machine}}).write(one)
    assert smoke("one")[0] == 0
    weights = sorted(path.relative_to(two) for path in two.glob("cells/*/*/*/model.safetensors"))
    assert len(weights) == 6
    for path in weights:
        assert (two / path).read_bytes() == (one / path).read_bytes()
    assert smoke("two")[0] == 2  # another race: its seconds are of processes side by side


def test_a_process_that_is_killed_ends_the_race_and_the_same_command_continues_it(smoke, capsys):
    start = race.Worker.__init__

    def doomed(self, slot, *given):
        start(self, slot, *given)
        if slot == 1:
            self.process.kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race.Worker, "__init__", doomed)
        assert smoke("race", "--jobs", "2")[0] == 2
    assert "a process of the race was ended by SIGKILL: the same command continues it" in capsys.readouterr().err
    status, out = smoke("race", "--jobs", "2")
    assert status == 0
    assert all(lane.status == "finished" and lane.updates == lane.planned for lane in Race.read(out).lanes)
