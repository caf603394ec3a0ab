"""Everything in a paper run that is rebuilt from its records: tables, figures, the page. No torch."""

from __future__ import annotations

from pathlib import Path

from bench import report
from bench.paper import figures, measured, tables
from bench.paper.plan import MAIN, Plan
from bench.report.content import sections
from bench.report.content.outcomes import absent
from bench.report.page import page
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
    found += [table for one, own in ablations for table in tables.ablations(one, own)]
    title, intro = f"The short-run MCMC paper at the scale {plan.scale}", _intro(plan)
    texts = [f"# {title}\n\n{intro}\n", *(f"{markdown.render(table, level=2)}\n" for table in found)]
    write_text(out / INDEX, "\n".join(texts))
    of_main = report.build(out / MAIN) if records[MAIN] else []
    drawn = figures.write(out, ablations)
    chapters = [*(page.Chapter(one.title, table=one) for one in found), *drawn]
    main = sections.split(records[MAIN], absent(out / MAIN, records[MAIN]))
    plots = [path for path in of_main if path.suffix == ".png"]
    further = sections.split([record for folder, own in records.items() if folder != MAIN for record in own])
    index = page.write(out, main, chapters, plots=plots, further=further, title=title, intro=intro)
    pictures = [path for chapter in drawn for path in chapter.pictures]
    return [*tables.write(out, found), out / INDEX, *of_main, *pictures, *index]


def _intro(plan: Plan) -> str:
    return (
        f"{plan.description[:1].upper()}{plan.description[1:]}. Reported numbers are those of Nijkamp et al. 2019, "
        "arXiv 1904.09770; what was measured here is beside them, and below each table what differs from the paper."
    )
