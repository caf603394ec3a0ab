"""What a user's surroundings hand to the programs: terminals, pipes, environments, seeds, threads, encodings, names."""

from __future__ import annotations

import codecs
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import evaluate
from bench.config import toml
from bench.config.commandline import check_outside, check_seeds, check_threads
from bench.config.settings import LARGEST_NUMBER, load_profile
from bench.errors import UserError
from bench.paper import plan
from bench.report.plots import style
from tests.commands import refused
from tests.fabricate import cell, comparison, record

ROOT = Path(__file__).parent.parent
REFUSAL = [str(2**63), "1" + "0" * 299]
NOTEBOOK = {"MPLBACKEND": "module://no_such_notebook.backend_inline"}


def started(*arguments: object, **environment: str) -> subprocess.Popen:
    """A program of the suite, its output in pipes."""
    command = [sys.executable, "-m", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return comparison(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, (150, 16, 16), dtype=np.uint8)
    for i, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return folder


def scoring(images: Path) -> list[str]:
    return [
        str(images),
        "--dataset",
        f"folder:{images}",
        "--features",
        "efficientnet-lite0@64",
        "--quiet",
        "--threads=1",
        "--device=cpu",
    ]


# Terminals and pipes


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "latin-1", "posix"],
)
def test_scores_are_printed_to_any_terminal_and_written(images, tmp_path, environment):
    out, err = (process := started("bench.evaluate", *scoring(images), "--out", tmp_path, **environment)).communicate()
    assert process.returncode == 0, err
    assert b"KID(efficientnet-lite0, 64 px) ?" in out  # an arrow elsewhere
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["metrics"]


def test_a_listing_with_letters_that_the_terminal_lacks():
    arguments = ["bench.compare", "--list", "--data-root", "donn\u00e9es/\u732b"]
    out, err = (process := started(*arguments, PYTHONIOENCODING="ascii")).communicate()
    assert process.returncode == 0, err
    assert b"donn?es/?" in out


def test_scores_are_written_though_nobody_reads_the_table(images, tmp_path):
    process = started("bench.evaluate", *scoring(images), "--out", tmp_path)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() == 0, err
    assert b"Traceback" not in err
    assert b"BrokenPipe" not in err
    assert (tmp_path / "scores.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "statuses"),
    [
        (["bench.compare", "--list"], [141]),
        (["bench.status"], [141]),
        (["bench.compare", "--help"], [0, 141]),  # argparse itself passes over an output that is closed
        (["bench.paper", "--help"], [0, 141]),
    ],
)
def test_a_reader_that_goes_ends_a_program_quietly(results, arguments, statuses):
    process = started(*arguments, *([results] if arguments == ["bench.status"] else []))
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in statuses


def test_a_report_is_whole_though_nobody_reads_its_list(results, tmp_path):
    root = shutil.copytree(results, tmp_path / "copy")
    process = started("bench.report", root)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    assert (root / "index.html").is_file()


# Plots


def test_plots_do_not_depend_on_the_users_backend(results, tmp_path):
    root = shutil.copytree(results, tmp_path / "copy")
    process = started("bench.report", root, **NOTEBOOK)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert b"index.html" in out
    assert list(root.glob("plots/*/scores.png"))


@pytest.mark.parametrize("module", ["bench.paper.figures", "bench.report.plots.draw"])
def test_whatever_draws_can_be_imported_in_a_notebook(module):
    code = f"import os, {module}; assert os.environ['MPLBACKEND'] == {NOTEBOOK['MPLBACKEND']!r}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, **NOTEBOOK})


def test_a_backend_that_is_known_stays_the_users_choice():
    code = "import bench.report.plots, matplotlib; assert matplotlib.rcParams['backend'].lower() == 'svg'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={**os.environ, "MPLBACKEND": "svg"})


@pytest.mark.parametrize("name", ["猫の写真", "한국어", "🦄 faces", "\U00020000"])
def test_letters_that_the_font_lacks_become_their_code_points(tmp_path, name):
    with warnings.catch_warnings(), style.style():
        warnings.simplefilter("error", UserWarning)
        style.message(tmp_path / "a.png", name, f"no run finished: {name}")
    shown = style.literal(name)
    assert shown.isascii()
    assert f"U+{ord(name[0]):04X}" in shown


def test_letters_that_the_font_has_are_left_alone():
    assert style.literal("Fréchet ↓ σ = 0.03\nйод – 5 $") == "Fréchet ↓ σ = 0.03\nйод – 5 \\$"
    assert style.literal("cats-猫写真-1") == "cats-[U+732B U+5199 U+771F]-1"


def test_the_report_of_a_folder_with_a_chinese_name(tmp_path):
    from bench import report

    cell(tmp_path, record("猫の写真", "vae", 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        report.build(tmp_path)
    assert "猫の写真" in (tmp_path / "index.html").read_text(encoding="utf-8")


# Seeds and threads


@pytest.mark.parametrize("seed", REFUSAL)
@pytest.mark.parametrize("option", ["--seeds", "--evaluation-seeds"])
def test_a_seed_that_no_record_holds_is_refused_at_the_start(option, seed, capsys, tmp_path):
    refused([option, "0", seed, "--out", str(tmp_path / "out")], capsys, option, "too large", str(2**63 - 1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", REFUSAL)
def test_seeds_of_other_programs_and_of_files_have_the_same_bound(seed, capsys, tmp_path, images):
    assert evaluate.main([*scoring(images), "--evaluation-seeds", seed]) == 2
    assert "too large" in capsys.readouterr().err
    head = 'description = "d"\ndatasets = ["digits"]\nmodels = ["vae"]\nfeatures = "auto"\n'
    for name, seeds in (
        ("seeds", f"seeds = [{seed}]"),
        ("evaluation_seeds", f"seeds = [0]\nevaluation_seeds = [{seed}]"),
    ):
        (tmp_path / "p.toml").write_text(f"{head}{seeds}\n")
        with pytest.raises(UserError, match=f"'{name}' has 1?9?.*give seeds from 0 to {LARGEST_NUMBER}"):
            load_profile(str(tmp_path / "p.toml"))
    (tmp_path / "s.toml").write_text(f'description = "d"\nprofile = "smoke"\n[table1]\nseeds = [{seed}]\n')
    with pytest.raises(UserError, match=f"give at most {LARGEST_NUMBER}"):
        plan.load(str(tmp_path / "s.toml"))


def test_the_largest_seed_is_taken():
    check_seeds("--seeds", [0, 2**63 - 1])


@pytest.mark.parametrize("threads", [4096, 32_000, 100_000, 10**40])
def test_more_threads_than_the_machine_can_use_are_refused(threads, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    check_threads(8)
    refused(
        ["--threads", str(threads), "--out", str(tmp_path)], capsys, "--threads", "more than this machine", "at most 8"
    )


# Encodings of TOML

PROFILE = 'description = "é"\ndatasets = ["digits"]\nmodels = ["vae"]\nseeds = [0]\nfeatures = "auto"\n'
SCALE = 'description = "é"\nprofile = "smoke"\n'


@pytest.mark.parametrize(("load", "text"), [(load_profile, PROFILE), (plan.load, SCALE)])
def test_a_byte_order_mark_is_passed_over(tmp_path, load, text):
    path = tmp_path / "own.toml"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert load(str(path)).description == "é"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("utf-16-le", "zero bytes|not UTF-8"), ("latin-1", "not UTF-8 text")],
)
@pytest.mark.parametrize(("load", "text"), [(load_profile, PROFILE), (plan.load, SCALE)])
def test_other_encodings_are_named(tmp_path, load, text, encoding, words):
    path = tmp_path / "own.toml"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(UserError, match=rf"own\.toml .*({words}).*: save it as UTF-8"):
        load(str(path))


def test_plain_ascii_in_utf_16_without_a_mark_is_named():
    with pytest.raises(UserError, match="file holds zero bytes, as UTF-16 text does: save it as UTF-8"):
        toml.parse("a = 1".encode("utf-16-be"), "file")


# Folders that are read and written


@pytest.mark.parametrize("place", ["", "scores", "a/../scores", "deep/er"])
def test_out_inside_the_images_is_refused(images, place, capsys, tmp_path):
    before = sorted(images.rglob("*"))
    assert evaluate.main([*scoring(images), "--out", str(images / place)]) == 2
    assert "whose images are read: choose a folder outside it" in capsys.readouterr().err
    refused(["--datasets", f"folder:{images}", "--out", str(images / place)], capsys, "whose images are read")
    assert sorted(images.rglob("*")) == before
    check_outside(tmp_path, images)
    (tmp_path / "link").symlink_to(images)
    with pytest.raises(UserError, match="lies in"):
        check_outside(tmp_path / "link" / "scores", images)
