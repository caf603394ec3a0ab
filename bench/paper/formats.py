"""A table's three forms: CSV in full precision, Markdown to read, LaTeX (booktabs) for a paper."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

from bench.paper.tables import Item, PaperTable
from bench.report.content.blocks import Block, Cell, Column
from bench.report.page import page
from bench.report.tables.markup import escape_latex, escape_markdown, latex_sentences, latex_table, markdown_table
from bench.storage.files import write_text

FOLDER = "tables"


def write(out: Path, tables: list[PaperTable]) -> list[Path]:
    """Write OUT/tables/table-*.csv, .md and .tex, and remove those of protocols that are gone; their paths."""
    written = []
    for table in tables:
        for ending, text in (("csv", as_csv(table)), ("md", markdown(table)), ("tex", latex(table))):
            written.append(out / FOLDER / f"{table.name}.{ending}")
            write_text(written[-1], text)
    for path in (out / FOLDER).glob("table-*"):
        if path not in written:
            path.unlink()
    return written


def as_csv(table: PaperTable) -> str:
    """A row for each model or point; scores as mean, half-width, number of seeds, low, high."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field for column in table.columns for field in column.fields])
    for items in zip(*(column.items for column in table.columns), strict=True):
        writer.writerow(["" if value is None else value for item in items for value in item.values])
    return text.getvalue()


def markdown(table: PaperTable) -> str:
    notes = "\n".join(f"- {escape_markdown(line)}" for line in table.caption)
    return f"## {escape_markdown(table.title)}\n\n{markdown_table(_block(table))}\n\n{notes}\n"


def latex(table: PaperTable) -> str:
    caption = f"{escape_latex(table.title)}. {latex_sentences(table.caption)}"
    lines = [
        "% In the preamble: \\usepackage{booktabs,graphicx}. For pdflatex, UTF-8 input (the default since 2018).",
        r"\begin{table*}[tbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.name}}}",
        *latex_table(_block(table)),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def page_block(table: PaperTable) -> page.Block:
    """The table as a part of the page."""
    rows = zip(*([_entry(item) for item in column.items] for column in table.columns), strict=True)
    headers = tuple(column.header for column in table.columns)
    body = page.Table("", headers, tuple(rows), notes=tuple(table.caption))
    return page.Block(table.title, table=body)


def _entry(item: Item) -> page.Entry:
    """Sorted by the number that the text rounds, where it is one."""
    number = item.values[0]
    return page.Entry(item.text, key=float(number) if isinstance(number, int | float | Decimal) else None)


def _block(table: PaperTable) -> Block:
    return Block("", [Column(one.header, [Cell(item.text) for item in one.items], []) for one in table.columns])
