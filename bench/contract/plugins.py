"""One rule for everything that is named on a command line or in a profile: a registered name, or `package.module:NAME`.

Models, data sets, feature extractors and metrics are all found by `load`. No torch is imported here; a table of
`"module:attribute"` strings can therefore be shown before anything in it is imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from bench.errors import UserError, one_line

FORM = "package.module:attribute"


def load(name: str, what: str, table: Mapping[str, Any] | None = None, *, form: str = FORM) -> Any:
    """The object that `name` means: an entry of `table`, or the attribute of a module, as in `package.module:NAME`.

    An entry that is a string is a target of the same form; any other entry is the object itself. `what` says in
    messages what is looked for ("model"), and `form` what may be written for it ("package.module:factory").
    Raises UserError: a name that is neither, a module that cannot be imported or fails, an attribute that it lacks.
    What kind of object was found is for the caller to check.
    """
    target = (table or {}).get(name, name)
    if not isinstance(target, str):
        return target
    parts = split(target)
    if parts is None:
        choices = f"choose one of {', '.join(table)}, or give" if table else "give"
        raise UserError(f"unknown {what} {_shown(name)}: {choices} {form}")
    found = module(parts[0], f"{what} {_shown(name)}")
    try:
        return getattr(found, parts[1])
    except AttributeError:
        missing = f"the module {parts[0]} has no {parts[1]!r}"
        raise UserError(f"{what} {_shown(name)}: {missing}: check the name") from None
    except Exception as error:  # a module may compute its attributes
        raise _failed(f"{what} {_shown(name)}", error) from error


def module(name: str, what: str) -> ModuleType:
    """The module called `name`, imported; UserError, beginning with `what`, where that fails."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{what} cannot be imported ({described(error)}): check the path and PYTHONPATH") from error
    except (Exception, SystemExit) as error:  # a stranger's module fails in any way
        raise _failed(what, error) from error


def split(target: str) -> tuple[str, str] | None:
    """Module and attribute of `package.module:attribute`; None for text of another form."""
    name, _, attribute = target.partition(":")
    whole = all(name.split(".")) and name.isprintable() and attribute.isidentifier()
    return (name, attribute) if whole else None


def described(error: BaseException) -> str:
    """An error of code that is not the project's own, for a message: its type and its text, in one line."""
    return one_line(f"{type(error).__name__}: {error}")


def _failed(what: str, error: BaseException) -> UserError:
    return UserError(f"{what}: importing it failed ({described(error)}): mend it")


def _shown(name: str) -> str:
    return one_line(repr(name))
