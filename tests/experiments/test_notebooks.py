"""Notebooks run from the top, call and never define, and are committed with the outputs that they still give."""

import ast
import json
import re
import sys

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "notebooks"
PATHS = sorted(FOLDER.glob("*.ipynb"))
MOST_CELLS = 15
WIDEST = 100  # characters of a line of text
LARGEST = 1_500_000  # of a file [bytes]
FEWEST_PICTURES = 3
PICTURE = "image/png"
# Sliders are alive in a running notebook only. Their state and the views of them, whose names are drawn anew each time,
# are not committed: what is left is the line of text that ipywidgets cuts at 110 characters.
WIDGET, STATE = "application/vnd.jupyter.widget-view+json", "widgets"
SLIDERS = "interactive("
# What a notebook may import: what it is about, frames, and what shows them. Of scaling only the arithmetic.
ALLOWED = {"analysis", "scaling.costs", "numpy", "pandas", "IPython", "ipywidgets"}
NUMBER = re.compile(r"[-+\N{MINUS SIGN}]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
# A path of the machine that a notebook was executed on; what a picture's letters spell by chance is none.
PLACES = ("/work", "/tmp", "/root", "/home", "/Users", "site-packages", str(ROOT))

notebooks = pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tree(cell) -> ast.Module:
    """A cell's Python: lines of magic are none."""
    lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
    return ast.parse("\n".join(lines))


def mimes(cell) -> list[str]:
    return [mime for output in cell.outputs for mime in sorted(output.get("data", {})) if mime != WIDGET]


def texts(cell, *kinds: str) -> list[str]:
    """What a cell says: what it printed and its outputs of these kinds, by default the first that there is of Markdown
    and plain text; of a picture nothing. Without the colours of a terminal."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        said = [data[kind] for kind in kinds or ("text/markdown", "text/plain") if kind in data and PICTURE not in data]
        found.append(re.sub(r"\x1b\[[0-9;]*m", "", output.get("text", "".join(said[:1]))))
    return found


def words(text: str) -> str:
    """The text without its numbers, addresses in memory and blanks."""
    return " ".join(NUMBER.sub("#", re.sub(r"0x[0-9a-f]+", "", text)).split())


def numbers(text: str) -> list[float]:
    text = re.sub(r"0x[0-9a-f]+", "", text)
    return [float(number.replace("\N{MINUS SIGN}", "-")) for number in NUMBER.findall(text)]


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """execute(path) -> the notebook as this very interpreter runs it; all that Jupyter writes is in tmp_path."""
    quick = "--InlineBackend.print_figure_kwargs={'bbox_inches': None}"  # pictures are counted, not looked at
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", quick]
    kernel = tmp_path / "path" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "path"))
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # this checkout's analysis, whatever is installed
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # it makes a terminal of a notebook

    def run(path):
        place = {"metadata": {"path": str(FOLDER)}}
        client = nbclient.NotebookClient(read(path), timeout=300, kernel_name="python3", resources=place)
        return client.execute()

    return run


def test_there_are_four_notebooks():
    assert [path.stem for path in PATHS] == [
        "01_patch_size_laws",
        "02_against_the_paper",
        "03_what_does_a_patch_cost",
        "04_what_happens_inside",
    ]


@notebooks
def test_a_notebook_is_short(path):
    assert len(read(path).cells) <= MOST_CELLS
    assert path.stat().st_size <= LARGEST


@notebooks
def test_a_notebook_calls_and_defines_nothing(path):
    kinds = {type(node) for cell in code_cells(read(path)) for node in ast.walk(tree(cell))}
    assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda}


@notebooks
def test_a_notebook_imports_the_analysis_and_what_shows_it(path):
    nodes = [node for cell in code_cells(read(path)) for node in ast.walk(tree(cell))]
    found = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    found |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name if name.startswith("scaling") else name.split(".")[0] for name in found} <= ALLOWED
    assert any(name.startswith("analysis") for name in found)


@notebooks
def test_only_lines_of_magic_that_show_pictures_are_there(path):
    lines = [line for cell in code_cells(read(path)) for line in cell.source.splitlines()]
    assert {line for line in lines if line.startswith(("%", "!"))} == {"%matplotlib inline"}


@notebooks
def test_a_notebook_is_committed_with_its_outputs(path):
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        if isinstance(tree(cell).body[-1], ast.Expr):
            assert cell.outputs, cell.source
    assert sum(mimes(cell).count(PICTURE) for cell in cells) >= FEWEST_PICTURES


@notebooks
def test_what_is_committed_has_no_error_no_warning_and_no_time_of_execution(path):
    for cell in code_cells(read(path)):
        assert "execution" not in cell.metadata
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


@notebooks
def test_what_is_committed_names_no_place_on_the_machine_that_made_it(path):
    for cell in code_cells(read(path)):
        said = [*texts(cell), *texts(cell, "text/html")]
        assert not [place for place in PLACES for text in said if place in text]


@notebooks
def test_no_state_of_a_slider_is_committed(path):
    """`make notebooks` must drop both: state makes a file twice as large, and a view without it is an error message."""
    notebook = read(path)
    assert STATE not in notebook.metadata
    assert not [output for cell in code_cells(notebook) for output in cell.outputs if WIDGET in output.get("data", {})]


@notebooks
def test_whatever_has_sliders_is_there_as_a_figure_too(path):
    """A page that shows a committed notebook shows no sliders: each calculator is called with fixed values beside."""
    for cell in code_cells(read(path)):
        calls = [node for node in ast.walk(tree(cell)) if isinstance(node, ast.Call)]
        moved = [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "interact"]
        assert set(moved) <= {ast.unparse(call.func) for call in calls}
        assert mimes(cell).count(PICTURE) >= len(moved)
        assert len([text for text in texts(cell, "text/plain") if text.startswith(SLIDERS)]) == len(moved)


@notebooks
def test_text_is_no_wider_than_a_page(path):
    said = [text for cell in code_cells(read(path)) for text in texts(cell, "text/plain")]
    lines = [line for text in said for line in text.splitlines() if not line.startswith(SLIDERS)]
    assert max(map(len, lines)) <= WIDEST


@pytest.mark.slow
@notebooks
def test_a_notebook_runs_from_the_top_and_says_what_it_was_committed_with(path, execute):
    """Words must be the same, numbers nearly so: another processor adds up in another order."""
    for before, after in zip(code_cells(read(path)), code_cells(execute(path)), strict=True):
        assert mimes(after) == mimes(before), before.source
        for old, new in zip(texts(before), texts(after), strict=True):
            assert words(new) == words(old)
            assert numbers(new) == pytest.approx(numbers(old), rel=0.02, abs=0.005)


def test_the_records_are_small_and_whole():
    runs = sorted((FOLDER / "records").iterdir())
    assert len(runs) == 50
    for run in runs:
        assert sorted(path.name for path in run.iterdir()) == ["config.json", "record.json"]
        assert sum(path.stat().st_size for path in run.iterdir()) < 8000
