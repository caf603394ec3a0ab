"""`python -m bench.status RESULTS`: a table of every cell, with its state, rate, time left and last numbers."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bench.config.console import shown
from bench.errors import UserError, one_line
from bench.results.cell_folder import CellFolder
from bench.results.layout import CELLS
from bench.results.record import Record
from bench.results.status import duration


@dataclass(frozen=True)
class StatusLine:
    """One cell in the table of `python -m bench.status`."""

    where: str  # of several results folders in one, this cell's
    dataset: str
    model: str
    seed: str
    state: str
    update: str = ""
    rate: str = ""
    left: str = ""
    node: str = ""  # of a cell that runs elsewhere
    last: str = ""  # scores or scalars


LONGEST = 1000  # letters of an entry
HEADER = StatusLine("folder", "data set", "model", "seed", "state", "update", "updates/s", "time left", "node", "last")


def lines(root: Path) -> list[StatusLine]:
    """Every cell of a results folder, or of all those directly below `root`, as `bench.paper` makes them.

    UserError where there is no cell.
    """
    roots = [root] if (root / CELLS).is_dir() else sorted(path.parent for path in root.glob(f"*/{CELLS}"))
    cells = [cell for one in roots for cell in CellFolder.all_in(one)]
    if not cells:
        raise UserError(f"{root} is no results folder: it has no cells/; give the --out of bench.compare")
    return [_line(root, cell) for cell in cells]


def _line(root: Path, cell: CellFolder) -> StatusLine:
    where = "" if cell.out == root else str(cell.out.relative_to(root))
    named = where, cell.dataset, cell.model, str(cell.seed)
    if cell.has_record:
        try:
            return _recorded(where, str(cell.seed), cell.read_record())
        except UserError as error:
            return StatusLine(*named, "unreadable record", last=str(error))
    status = cell.live_status()
    if status is None:
        return StatusLine(*named, "not run")
    return StatusLine(
        *named,
        status.state,
        _of(status.update, status.updates),
        "" if status.rate is None or status.state == "interrupted" else f"{status.rate:.3g}",
        "" if status.seconds_left is None or status.state == "interrupted" else duration(status.seconds_left),
        status.node,
        status.message or ", ".join(f"{name} {value:.3g}" for name, value in list(status.scalars.items())[:3]),
    )


def _recorded(where: str, seed: str, record: Record) -> StatusLine:
    training = record.data["training"]
    rate = f"{training['updates'] / training['seconds']:.3g}" if training["seconds"] else ""
    lead = next((m for m in record.metrics if m.get("lead")), next(iter(record.metrics), None))
    last = record.data["message"] if lead is None else f"{lead['label']} {lead['value']:.4g}"
    update = _of(training["updates"], training["planned_updates"])
    return StatusLine(where, record.dataset, record.model, seed, record.data["status"], update, rate, last=last)


def _of(done: int, total: int) -> str:
    return f"{done} of {total}" if total else ""


def table(found: Sequence[StatusLine]) -> str:
    """The cells as aligned columns, and how many there are in each state."""
    counts = Counter(line.state for line in found)
    summary = f"{len(found)} cells: " + ", ".join(f"{n} {state}" for state, n in counts.items())
    return "\n".join([*_aligned([HEADER, *found]), "", one_line(summary, LONGEST)]) + "\n"


def _aligned(found: Sequence[StatusLine]) -> Iterator[str]:
    texts = [[one_line(getattr(line, one.name), LONGEST) for one in fields(StatusLine)] for line in found]
    shown = [k for k in range(len(texts[0])) if any(row[k] for row in texts[1:])]
    widths = {k: max(len(row[k]) for row in texts) for k in shown}
    for row in texts:
        yield "  ".join(row[k].ljust(widths[k]) for k in shown).rstrip()


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m bench.status",
        description="Every cell's state, rate, time left, and last scalars or lead score.",
    )
    p.add_argument("results", type=Path, metavar="RESULTS", help="a results folder: the --out of bench.compare")
    p.add_argument("--watch", type=float, metavar="SECONDS", help="again and again, until Ctrl-C")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    return shown(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    arguments = parser().parse_args(argv)
    try:
        if arguments.watch is not None and not 0 < arguments.watch < math.inf:
            raise UserError(f"--watch {arguments.watch} is no time to wait: give seconds above 0")
        while True:
            text = table(lines(arguments.results))
            print(("\x1b[H\x1b[2J" if arguments.watch and sys.stdout.isatty() else "") + text, end="", flush=True)
            if arguments.watch is None:
                return 0
            time.sleep(arguments.watch)
    except UserError as error:
        print(f"bench.status: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # how a watch ends
        return 0


if __name__ == "__main__":
    sys.exit(main())
