"""Sentences from templates: the words are in text files, and the facts come from code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.report.content.numerals import count, joined, listed, number, once

TEMPLATES = Path(__file__).parent / "templates"


def written(path: Path, **facts: Any) -> list[str]:
    """The sentences of a template, which empty lines separate. A fact from a record cannot add one, whatever it holds.

    Beside Jinja's own filters there are `counted`, `joined`, `listed`, `number`, `once` and `sentence`.
    """
    return paragraphs(_words(path.parent).get_template(path.name).render(facts))


@cache
def _words(folder: Path) -> Environment:
    filters = {"counted": count, "joined": joined, "listed": listed, "number": number, "once": once}
    return environment(folder, filters | {"sentence": sentence}, finalize=_on_one_line)


def environment(folder: Path, filters: Mapping[str, Callable[..., Any]], **more: Any) -> Environment:
    """Templates of a folder. A fact that is missing is an error, and a line of nothing but blocks leaves no trace."""
    found = Environment(
        loader=FileSystemLoader(folder), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **more
    )
    found.filters |= filters
    return found


def _on_one_line(fact: Any) -> Any:
    return " ".join(fact.split()) if isinstance(fact, str) else fact


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text, which empty lines separate, each in one line."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def parted(named: Iterable[tuple[Any, str]]) -> dict[Any, list[str]]:
    """What several have in common -> their names, once each."""
    found: dict[Any, list[str]] = {}
    for what, name in named:
        if name not in (names := found.setdefault(what, [])):
            names.append(name)
    return found
