"""The kernels' session: `python -m tests.kernels [compare OLD.json [NEW.json]] [pytest's arguments]`.

Exit status 0: fine; 1: a test failed, or a ratio is worse by more than 10 %; 2: a mistake in the arguments.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.errors import UserError
from tests.kernels import plot, results, table

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "results" / "kernels"
NAME = "kernels.json"


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] == ["compare"]:
            return compare(arguments[1:])
        return run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(arguments: list[str], folder: Path = FOLDER) -> int:
    """Time the kernels and write kernels.json, table.md and the plot; an earlier kernels.json is kept beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / ("new-" + NAME)
    command = ["-m", "pytest", "tests/kernels", "--benchmark-enable", "--benchmark-only", "--benchmark-json", fresh]
    status = subprocess.run([sys.executable, *command, "--benchmark-quiet", *arguments], cwd=ROOT).returncode
    if not fresh.exists() or not fresh.stat().st_size:  # pytest-benchmark opens it before the first test
        fresh.unlink(missing_ok=True)
        return status or 1
    keep(folder / NAME)
    fresh.rename(folder / NAME)
    print(write(folder))
    return status


def keep(path: Path) -> Path | None:
    """Rename an earlier result by the moment of its run, and never over another; the new path."""
    if not path.exists():
        return None
    try:
        moment = str(json.loads(path.read_text(encoding="utf-8"))["datetime"])[:19].replace(":", "")
    except (OSError, ValueError, KeyError, TypeError):
        moment = "unknown"
    kept, again = path.with_stem(f"{path.stem}-{moment}"), 1
    while kept.exists():
        again += 1
        kept = path.with_stem(f"{path.stem}-{moment}-{again}")
    return path.rename(kept)


def write(folder: Path) -> str:
    """table.md and steps_per_second.png from the folder's kernels.json; the table."""
    kernels, content = results.read(folder / NAME)
    text = table.render(kernels, content)
    (folder / "table.md").write_text(text, encoding="utf-8")
    if not plot.draw(kernels, folder / "steps_per_second.png"):
        (folder / "steps_per_second.png").unlink(missing_ok=True)  # of an earlier run
    return text


def compare(arguments: list[str]) -> int:
    """OLD with NEW, or, where that is not given, with a run made now."""
    if not arguments or len(arguments) > 2:
        raise UserError("compare takes one or two files: compare OLD.json [NEW.json]")
    old, _ = results.read(Path(arguments[0]))  # before anything is run
    if len(arguments) == 1 and (status := run([])):
        return status
    new, _ = results.read(Path(arguments[1]) if len(arguments) == 2 else FOLDER / NAME)
    changes, gone = results.compare(old, new)
    text, fine = results.verdict(changes, gone, (results.device(old), results.device(new)))
    print(text)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
