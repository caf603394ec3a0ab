"""table.md and table.tex: the same columns twice, each format with its own signs and escapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from unicodedata import east_asian_width

from bench.report.content.blocks import Block, Cell, blocks
from bench.report.content.captions import caption, protocol, reading
from bench.report.content.sections import Section
from bench.storage.files import write_text

_TITLE = "Comparison of generative models"
_BLOCKS = 4  # in one float of LaTeX: as many as fit a page below a long caption


def write(root: Path, sections: list[Section]) -> list[Path]:
    """Write table.md and table.tex; their paths."""
    outputs = {"table.md": markdown(sections), "table.tex": latex(sections)}
    for name, text in outputs.items():
        write_text(root / name, text)
    return [root / name for name in outputs]


def markdown(sections: list[Section]) -> str:
    """GitHub's Markdown, its columns aligned for a terminal."""
    parts = [f"# {_TITLE}"]
    for section in sections:
        parts.append(f"## {escape_markdown(section.title)}")
        for block in blocks(section):
            parts += [f"### {escape_markdown(block.title)}", markdown_table(block)]
        parts.append("\n".join(f"- {escape_markdown(line)}" for line in caption(section)))
    return "\n\n".join(parts) + "\n"


_Text = Callable[[str], str]


def _rows(block: Block, escape: _Text, bold: _Text) -> tuple[list[list[str]], list[list[str]]]:
    """The texts of a block row by row: header and models, then references."""

    def text(cell: Cell) -> str:
        return bold(escape(cell.text)) if cell.bold else escape(cell.text)

    columns = [[escape(column.header), *(text(cell) for cell in column.cells)] for column in block.columns]
    below = [[text(cell) for cell in column.references] for column in block.columns]
    return [list(row) for row in zip(*columns, strict=True)], [list(row) for row in zip(*below, strict=True)]


def markdown_table(block: Block) -> str:
    """One block in GitHub's Markdown, the references below a blank line."""
    models, references = _rows(block, escape_markdown, lambda text: f"**{text}**")
    if references:
        references.insert(0, [""] * len(block.columns))  # Markdown has no rule inside a table
    widths = [max(map(_width, column)) for column in zip(*models, *references, strict=True)]
    lines = []
    for row in [*models, *references]:
        cells = [_pad(text, width, right=k > 0) for k, (text, width) in enumerate(zip(row, widths, strict=True))]
        lines.append(f"| {' | '.join(cells)} |")
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([lines[0], f"| {' | '.join(rules)} |", *lines[1:]])


def _width(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def latex(sections: list[Section]) -> str:
    """Table floats of up to four blocks (packages booktabs and graphicx), every special character escaped.

    The first float of a section has how to read it in its caption, the others refer to it; how everything was measured
    is a paragraph below, since LaTeX sets a caption as one line first, and so long a line is an error.
    """
    parts = [
        "% In the preamble: \\usepackage{booktabs,graphicx}. For pdflatex, UTF-8 input (the default since 2018).",
    ]
    for number, section in enumerate(sections, start=1):
        title, label = escape_latex(section.title), f"tab:section-{number}"
        parted = blocks(section)
        for start in range(0, len(parted), _BLOCKS):
            if start == 0:
                lines = [rf"\caption{{{title}. {latex_sentences(reading(section))}}}"]
                lines.append(rf"\label{{{label}}}")
            else:
                lines = [rf"\caption{{{title}, continued; how to read it: table~\ref{{{label}}}.}}"]
            for block in parted[start : start + _BLOCKS]:
                lines += latex_table(block)
            parts.append("\n".join([r"\begin{table*}[tbp]", r"\centering", *lines, r"\end{table*}"]))
        measured = latex_sentences(protocol(section))
        parts.append(rf"\par\noindent{{\footnotesize Table~\ref{{{label}}}, how it was measured: {measured}\par}}")
    return "\n\n".join(parts) + "\n"


def latex_table(block: Block) -> list[str]:
    """The lines of one block as a tabular below its title."""
    parts = _rows(block, escape_latex, lambda text: rf"\textbf{{{text}}}")
    models, references = ([" & ".join(row) + r" \\" for row in part] for part in parts)
    return [
        rf"\par\smallskip {escape_latex(block.title)}\par\smallskip",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(block.columns) - 1)}}}",
        r"\toprule",
        models[0],
        r"\midrule",
        *models[1:],
        *([r"\midrule", *references] if references else []),
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


def latex_sentences(lines: Iterable[str]) -> str:
    return " ".join(map(escape_latex, lines))


def escape_markdown(text: str) -> str:
    """Text that GitHub shows as it is, also inside a table cell."""
    return re.sub(r"([\\`*_|<>&\[\]~$])", r"\\\1", " ".join(text.split()))
