"""Everything in a paper run that is rebuilt from its records: tables, figures, the page. No torch."""

from __future__ import annotations

from pathlib import Path

from bench import report
from bench.paper import curves, figures, measured, tables
from bench.paper.plan import MAIN, Plan
from bench.report.content import sections
from bench.report.content.outcomes import absent
from bench.report.page import page
from bench.report.page.figures import SAMPLES
from bench.report.tables import markdown
from bench.storage.files import write_text

INDEX = "tables.md"


def build(out: Path, plan: Plan) -> list[Path]:
    """Write OUT/tables, OUT/figures, OUT/tables.md, OUT/index.html and the report of OUT/main; return their paths.

    The same records give the same bytes. Raises UserError if a record cannot be used.
    """
    records = measured.read(out, plan)
    protocols = measured.protocols(records)
    ablations = [(one, measured.ablation(out, one, records, protocols)) for one in plan.ablations]
    found = tables.comparisons(measured.comparison(out, plan, records, protocols))
    for one, own in ablations:
        found += tables.ablations(one, own)
    title, intro = _title(plan), _intro(plan)
    texts = [f"# {title}\n\n{intro}\n", *(f"{markdown.render(table, level=2)}\n" for table in found)]
    write_text(out / INDEX, "\n".join(texts))
    of_main = report.build(out / MAIN) if records[MAIN] else []
    parted = {folder: sections.split(own) for folder, own in records.items()}
    by_steps = [point.folder for one in plan.ablations if one.axis == "steps" for point in one.points]
    drawn = [*figures.write(out, parted, by_steps), *curves.write(out, ablations)]
    first, last = [], []  # samples before the tables, other figures after them
    for one in drawn:
        part = first if one.path.stem == SAMPLES else last
        part.append(page.Chapter(one.title, one.caption, pictures=(one.path,)))
    chapters = [*first, *(page.Chapter(one.title, table=one) for one in found), *last]
    main = sections.split(records[MAIN], absent(out / MAIN, records[MAIN]))
    plots = [path for path in of_main if path.suffix == ".png"]
    further = sections.split([record for folder, own in records.items() if folder != MAIN for record in own])
    index = page.write(out, main, chapters, plots=plots, further=further, title=title, intro=intro)
    return [*tables.write(out, found), out / INDEX, *of_main, *(one.path for one in drawn), *index]


def _title(plan: Plan) -> str:
    return f"The short-run MCMC paper at the scale {plan.scale}"


def _intro(plan: Plan) -> str:
    return (
        f"{plan.description[:1].upper()}{plan.description[1:]}. Reported numbers are those of Nijkamp et al. 2019, "
        "arXiv 1904.09770; what was measured here stands beside them, and below each table what differs from the paper."
    )
