"""Finding what is named: a table's entries, `package.module:attribute`, and one line for everything that can fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.contract import plugins
from bench.errors import UserError

TABLE = {"add": "operator:add", "here": print, "gone": "no_such_module:thing"}


def refusal(name: str, table=TABLE) -> str:
    with pytest.raises(UserError) as caught:
        plugins.load(name, "gadget", table, form="package.module:GADGET")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1000
    return message


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module that can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def module(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield module
    for name in written:
        sys.modules.pop(name, None)


def test_registered_names_and_modules_are_found():
    import operator
    import os.path

    assert plugins.load("add", "gadget", TABLE) is operator.add
    assert plugins.load("here", "gadget", TABLE) is print  # an entry that is no string is the thing itself
    assert plugins.load("operator:sub", "gadget", TABLE) is operator.sub
    assert plugins.load("os.path:join", "gadget") is os.path.join


@pytest.mark.parametrize(
    "name", ["", "thing", ":x", "module:", "module:a.b", "module:1", ".module:x", "a..b:x", "a\nb:x"]
)
def test_another_form_is_refused_with_the_good_names(name):
    message = refusal(name)
    assert message.startswith("unknown gadget ")
    assert message.endswith(": choose one of add, here, gone, or give package.module:GADGET")
    assert refusal(name, None).endswith(": give package.module:GADGET")
    assert plugins.split(name) is None


def test_a_module_that_is_missing_is_named():
    message = refusal("no_such_module:thing")
    assert message.startswith("gadget 'no_such_module:thing' cannot be imported (ModuleNotFoundError: ")
    assert message.endswith("check the path and PYTHONPATH")
    assert refusal("gone").startswith("gadget 'gone' cannot be imported")
    assert "cannot be imported" in refusal("os.no_such_part:thing")


def test_an_attribute_that_is_missing_is_named():
    assert refusal("os.path:joyn") == "gadget 'os.path:joyn': the module os.path has no 'joyn': check the name"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "importing it failed (ZeroDivisionError: division by zero): mend it"),
        ("None.thing", "importing it failed (AttributeError: "),  # its own mistake, and no attribute that is missing
        ("def (:", "importing it failed (SyntaxError: "),
        ("raise SystemExit('two\\nlines')", "importing it failed (SystemExit: two lines): mend it"),
        ("import no_such_module", "cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("from os import joyn", "cannot be imported (ImportError: "),
        ("def __getattr__(name): raise ValueError(name)", "importing it failed (ValueError: "),
        ("raise RuntimeError('\\x1b[2J' + 'x' * 9999)", "importing it failed (RuntimeError: ?[2Jxxx"),
    ],
)
def test_a_module_that_fails_by_itself_is_one_line(write, text, said):
    write("faulty_gadget", text + "\n")
    assert refusal("faulty_gadget:GADGET").startswith(
        f"gadget 'faulty_gadget:GADGET'{' ' if said[0] == 'c' else ': '}{said}"
    )


def test_an_interrupt_is_no_mistake_of_the_module(write):
    write("interrupted_gadget", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        plugins.load("interrupted_gadget:GADGET", "gadget")


def test_a_name_too_long_for_a_message_is_cut():
    assert "xxx..." in refusal("x" * 5000)


def test_a_module_by_itself():
    assert plugins.module("os.path", "paths") is sys.modules["os.path"]
    with pytest.raises(UserError, match=r"^paths cannot be imported \(ModuleNotFoundError"):
        plugins.module("no_such_module", "paths")


def test_it_needs_no_torch():
    code = "import sys, bench.contract.plugins, bench.config.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
