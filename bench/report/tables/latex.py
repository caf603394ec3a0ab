"""LaTeX (packages booktabs and graphicx) with every special character escaped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.report.content.sentences import environment
from bench.report.tables.model import Table

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
    template = _TEMPLATES.get_template("table.tex")
    return template.render(tables=tables, caption=caption, label=label, titled=titled, escape=escape)


_TEMPLATES = environment(
    Path(__file__).parent,
    {"tex": escape},
    block_start_string="<%",  # braces are LaTeX's own
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
)
