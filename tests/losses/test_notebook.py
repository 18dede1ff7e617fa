"""The notebook for readers runs from top to bottom, and shows what it says."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).parents[2] / "notebooks" / "02_losses_alone.ipynb"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own, not of what is shown
def test_the_losses_alone_run_in_somebody_else_s_loop():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    printed = [texts(cell) for cell in notebook.cells]
    NotebookClient(notebook, timeout=300).execute()
    for before, cell in zip(printed, notebook.cells, strict=True):
        # Numbers differ in their last digits between machines; words do not.
        assert words(before) == words(texts(cell))


def texts(cell):
    """What a cell printed or answered with."""
    outputs = cell.get("outputs", [])
    return "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for output in outputs
    )


def words(text):
    """A text without its numbers."""
    return [word for word in text.split() if word.isalpha()]
