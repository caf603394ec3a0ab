"""docs/tutorial.ipynb runs from its first cell to its last, in a kernel and a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"


def test_the_tutorial_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name, value in {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1, "IPYTHONDIR": tmp_path / "ipython"}.items():
        monkeypatch.setenv(name, str(value))
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "clear the outputs before committing"
    (tmp_path / "here").mkdir()
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path / "here")}}).execute()
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert not list((tmp_path / "here").iterdir())  # it leaves nothing behind
    shown = [output.data for cell in code for output in cell.outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == 6
    (table,) = [data["text/markdown"] for data in shown if "text/markdown" in data]
    for row in ("| GaussianTrainer ", "| ebm ", "| uniform noise ", "| ebm, untrained "):
        assert row in table
    assert "GaussianTrainer" in shown[-1]["text/plain"]  # from its record
