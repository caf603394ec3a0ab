"""The scripts of docs/slurm.md: bash takes them, and with stand-ins for SLURM's commands they do what the page says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.builders import cell_folder

pytestmark = pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="no bash")
PAGE = Path(__file__).parent.parent / "docs" / "slurm.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
ARRAY, CHECK, CLUSTER = BLOCKS
STAND_INS = {
    "scontrol": 'printf "one\\ntwo\\n"',
    "srun": 'echo "srun $*" >> "$LOG"; case "$*" in *hostname*) echo "10.0.0.7 fe80::1";; esac',
    # counts nodes, of which the second comes late; or is the program, which ends as SIGTERM has it
    "python": """if [ "$1" = -c ]; then
    echo x >> "$LOG.asked"
    [ "$(wc -l < "$LOG.asked")" -gt 1 ] && echo 2 || echo 1
    exit
fi
echo "python $*" >> "$LOG"
trap 'sleep 0.3; echo saved >> "$LOG"; exit 143' TERM
[ -n "${ENDS:-}" ] && exit "$ENDS"
while true; do sleep 0.1; done""",
}


def started(script: str, folder: Path, **more: str) -> tuple[subprocess.Popen, Path]:
    """A run of the script with the stand-ins, and their log."""
    commands = folder / "bin"
    commands.mkdir()
    for name, text in STAND_INS.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod((commands / name).stat().st_mode | stat.S_IXUSR)
    (folder / "script.sh").write_text(script)
    own = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "LOG": str(folder / "log"),
        "PAUSE": "0.05",
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_ID": "123456",
    }
    return subprocess.Popen(["bash", str(folder / "script.sh")], env=own | more), folder / "log"


@pytest.mark.parametrize("script", BLOCKS, ids=["array", "check", "cluster"])
def test_bash_takes_every_block(script):
    run = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_task_of_an_array_has_its_seed_and_threads(tmp_path):
    process, log = started(ARRAY, tmp_path, ENDS="1")
    assert process.wait(20) == 1  # a run that ends badly is a task that ends badly
    (line,) = log.read_text().splitlines()
    assert line.startswith("python -m bench.compare ")
    assert "--threads 8 --seeds 2 --out results/paper" in line


def test_a_cluster_has_a_ray_node_for_each_node_before_the_program_starts(tmp_path):
    process, log = started(CLUSTER, tmp_path, ENDS="0")
    assert process.wait(20) == 0
    lines = log.read_text().splitlines()
    heads = [line for line in lines if "ray start --head" in line]
    others = [line for line in lines if "ray start --address" in line]
    assert len(heads) == len(others) == 1
    assert "--nodelist=one " in heads[0]
    assert "--node-ip-address 10.0.0.7 --port 23456 --num-cpus 8 --num-gpus 0 --block" in heads[0]
    assert "--nodelist=two " in others[0]
    assert "--address 10.0.0.7:23456 " in others[0]
    assert "--engine ray --address 10.0.0.7:23456 " in lines[-1]
    assert Path(f"{log}.asked").read_text().count("x") == 2  # one node was not there at first


@pytest.mark.parametrize("script", [ARRAY, CLUSTER], ids=["array", "cluster"])
def test_the_signal_before_the_end_reaches_the_program_which_saves(script, tmp_path):
    process, log = started(script, tmp_path)
    end = time.monotonic() + 20
    while not (log.exists() and "python -m" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)  # the shell waits by then
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    assert log.read_text().splitlines()[-1] == "saved"


@pytest.mark.skipif(shutil.which("flock") is None, reason="no flock")
def test_the_locks_are_those_that_the_page_checks(tmp_path):
    assert "flock --nonblock" in CHECK
    cell = cell_folder(tmp_path)

    def refused() -> bool:
        (lock,) = (tmp_path / ".locks").rglob("*.lock")
        return subprocess.run(["flock", "--nonblock", str(lock), "true"]).returncode != 0

    with cell.held() as own:
        assert own
        assert refused()
    assert not refused()
