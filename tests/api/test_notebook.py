"""The API in a notebook, which is executed by nbclient; and the code of the page on the Python API."""

from __future__ import annotations

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
CELLS = [
    "from trainyard import compose_config, run_experiment, run_sweep, load_runs, compare",
    "result = run_experiment(compose_config(['experiment=quickstart', 'training.epochs=2', 'training.xla=off']))",
    "result",
    "sweep = run_sweep(['experiment=quickstart', 'training.epochs=1', 'seed=1,2', 'sweep.name=mine', 'training.xla=off'])",
    "sweep",
    "load_runs(sweep='mine')",
    "compare(load_runs(sweep='mine'))",
]


def _execute(sources):
    """Runs the cells in one kernel, in the working directory. Returns the outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_notebook_shows_one_bar_per_call_and_tables_of_results():
    imports, run, result, sweep, sweep_result, runs, comparison = _execute(CELLS)
    assert imports == []
    for outputs in (run, sweep):
        assert [output.output_type for output in outputs] == ["display_data"]
        assert "application/vnd.jupyter.widget-view+json" in outputs[0].data
    for outputs, text in (
        (result, "test accuracy"), (sweep_result, "Sweep mine"), (runs, "FINISHED"), (comparison, "Comparison by"),
    ):  # fmt: skip
        assert len(outputs) == 1
        assert text in outputs[0].data["text/html"]
        assert "<table>" in outputs[0].data["text/html"]


@pytest.mark.slow
def test_the_code_of_the_page_on_the_python_api_runs():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 6
    namespace: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)
    assert Path("curves.png").exists()
    assert "<html" in Path("compared.html").read_text()
    assert len(namespace["runs"]) == 6
