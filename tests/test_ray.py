"""Cells on a Ray cluster, `--engine ray`: the same results as in this process; bad input gets one line."""

from __future__ import annotations

import sys

import pytest
import torch

from bench import compare
from bench.engines import connection, mailbox
from bench.errors import UserError
from bench.machine import runtime
from bench.results.cell_folder import read_all
from bench.sampling import blocks
from tests.faults.processes import PROJECTION, finish, finished
from tests.faults.results import assert_nothing_left_over, assert_same_results
from tests.ray_cluster import three_nodes
from tests.sharing import drawn, drawn_on_ray, trained

SMOKE = ["--profile", "smoke", "--quiet", "--device", "cpu"]
GRID = [*SMOKE, *PROJECTION, "--models", "ebm", "vae"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    with three_nodes() as nodes:
        yield nodes


def test_the_results_are_those_of_this_process(cluster, tmp_path, tmp_path_factory):
    whole = finished([*GRID, "--threads", "1"], tmp_path_factory.mktemp("whole"))
    out, log = tmp_path / "out", tmp_path / "log"
    status, said = finish([*GRID, "--engine", "ray", "--address", cluster.address, "--out", out], log)
    assert status == 0, said
    assert said.count(": finished after") == 2
    assert [record.data["environment"]["threads"] for record in read_all(out)] == [1, 1]
    assert_same_results(whole, out)
    assert_nothing_left_over(out)
    asked = ["--engine", "ray", "--address", cluster.address, "--out", tmp_path / "none", "--cpus-per-cell", "3"]
    status, said = finish([*GRID, *asked], log)
    assert status == 2
    assert "a cell needs 3 CPUs and 0 GPUs, and no node has that (nodes have 0 CPUs and 0 GPUs, 1 CPUs" in said


def test_samples_drawn_with_the_help_of_another_node_are_the_same(cluster):
    import ray

    with connection.connected(cluster.address):
        samples, helped = ray.get(ray.remote(num_cpus=1)(drawn_on_ray).remote("ebm", 2))
    assert helped == 5
    assert torch.equal(torch.tensor(samples), drawn(blocks.here, trained("ebm")[0]))


def test_a_node_with_other_packages_is_named(monkeypatch):
    ray = pytest.importorskip("ray")
    own = mailbox.probe(["torch"])
    there = own | {"torch": "1.0"}
    monkeypatch.setattr(ray, "remote", lambda **_: lambda _: Answer())
    nodes = [{"NodeManagerAddress": "10.0.0.7", "NodeID": "ab" * 28}]
    for found, words in (
        (there, f"node 10.0.0.7 (ababab) has other packages (torch 1.0 there and {own['torch']} here"),
        (own | {mailbox.HINDRANCE: "cannot write temporary files (full)"}, "cannot write temporary files (full): free"),
    ):
        monkeypatch.setattr(ray, "get", lambda _, timeout, found=found: mailbox.probe(runtime.PACKAGES) | found)
        with pytest.raises(UserError) as error:
            connection.refuse_differing(nodes)
        assert words in str(error.value)


class Answer:
    """A task that is asked and never runs."""

    def options(self, **_):
        return self

    def remote(self, *_):
        return self


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--address", "auto"], ["--address auto", "--engine ray"]),
        (["--cpus-per-cell", "2"], ["--cpus-per-cell 2", "--engine ray"]),
        (["--engine", "ray", "--jobs", "2"], ["--jobs", "--cpus-per-cell"]),
        (["--engine", "ray", "--threads", "1"], ["--threads", "--cpus-per-cell"]),
        (["--engine", "ray", "--track", "tensorboard"], ["--track", "--engine ray"]),
        (["--engine", "ray", "--cpus-per-cell", "0"], ["--cpus-per-cell 0", "at least 1"]),
        (["--engine", "ray", "--gpus-per-cell", "-1"], ["--gpus-per-cell -1"]),
        (["--engine", "ray", "--gpus-per-cell", "1.5"], ["--gpus-per-cell 1.5"]),
        (["--engine", "ray", "--gpus-per-cell", "inf"], ["--gpus-per-cell inf"]),
    ],
)
def test_bad_input_gets_one_line(arguments, words, tmp_path, capsys):
    assert compare.main([*SMOKE, *arguments, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench.compare: ")
    assert all(word in line for word in words), line
    assert not (tmp_path / "out").exists()


def test_without_ray_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert compare.main([*SMOKE, "--engine", "ray", "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'short-run-ebm-benchmark[ray]'" in line


@pytest.mark.parametrize("address", ["nowhere", "host:", "host:0", "host:99999", "ray://host:10001", "a\nb:1"])
def test_an_address_that_is_none(address):
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="give HOST:PORT") as error, connection.connected(address):
        pass
    assert "\n" not in str(error.value)


def test_an_address_that_nobody_answers_at(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(connection, "PATIENCE", 0.0)
    with pytest.raises(UserError, match="nobody answers"), connection.connected("127.0.0.1:9"):
        pass
