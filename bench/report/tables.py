"""table.md and table.tex: the same columns twice, each format with its own signs and escapes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from bench.records import Record, write_text
from bench.report.captions import arrow, caption
from bench.report.numerals import NONE, number, plus_minus
from bench.report.sections import Row, Section

_TITLE = "Comparison of generative models"


@dataclass(frozen=True)
class Column:
    header: str
    cells: list[str]


@dataclass(frozen=True)
class Block:
    """A table narrow enough for a terminal or a page; a section has up to three, with the same rows."""

    title: str
    columns: list[Column]


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Write table.md and table.tex; their paths."""
    outputs = {"table.md": markdown(sections), "table.tex": latex(sections)}
    for name, text in outputs.items():
        write_text(root / name, text)
    return [root / name for name in outputs]


def blocks(section: Section) -> list[Block]:
    """Scores of the samples, then of reconstruction and interpolation, then cost: nothing is left out, only parted."""
    rows = list(section.rows)
    models = Column("model", [row.label for row in rows])
    samples = [metric for metric in section.metrics if metric.get("extractor") or metric is section.lead]
    others = [metric for metric in section.metrics if metric not in samples]
    status = Column("status", [row.status for row in rows])
    result = [Block("Samples", [models, *_scores(rows, samples), status])]
    if others:
        result.append(Block("Reconstruction and interpolation", [models, *_scores(rows, others)]))
    result.append(Block("Cost", [models, *_cost(rows)]))
    return result


def _scores(rows: list[Row], metrics: list[dict[str, Any]]) -> list[Column]:
    columns = []
    for metric in metrics:
        name = metric["name"]
        columns.append(Column(f"{metric['label']} {arrow(metric)}", [_score(row, name) for row in rows]))
        budgets = [_budget(row, name) for row in rows]
        if any(budget != NONE for budget in budgets):
            columns.append(Column("budget", budgets))
    return columns


def _score(row: Row, name: str) -> str:
    summary = row.score(name)
    text = plus_minus(summary)
    return text if summary is None or summary.n == len(row.finished) else f"{text} (n = {summary.n})"


def _budget(row: Row, name: str) -> str:
    metrics = (record.metric(name) for record in row.finished)
    found = next((metric for metric in metrics if metric and metric.get("budget") is not None), None)
    if found is None:
        return NONE
    unit = str(found.get("budget_unit") or "")
    if found["budget"] == 1:  # "1 decode per image"
        unit = unit.replace("decodes", "decode")
    return f"{number(found['budget'])} {unit}".strip()


def _cost(rows: list[Row]) -> list[Column]:
    def column(header: str, cell: Callable[[Row], str]) -> Column:
        return Column(header, [cell(row) for row in rows])

    return [
        column("parameters (trained)", _parameters),
        column("updates", _updates),
        column("training seconds", lambda row: plus_minus(row.summary(lambda record: _training(record, "seconds")))),
        column("network evaluations per sample", lambda row: number(_first(row, "network_evaluations_per_sample"))),
        column("samples/s", lambda row: plus_minus(row.summary(lambda record: record.samples_per_second))),
    ]


def _first(row: Row, field: str) -> Any:
    return row.records[0].data[field]  # the same for every seed of one configuration


def _parameters(row: Row) -> str:
    return f"{number(_first(row, 'parameters'))} ({number(_first(row, 'parameters_trained'))})"


def _updates(row: Row) -> str:
    summary = row.summary(lambda record: _training(record, "updates"))
    return plus_minus(summary) if summary and summary.std else number(int(summary.mean) if summary else None)


def _training(record: Record, field: str) -> float:
    return float(record.data["training"][field])


def markdown(sections: list[Section]) -> str:
    """GitHub's Markdown, its columns aligned for a terminal."""
    parts = [f"# {_TITLE}"]
    for section in sections:
        parts.append(f"## {escape_markdown(section.title)}")
        for block in blocks(section):
            parts += [f"### {block.title}", _markdown_table(block)]
        parts.append("\n".join(f"- {escape_markdown(line)}" for line in caption(section)))
    return "\n\n".join(parts) + "\n"


def _markdown_table(block: Block) -> str:
    columns = [[escape_markdown(text) for text in (column.header, *column.cells)] for column in block.columns]
    widths = [max(_width(text) for text in column) for column in columns]
    lines = []
    for index in range(len(columns[0])):
        cells = [
            _pad(column[index], width, right=k > 0)
            for k, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], f"| {' | '.join(rules)} |", *lines[1:]])


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def latex(sections: list[Section]) -> str:
    """One table float per section (packages booktabs and graphicx), every special character escaped."""
    parts = [
        "% In the preamble: \\usepackage{booktabs,graphicx}. For pdflatex, UTF-8 input (the default since 2018).",
    ]
    for number_, section in enumerate(sections, start=1):
        lines = [r"\begin{table*}[tbp]", r"\centering"]
        lines.append(
            rf"\caption{{{escape_latex(section.title)}. {' '.join(escape_latex(line) for line in caption(section))}}}"
        )
        lines.append(rf"\label{{tab:section-{number_}}}")
        for block in blocks(section):
            lines += _latex_table(block)
        parts.append("\n".join([*lines, r"\end{table*}"]))
    return "\n\n".join(parts) + "\n"


def _latex_table(block: Block) -> list[str]:
    columns = [[escape_latex(text) for text in (column.header, *column.cells)] for column in block.columns]
    rows = [" & ".join(cells) + r" \\" for cells in zip(*columns, strict=True)]
    return [
        rf"\par\smallskip {escape_latex(block.title)}\par\smallskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
        r"\toprule",
        rows[0],
        r"\midrule",
        *rows[1:],
        r"\bottomrule",
        r"\end{tabular}}",
    ]


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "–": "--",
    "[": "{[}",  # after a row's end a bare bracket would open an option
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Text that GitHub shows as it is, also inside a table cell."""
    return re.sub(r"([\\`*_|<>&\[\]~$])", r"\\\1", " ".join(text.split()))
