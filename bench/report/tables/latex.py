"""LaTeX (packages booktabs and graphicx) with every special character escaped."""

from __future__ import annotations

from collections.abc import Iterable

from bench.report.tables.model import Cell, Table

PREAMBLE = "% In the preamble: \\usepackage{booktabs,graphicx}. For pdflatex, UTF-8 input (the default since 2018)."
_ESCAPES = {
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
    "[": "{[}",  # at the start of a row, a bare bracket would open an option
    "]": "{]}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))


def sentences(lines: Iterable[str]) -> str:
    return " ".join(map(escape, lines))


def float_of(tables: Iterable[Table], caption: str, label: str = "", *, titled: bool = True) -> str:
    """A float with the tables below one another, each with its title above if `titled`; `caption` is LaTeX."""
    lines = [rf"\caption{{{caption}}}", *([rf"\label{{{label}}}"] if label else [])]
    for table in tables:
        lines += tabular(table, table.title if titled else "")
    return "\n".join([r"\begin{table*}[tbp]", r"\centering", *lines, r"\end{table*}"])


def tabular(table: Table, title: str) -> list[str]:
    """The lines of the table, with the title above it and the references below a rule."""
    header = [Cell(column.header) for column in table.columns]
    return [
        rf"\par\smallskip {escape(title)}\par\smallskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _row(header),
        r"\midrule",
        *map(_row, table.rows),
        *([r"\midrule", *map(_row, table.below)] if table.below else []),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _row(cells: list[Cell]) -> str:
    texts = (rf"\textbf{{{escape(cell.text)}}}" if cell.bold else escape(cell.text) for cell in cells)
    return " & ".join(texts) + r" \\"
