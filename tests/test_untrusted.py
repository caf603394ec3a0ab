"""Files of others: nothing that is read can run code, flips are found, and no content brings a reader down."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
import torch

from bench.contract.seeds import seeded
from bench.errors import UserError
from bench.features import cache
from bench.results import record as records
from bench.storage import checkpoint
from bench.storage.sealed import DamagedError, seal
from tests import fabricate
from tests.fuzz.by_hypothesis import fuzz
from tests.fuzz.subjects import SUBJECTS
from tests.fuzz.watched import MODULES

ROOT = Path(__file__).parent.parent

# No code in files

UNSAFE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}  # modules
BUILTINS = {"eval", "exec", "compile"}
# Functions that unpickle or run what they read, with the arguments that make them safe; None: nothing does
LOADERS = {
    "torch.load": {"weights_only": True},
    "torch.hub.load_state_dict_from_url": {"weights_only": True},
    **dict.fromkeys(("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "pandas.read_pickle")),
    **dict.fromkeys(("sklearn.externals.joblib.load", "numpy.lib.format.read_array", "numpy.core.records.load")),
}
# Where tests need a file that would run code, to show that it does not
FORGERS = {
    "tests/data_layouts.py": {"pickle"},
    "tests/test_features_weights.py": {"pickle"},
    "tests/test_data_arrays.py": {"allow_pickle"},
}


def unsafe(source: str) -> list[str]:
    """Every place in the source of a module that could run what a file says, as `line: what`."""
    tree, found = ast.parse(source), []
    known: dict[str, str] = {}  # a name in this module -> the module or function that it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                top = one.name.split(".")[0]  # `import a.b` binds a, `import a.b as c` binds a.b
                known[one.asname or top] = one.name if one.asname else top
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            names = [node.module]
        else:
            continue
        found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in UNSAFE]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (what := _unsafe_call(node, known)):
            found.append(f"{node.lineno}: {what}")
    return found


def _unsafe_call(node: ast.Call, known: dict[str, str]) -> str | None:
    arguments = {word.arg: word.value for word in node.keywords}
    if "allow_pickle" in arguments and not _is(arguments["allow_pickle"], False):
        return "allow_pickle"
    root, dot, rest = ast.unparse(node.func).partition(".")
    name = known.get(root, root) + dot + rest
    if name in BUILTINS:
        return name
    if name not in LOADERS:
        return None
    needed = LOADERS[name]
    return None if needed and all(_is(arguments.get(word), value) for word, value in needed.items()) else name


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("bench", "ebm", "baselines", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("name", [*SOURCES, "noxfile.py"])
def test_no_module_can_run_what_a_file_says(name):
    found = unsafe((ROOT / name).read_text(encoding="utf-8"))
    assert [what for what in found if what.split()[1] not in FORGERS.get(name, set())] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "from torch.hub import x\nimport shelve",
        "import yaml",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch\ntorch.load(path, weights_only=flag)",
        "import torch as t\nt.load(path)",
        "from torch import load as read\nread(path)",
        "import torch.hub\ntorch.hub.load_state_dict_from_url(url)",
        "from torch import hub\nhub.load(name)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import pandas as pd\npd.read_pickle(path)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_the_scan_finds_what_it_looks_for(source):
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, weights_only=True)",
        "import json\njson.load(file)",
        "import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)",
        "from bench import data\ndata.load(name)\nmodel.eval()\nre.compile(text)",
    ],
)
def test_the_scan_passes_what_is_safe(source):
    assert unsafe(source) == []


# Flips


def _files() -> dict[str, tuple[bytes, object]]:
    features = {"features": torch.arange(300.0).view(100, 3), "logits": torch.zeros(100, 5)}
    state = {"model": {"w": torch.arange(1000.0)}, "optimizer": {"state": {0: {"m": torch.ones(1000)}}}}
    return {
        "record": (records.record_bytes(fabricate.record()), lambda c: records.parse(c, Path("seed-0/record.json"))),
        "checkpoint": (bytes(checkpoint.checkpoint_bytes(state, {"done": 3})), checkpoint.parse_checkpoint),
        "cache": (bytes(seal(features, "key")), lambda c: cache.parse(c, "key", 100, 3)),
    }


@pytest.mark.parametrize("name", ["record", "checkpoint", "cache"])
def test_thirty_flipped_bits_are_all_noticed(name):
    content, read = _files()[name]
    read(content)
    for bit in torch.randint(8 * len(content), (30,), generator=seeded("flips", name)).tolist():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((UserError, DamagedError)):
            read(bytes(flipped))


# Fuzzing: a short run of what `python -m tests.fuzz` does at length


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_a_reader_accepts_or_refuses_whatever_it_is_given(name):
    outcome = fuzz(SUBJECTS[name], 300)
    if outcome.failure is not None:
        raise outcome.failure[1]
    assert outcome.inputs >= 300
    assert outcome.accepted > 0  # some changes do no harm: the fuzzer gets past the checksum


@pytest.mark.parametrize("name", list(SUBJECTS))
def test_the_fuzzer_finds_a_reader_that_fails(name):
    """A check that cannot fail is none: with each documented error made another one, the same inputs break it."""
    subject = SUBJECTS[name]

    def careless(content: bytes) -> bool:
        if not subject.read(content):
            raise KeyError("a reader that does not refuse")
        return True

    accepted = [content for content in subject.seeds() if subject.read(content)]
    outcome = fuzz(dataclasses.replace(subject, seeds=lambda: accepted, read=careless), 300)
    assert isinstance(outcome.failure[1], KeyError)
    with pytest.raises(KeyError):
        careless(outcome.failure[0])


def test_every_reader_is_watched_and_its_valid_files_are_accepted():
    assert list(SUBJECTS) == list(MODULES)
    for subject in SUBJECTS.values():
        assert any(map(subject.read, subject.seeds()))
