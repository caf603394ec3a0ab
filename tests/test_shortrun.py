"""`shortrun`: every program under one name, without importing what is not asked for."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import shortrun

ROOT = Path(__file__).parent.parent


def python(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | more
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_list_of_commands_needs_the_standard_library_alone():
    code = (
        "import sys\nfrom bench.shortrun import main\n"
        "assert main([]) == 0\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "assert not {'torch', 'numpy', 'pandas', 'bench.compare'} & set(sys.modules)\n"
    )
    run = python("-c", code)
    assert run.returncode == 0, run.stderr
    for name in shortrun.COMMANDS:
        assert run.stdout.count(f"\n  {name} ") == 2


def test_an_unknown_command_is_one_line(capsys):
    assert shortrun.main(["compair"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("shortrun: unknown command 'compair': choose one of compare, ")


@pytest.mark.parametrize("name", shortrun.COMMANDS)
def test_every_command_is_its_own_program(name, capsys):
    module = importlib.import_module(shortrun.COMMANDS[name][0])
    with pytest.raises(SystemExit) as stop:
        shortrun.main([name, "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: python -m bench.{name} ")
    assert module.parser().format_help() == told


def test_an_exit_status_is_passed_on(tmp_path, capsys):
    assert shortrun.main(["report", str(tmp_path / "none")]) == 2
    assert "no results folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [("shortrun co", {"compare"}), ("shortrun status --wa", {"--watch"}), ("shortrun compare --seed", {"--seeds"})],
)
def test_a_shell_completes_commands_and_options(tmp_path, line, expected):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    shell = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9"}
    shell |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answer), "_ARGCOMPLETE_IFS": "\n"}
    python("-c", "import sys\nfrom bench.shortrun import main\nsys.exit(main())", **shell)
    assert {word.strip() for word in answer.read_text().split("\n")} == expected
