"""The tables: numbers against hand-computed ones, nothing averaged that must not be, every name escaped."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.report.content import numerals
from bench.report.content.rows import Summary
from bench.report.content.sections import split
from bench.report.tables import files
from bench.results.cell_folder import read_all
from bench.results.record import Record
from tests import fabricate


def lines_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def in_memory(*records: dict) -> list[Record]:
    return [Record(Path(f"cells/{i}/record.json"), data) for i, data in enumerate(records)]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """The tables alone; tests/test_report_plots.py builds the whole report."""
    root = fabricate.comparison(tmp_path_factory.mktemp("results"))
    sections = split(read_all(root))
    files.write(root, sections)
    return root


# --- numbers ---


def test_table_csv_holds_mean_deviation_and_interval(results):
    ebm = next(
        line for line in lines_of(results / "table.csv") if (line["dataset"], line["model"]) == ("digits", "ebm")
    )
    # 0.010, 0.012, 0.017: mean 0.013, squared deviations 9e-6 + 1e-6 + 16e-6 over ddof 2
    assert float(ebm["KID(efficientnet-lite0) mean"]) == pytest.approx(0.013, rel=1e-12)
    assert float(ebm["KID(efficientnet-lite0) std"]) == pytest.approx((26e-6 / 2) ** 0.5, rel=1e-12)
    assert ebm["KID(efficientnet-lite0) n"] == "3"
    # the 97.5 % point of Student's t with 2 degrees of freedom is 4.30265
    half = 4.302653 * (13e-6 / 3) ** 0.5
    assert float(ebm["KID(efficientnet-lite0) 95% low"]) == pytest.approx(0.013 - half, rel=1e-5)
    assert float(ebm["KID(efficientnet-lite0) 95% high"]) == pytest.approx(0.013 + half, rel=1e-5)
    assert ebm["KID(efficientnet-lite0) interval of"] == "t interval of the mean over training seeds"
    assert ebm["KID(efficientnet-lite0) best"] == "False"
    assert float(ebm["training seconds mean"]) == 31.0
    assert float(ebm["training seconds std"]) == 1.0
    assert ebm["KID(efficientnet-lite0) lead"] == "True"
    assert ebm["reconstruction MSE budget"] == "100"
    assert ebm["parameters"] == "33000"


def test_table_markdown_shows_the_same_numbers(results):
    text = (results / "table.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith("| ebm "))
    assert "0.0130 ± 0.0090" in row  # 4.303 * 0.003606 / sqrt(3) = 0.00896
    header = next(line for line in text.splitlines() if line.startswith("| model"))
    assert header.index("KID(efficientnet-lite0) ↓") < header.index("FD(efficientnet-lite0) ↓")  # the lead comes first
    assert "IS(efficientnet-lite0) ↑" in header


def test_cells_csv_has_every_cell_in_full_precision(results):
    cells = lines_of(results / "cells.csv")
    assert len(cells) == 10
    value = next(cell for cell in cells if cell["record"] == "cells/digits/dcgan/seed-1/record.json")
    assert float(value["KID(efficientnet-lite0)"]) == 5 * 0.012
    assert [cell["status"] for cell in cells].count("diverged") == 1
    assert value["evaluation seeds"] == "0 1"
    each = [float(one) for one in value["KID(efficientnet-lite0) per evaluation seed"].split()]
    assert sum(each) / 2 == pytest.approx(5 * 0.012, rel=1e-15)
    assert each[0] < each[1]
    assert float(value["KID(efficientnet-lite0) 95% low"]) == 5 * 0.012 - abs(5 * 0.012) / 10
    assert value["KID(efficientnet-lite0) interval of"] == "bootstrap, 100 resamples"
    assert "interpolation length ratio, paper path, real ends" in value


def test_a_single_seed_stands_alone(results):
    birds = (results / "table.md").read_text(encoding="utf-8").split("## folder:my/birds")[1]
    row = next(line for line in birds.splitlines() if line.startswith("| ebm "))
    assert r" 0.01000 \[0.00900, 0.01100\] |" in row
    assert "over the images of the first evaluation seed (bootstrap, 100 resamples)" in birds
    assert "±" not in birds
    line = next(line for line in lines_of(results / "table.csv") if line["dataset"] == "folder:my/birds")
    assert line["KID(efficientnet-lite0) std"] == ""
    assert float(line["KID(efficientnet-lite0) 95% low"]) == pytest.approx(0.009)
    assert float(line["KID(efficientnet-lite0) 95% high"]) == pytest.approx(0.011)
    assert line["KID(efficientnet-lite0) interval of"] == "bootstrap, 100 resamples"


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (Summary(0.0123456, None, 3, 0.00123), "0.0123 ± 0.0012"),
        (Summary(12345.6, None, 3, 234.0), "12,346 ± 234"),
        (Summary(6.214, None, 3, 0.05), "6.214 ± 0.050"),
        (Summary(0.5, None, 1, None), "0.5000"),
        (Summary(3.2e-7, None, 2, 4e-8), "3.20e-07 ± 4.0e-08"),
        (Summary(0.25, None, 3, 1e-9), "0.250000 ± 1e-09"),
        (Summary(7.0, None, 2, 0.0), "7.000 ± 0"),
        (Summary(0.7, None, 3, 3e-16), "0.7000 ± 0"),
        (Summary(-0.0002, None, 3, 0.001), "-0.0002 ± 0.0010"),
        (None, "–"),
    ],
)
def test_plus_minus(summary, expected):
    assert numerals.plus_minus(summary) == expected


@pytest.mark.parametrize(
    ("value", "interval", "expected"),
    [
        (0.0123456, [0.0111, 0.0136], "0.0123 [0.0111, 0.0136]"),
        (12345.6, [12111.0, 12579.0], "12,346 [12,111, 12,579]"),
        (-0.0002, [-0.0012, 0.0008], "-0.0002 [-0.0012, 0.0008]"),
        (3.2e-7, [2.8e-7, 3.6e-7], "3.20e-07 [2.80e-07, 3.60e-07]"),
        (0.5, [0.5, 0.5], "0.5000"),
        (0.5, None, "0.5000"),
        (0.0, [-0.01, 0.01], "0.000 [-0.010, 0.010]"),
    ],
)
def test_bracketed(value, interval, expected):
    assert numerals.bracketed(value, interval) == expected


# --- what must be said, what must not be averaged ---


def test_a_diverged_run_is_shown_and_never_averaged(results):
    vae = next(line for line in lines_of(results / "table.csv") if line["model"] == "vae")
    assert vae["KID(efficientnet-lite0) n"] == "2"
    assert float(vae["KID(efficientnet-lite0) mean"]) == pytest.approx(3 * 0.011)
    assert (vae["seeds finished"], vae["seeds diverged"]) == ("2", "1")
    for name in ("table.md", "table.tex"):
        text = (results / name).read_text(encoding="utf-8")
        assert "2 finished, 1 diverged at update 812" in text
        assert "vae, seed 2: energy gap became nan at update 812" in text


def test_the_caption_states_the_protocol(results):
    text = (results / "table.md").read_text(encoding="utf-8")
    for stated in [
        "Lead score: KID(efficientnet-lite0)",
        "half the width of the mean's 95 % t interval over the finished training seeds",
        "seeds 0, 1, 2",
        "No winner can be named in the lead score, KID(efficientnet-lite0): fewer than three seeds.",
        "Not tested, as there are fewer than three seeds: KID, FD, ",
        "evaluation seeds 0, 1 (a cell's score is the mean over them)",
        "real, held out, 299 images against 1,498 real images; uniform noise, 1,000 images against 1,498 real images",
        "1,000 generated images against 1,498 real images, features of efficientnet-lite0 at 224 × 224 pixels",
        "Profile quick",
        "device Example CPU @ 2.0 GHz",
        "a sixth of the set: it is too small for 1,000",
        "1 decode per image",
        "100 decodes per image",
    ]:
        assert stated in text, stated
    assert "**" not in text
    assert "textbf" not in (results / "table.tex").read_text(encoding="utf-8")


# --- formats ---


def test_names_are_escaped(tmp_path):
    sections = split(in_memory(fabricate.record("[x]%{y}~^", r"a_b|c&\d")))
    markdown, latex = files.as_markdown(sections), files.as_latex(sections)
    assert r"| a\_b\|c\&\\d |" in markdown
    assert r"a\_b\textbar{}c\&\textbackslash{}d & 0.01000 {[}0.00900, 0.01100{]}" in latex
    assert r"\caption{{[}x{]}\%\{y\}\textasciitilde{}\textasciicircum{}." in latex
    rows = [line for line in markdown.splitlines() if line.startswith("| a")]
    assert len(rows) == 6  # one model, six tables
    header = next(line for line in markdown.splitlines() if line.startswith("| model"))
    assert rows[0].replace(r"\|", "").count("|") == header.count("|")


def test_latex_is_balanced_and_uses_booktabs(results):
    text = (results / "table.tex").read_text(encoding="utf-8")
    assert text.count(r"\midrule") == 7 + 7 + 2 * 2  # and above the references of two tables for each data set
    for rule in (r"\toprule", r"\bottomrule", r"\end{tabular}"):
        assert text.count(rule) == text.count(r"\begin{tabular}") == 7 + 7
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 4
    assert text.count(r"\label{tab:section-2}") == 1
    assert text.count(r"\ref{tab:section-2}") == 2  # in the second float, and where it says how it was measured
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert not set("±↓↑×–") & set(text)


def test_markdown_columns_line_up(results):
    block = (results / "table.md").read_text(encoding="utf-8").split("### Samples")[1].split("###")[0].strip()
    places = [[i for i, character in enumerate(line) if character == "|"] for line in block.splitlines()]
    assert len(places) == 2 + 3 + 1 + 2  # header and rule, models, blank line, references
    assert all(place == places[0] for place in places)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_sets_the_tables(results, tmp_path):
    preamble = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
    text = (results / "table.tex").read_text(encoding="utf-8")
    (tmp_path / "all.tex").write_text(f"{preamble}\n{text}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
