"""Who leads, by how much, at what cost, over any number of results folders: `python -m bench.leaderboard RESULTS ...`.

A page for each protocol, and one that lists them. Records are parted as in `bench.report`: no table mixes protocols.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.config.commandline import outcome
from bench.config.console import say
from bench.errors import UserError
from bench.results.cell_folder import RECORD, read_all
from bench.results.elsewhere import read_elsewhere
from bench.results.layout import CELLS, folder_name
from bench.results.record import Record, read

TITLE = "Leaderboard"


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.leaderboard",
        description="Put the records of several results folders on one page for each protocol: who leads, by how much, "
        "at what cost. Protocols are never mixed.",
    )
    p.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="RESULTS",
        help="results folders, with what was made elsewhere in them; or a folder that bench.evaluate --out wrote",
    )
    p.add_argument(
        "--out",
        type=Path,
        default=Path("results/leaderboard"),
        metavar="FOLDER",
        help="where the pages go (default: results/leaderboard)",
    )
    return p


def gather(folders: Sequence[Path]) -> dict[Path, list[Record]]:
    """The records of each folder; one that is in several of them, bit for bit, is of the first alone.

    UserError for a folder without records.
    """
    known: set[str] = set()
    found: dict[Path, list[Record]] = {}
    for folder in folders:
        alone = [Record(folder / RECORD, read(folder / RECORD))] if (folder / RECORD).is_file() else []
        records = [*alone, *read_all(folder), *read_elsewhere(folder)]
        if not records:
            raise UserError(f"no records in {folder}: give results folders, or what bench.evaluate --out wrote")
        found[folder] = [one for one in records if one.data["checksum"] not in known]
        known |= {one.data["checksum"] for one in records}
    return found


def build(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write the pages into `out`; their paths, the list of protocols first. The same records give the same bytes."""
    # pandas and scipy take a second to import: `--help` does not have to wait for them
    from markupsafe import Markup

    from bench.report.content import sections
    from bench.report.page import page
    from bench.report.tables import html
    from bench.report.tables.standings import protocols, standings
    from bench.storage.files import write_text

    records = gather(folders)
    origin = {record.path: folder.as_posix() for folder, own in records.items() for record in own}
    parts = sections.split([record for own in records.values() for record in own])
    names = [folder_name(one.title.replace(" (protocol ", "-").replace(" of ", "-of-").rstrip(")")) for one in parts]
    written = []
    for part, name in zip(parts, names, strict=True):
        chapter = page.Chapter(f"Standings: {part.title}", table=standings(part, origin))
        intro = f"One protocol of {len(parts)}; ../index.html lists all." if len(parts) > 1 else ""
        written += page.write(out / name, [part], [chapter], plots=[], title=f"{TITLE}: {part.title}", intro=intro)
    templates = Path(page.__file__).parent / "templates"
    style = (templates / "page.css").read_text(encoding="utf-8")
    template = html.environment(templates).get_template("leaderboard.html")
    table = html.render(protocols(parts, [f"{name}/{page.NAME}" for name in names]), "protocols", False)
    folders_text = [f"{folder.as_posix()}: {len(own)} records" for folder, own in records.items()]
    text = template.render(
        title=TITLE, style=Markup(style), policy=page.policy(style), table=table, folders=folders_text
    )
    write_text(out / page.NAME, text)
    return [out / page.NAME, *written]


def run(arguments: argparse.Namespace) -> int:
    """Write the pages, and say where."""
    out: Path = arguments.out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: choose a folder")
    if (out / CELLS).exists():
        raise UserError(f"--out {out} is a results folder, whose page would be lost: choose another folder")
    for path in build(list(dict.fromkeys(arguments.results)), out):
        say(str(path))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return outcome("bench.leaderboard", lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
