"""Everything of a paper run that is rebuilt from its records: tables, figures, the page. No torch."""

from __future__ import annotations

from pathlib import Path

from bench import report
from bench.paper import curves, figures, formats, measured, tables
from bench.paper.plan import MAIN, Plan
from bench.report.content import sections
from bench.report.content.outcomes import absent
from bench.report.page import page
from bench.storage.files import write_text

INDEX = "tables.md"


def build(out: Path, plan: Plan) -> list[Path]:
    """Write OUT/tables, OUT/figures, OUT/tables.md, OUT/index.html and the report of OUT/main; the files written.

    The same records give the same bytes. UserError where a record cannot be used.
    """
    records = measured.read(out, plan)
    protocols = measured.protocols(records)
    parts = measured.comparison(out, plan, records, protocols)
    ablations = [(one, measured.ablation(out, one, records, protocols)) for one in plan.ablations]
    found = tables.comparisons(parts)
    for one, own in ablations:
        found += tables.ablations(one, own)
    written = formats.write(out, found)
    text = "\n".join([f"# {_title(plan)}\n\n{_intro(plan)}\n", *(formats.markdown(table) for table in found)])
    write_text(out / INDEX, text)
    written += [out / INDEX]
    of_main = report.build(out / MAIN) if records[MAIN] else []
    written += of_main
    parted = {folder: sections.split(own) for folder, own in records.items()}
    by_steps = [point.folder for one in plan.ablations if one.axis == "steps" for point in one.points]
    drawings = [*curves.write(out, ablations), *figures.write(out, parted, by_steps)]
    written += [drawing.path for drawing in drawings]
    blocks = [formats.page_block(table) for table in found]
    blocks += [page.Block(drawing.title, drawing.caption, pictures=(drawing.path,)) for drawing in drawings]
    main = sections.split(records[MAIN], absent(out / MAIN, records[MAIN]))
    plots = [path for path in of_main if path.suffix == ".png"]
    further = sections.split([record for folder, own in records.items() if folder != MAIN for record in own])
    words = {"title": _title(plan), "intro": _intro(plan)}
    return written + page.write(out, main, blocks, plots=plots, further=further, **words)


def _title(plan: Plan) -> str:
    return f"The short-run MCMC paper at the scale {plan.scale}"


def _intro(plan: Plan) -> str:
    return (
        f"{plan.description[:1].upper()}{plan.description[1:]}. Reported numbers are those of Nijkamp et al. 2019, "
        "arXiv 1904.09770; what was measured here stands beside them, and below each table what differs from the paper."
    )
