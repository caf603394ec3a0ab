"""table.md, table.tex, table.csv and cells.csv of a results folder."""

from __future__ import annotations

from pathlib import Path

from bench.report.content.captions import caption, protocol, reading
from bench.report.content.sections import Section
from bench.report.content.summary import verdict
from bench.report.tables import csv, full, latex, markdown, scores
from bench.storage.files import write_text

TITLE = "Comparison of generative models"
_MOST = 4  # tables in one LaTeX float: as many as fit on a page below a long caption


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Write the four files and return their paths."""
    outputs = {
        "table.csv": csv.render(line for section in sections for line in full.rows(section)),
        "cells.csv": csv.render(line for section in sections for line in full.cells(section, root)),
        "table.md": as_markdown(sections),
        "table.tex": as_latex(sections),
    }
    for name, text in outputs.items():
        write_text(root / name, text)
    return [root / name for name in outputs]


def as_markdown(sections: list[Section]) -> str:
    parts = [f"# {TITLE}"]
    for section in sections:
        parts += [f"## {markdown.escape(section.title)}", markdown.escape(verdict(section).headline)]
        parts += [markdown.render(table, level=3) for table in scores.tables(section)]
        parts.append(markdown.bullets(caption(section)))
    return "\n\n".join(parts) + "\n"


def as_latex(sections: list[Section]) -> str:
    """Floats of up to four tables.

    The caption of a section's first float says how to read the tables, and the others refer to it. How everything was
    measured is a paragraph below: LaTeX first sets a caption as one line, and a line of that length is an error.
    """
    parts = [latex.PREAMBLE]
    for number, section in enumerate(sections, start=1):
        title, label, tables = latex.escape(section.title), f"tab:section-{number}", scores.tables(section)
        found = verdict(section)
        above = latex.sentences([f"{section.title}. {found.headline}", *reading(section)])
        parts.append(latex.float_of(tables[:_MOST], above, label))
        for start in range(_MOST, len(tables), _MOST):
            again = rf"{title}, continued; how to read it: table~\ref{{{label}}}."
            parts.append(latex.float_of(tables[start : start + _MOST], again))
        measured = latex.sentences([*found.points, *protocol(section)])
        lead = rf"Table~\ref{{{label}}}, its results and how they were measured"
        parts.append(rf"\par\noindent{{\footnotesize {lead}: {measured}\par}}")
    return "\n\n".join(parts) + "\n"
