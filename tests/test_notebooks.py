"""The notebooks for readers run from top to bottom, and show what they say."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own, not of what is shown
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_it_is_stored_with(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    stored = [shown(cell) for cell in notebook.cells]
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    for before, cell in zip(stored, notebook.cells, strict=True):
        assert before == shown(cell)


def shown(cell):
    """What stands below a cell: pictures by their kind, texts by their words.

    Numbers differ between machines; words do not, but for a report of progress, which
    says what there was time for.
    """
    outputs = cell.get("outputs", [])
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    if "progress" in cell.metadata.get("tags", []):
        return kinds, bool(outputs)
    texts = [
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in outputs
    ]
    return kinds, [word for word in " ".join(texts).split() if word.isalpha()]
