"""The engine that follows coverage: libFuzzer through Atheris, a process a reader, since it ends its own process.

`python -m tests.fuzz.by_atheris READER FOLDER [libFuzzer's options]`; FOLDER takes the input that broke the reader.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

LONGEST = 1 << 16  # bytes of an input


def main(name: str, folder: Path, options: list[str]) -> None:
    from tests.fuzz import watched

    with atheris.instrument_imports(include=list(watched.MODULES[name]), enable_loader_override=False):
        from tests.fuzz.subjects import SUBJECTS
    from tests.fuzz.changes import changed, mended

    subject = SUBJECTS[name]
    seeds = subject.seeds()
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, content in enumerate(seeds):
        (corpus / str(index)).write_bytes(content)

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        """Steps on the tree or the bytes of `data`; or libFuzzer's own change, sealed half the time."""
        draw = random.Random(seed)
        steps = [(draw.randrange(12), draw.randrange(2**16), draw.randrange(2**32)) for _ in range(draw.randint(1, 3))]
        kind = draw.randrange(4)
        try:
            if kind < 2:
                return changed(subject.form, [data, *seeds], 0, kind == 1, True, steps)[:largest]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            pass  # not of the format any more: its bytes can still be changed
        content = atheris.Mutate(data, largest)
        return mended(subject.form, content)[:largest] if kind % 2 else content

    def one(data: bytes) -> None:
        subject.read(bytes(data))

    arguments = [sys.argv[0], f"-artifact_prefix={folder}/", f"-max_len={LONGEST}", *options, str(corpus)]
    atheris.Setup(arguments, one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
