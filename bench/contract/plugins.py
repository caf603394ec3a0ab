"""One rule for everything that is named on a command line or in a profile.

A name is one of the suite's tables, one that an installed package gives, or `package.module:NAME`. Models, data sets,
feature extractors and metrics are all found by `load`. An installed package adds its own through entry points in the
groups of `GROUPS`; only the one that is asked for is imported. No torch is imported here; a table of
`"module:attribute"` strings can therefore be shown before anything in it is imported.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from types import ModuleType
from typing import Any

from bench.errors import UserError, one_line

FORM = "package.module:attribute"
GROUPS = {  # what is looked for -> group of entry points
    "model": "shortrun.models",
    "data set": "shortrun.datasets",
    "metric": "shortrun.metrics",
    "feature extractor": "shortrun.extractors",
}
_NAME = re.compile(r"[\w.-]+")  # of an entry point; others could be taken for a path, a layer or a module


@dataclass(frozen=True)
class Entry:
    """What an installed package adds: the target of its entry point, and who says so."""

    target: str  # "package.module:attribute", if it is well formed
    package: str  # name and version

    def __str__(self) -> str:
        return f"{self.target} of the installed package {self.package}"


@cache
def installed(what: str) -> dict[str, tuple[Entry, ...]]:
    """Name -> what installed packages add under it, for a kind in `GROUPS`; nothing of it is imported."""
    found: dict[str, set[Entry]] = {}
    for one in metadata.entry_points(group=GROUPS[what]):
        if _NAME.fullmatch(one.name):
            package = f"{one.dist.name} {one.dist.version}" if one.dist else "without a name"
            found.setdefault(one.name, set()).add(Entry(one_line(one.value), one_line(package)))
    return {name: tuple(sorted(entries, key=str)) for name, entries in sorted(found.items())}


def added(what: str, table: Mapping[str, Any]) -> dict[str, str]:
    """Name -> where it comes from, for what installed packages add to `table`; a clash is named as such."""
    lines = {}
    for name, entries in installed(what).items():
        clash = "the suite's own is taken instead of " if name in table else "" if len(entries) == 1 else "a clash: "
        lines[name] = clash + " and ".join(map(str, entries))
    return lines


def load(name: str, what: str, table: Mapping[str, Any] | None = None, *, form: str = FORM) -> Any:
    """The object that `name` means: an entry of `table`, what an installed package adds under that name, or the
    attribute of a module, as in `package.module:NAME`.

    An entry that is a string is a target of the same form; any other entry is the object itself. `what` says in
    messages what is looked for ("model"), and `form` what may be written for it ("package.module:factory").
    Where both `table` and a package have the name, the table's is taken, and a line on stderr says so.
    Raises UserError: a name that is neither, a name that two packages add, a module that cannot be imported or fails,
    an attribute that it lacks. What kind of object was found is for the caller to check.
    """
    table, shown = table or {}, f"{what} {_shown(name)}"
    others = installed(what).get(name, ()) if what in GROUPS else ()
    target, mend = table.get(name, name), ""
    if name in table and others:
        _tell(f"{shown} is the suite's own, not {others[0]}: name that as {others[0].target}")
    elif others:
        if len(others) > 1:
            raise UserError(f"{shown} could be {' or '.join(map(str, others))}: give {form}")
        target, shown = others[0].target, f"{shown} of the installed package {others[0].package}"
        mend = "mend or uninstall that package"
    if not isinstance(target, str):
        return target
    parts = split(target)
    if parts is None and others:
        raise UserError(f"{shown} is entered as {target}, not as {form}: {mend}")
    if parts is None:
        choices = f"choose one of {', '.join(names(what, table))}, or give" if table else "give"
        raise UserError(f"unknown {shown}: {choices} {form}")
    found = module(parts[0], shown, mend)
    try:
        return getattr(found, parts[1])
    except AttributeError:
        missing = f"the module {parts[0]} has no {parts[1]!r}"
        raise UserError(f"{shown}: {missing}: {mend or 'check the name'}") from None
    except Exception as error:  # a module may compute its attributes
        raise _failed(shown, error, mend) from error


@cache
def _tell(line: str) -> None:
    """Print a line to stderr, once in a process."""
    print(line, file=sys.stderr)


def known(name: str, what: str, table: Mapping[str, Any]) -> bool:
    """Whether `name` is in `table` or added by an installed package."""
    return name in table or name in installed(what)


def names(what: str, table: Mapping[str, Any]) -> list[str]:
    """The names in `table`, then those that installed packages add."""
    return [*table, *(name for name in (installed(what) if what in GROUPS else ()) if name not in table)]


def module(name: str, what: str, mend: str = "") -> ModuleType:
    """The module called `name`, imported; UserError, from `what` to the remedy `mend`, where that fails."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = mend or "check the path and PYTHONPATH"
        raise UserError(f"{what} cannot be imported ({described(error)}): {remedy}") from error
    except (Exception, SystemExit) as error:  # a stranger's module fails in any way
        raise _failed(what, error, mend) from error


def split(target: str) -> tuple[str, str] | None:
    """Module and attribute of `package.module:attribute`; None for text of another form."""
    name, _, attribute = target.partition(":")
    whole = all(name.split(".")) and name.isprintable() and attribute.isidentifier()
    return (name, attribute) if whole else None


def described(error: BaseException) -> str:
    """An error of code that is not the project's own, for a message: its type and its text, in one line."""
    return one_line(f"{type(error).__name__}: {error}")


def _failed(what: str, error: BaseException, mend: str) -> UserError:
    return UserError(f"{what}: importing it failed ({described(error)}): {mend or 'mend it'}")


def _shown(name: str) -> str:
    return one_line(repr(name))
