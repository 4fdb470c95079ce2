"""The arrows of the house: who may import whom. Read from the source, not from what happens to be loaded."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FILES = sorted(p for top in ("scaling", "experiments", "analysis") for p in (ROOT / top).rglob("*.py"))
NO_TORCH = [
    "scaling.recipe",
    "scaling.record",
    "scaling.sizes",
    "scaling.costs",
    "scaling.batch_cuts",
    "scaling.progress",
    "analysis",
]
DRAW = {
    f"analysis.{name}"
    for name in (
        "cost_figures",
        "drawing",
        "figure1_panels",
        "law_figures",
        "optimal_figures",
        "paper_figures",
        "study_figures",
    )
}
HEAVY = {"torch", "torchvision", "lightning", "timm", "torchmetrics"}


def imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def name(path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def roots(path) -> set[str]:
    return {word.split(".")[0] for word in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_arrows_hold(path):
    me, found, top = name(path), imports(path), roots(path)
    if me.startswith(tuple(NO_TORCH)):
        assert not top & HEAVY
    if me.startswith("scaling"):
        assert not top & {"experiments", "analysis", "matplotlib", "pandas"}
    if me.startswith("analysis"):
        ours = {w for w in found if w.startswith(("scaling.", "experiments"))}
        allowed = ("scaling.record", "scaling.recipe", "scaling.costs")
        assert all(w.startswith(allowed) for w in ours), ours
    if me.startswith(("scaling.backbones", "scaling.heads")):
        assert "lightning" not in top
        assert not any(w.startswith(("scaling.tasks", "scaling.train", "scaling.data")) for w in found)
    if me.startswith(("scaling.data", "scaling.tasks")):
        assert not any(w.startswith(("scaling.train", "scaling.callbacks")) for w in found)
    if "mamba_ssm" in top:
        assert me == "scaling.backbones.scan"
    if top & {"mmdet", "mmseg", "mmcv", "mmengine"}:
        assert me.startswith("scaling.heads")
    if "matplotlib" in top:
        assert me in DRAW
        assert "matplotlib.pyplot" not in found


def test_no_file_beside_a_script_hides_a_module_that_others_import():
    """python analysis/fit_laws.py puts analysis/ first on sys.path: a file there called stats.py or scipy.py would be
    what every library gets."""
    for folder in ("analysis", "experiments"):
        for path in (ROOT / folder).glob("*.py"):
            if path.stem != "__init__":
                assert path.stem not in sys.stdlib_module_names
                assert path.stem not in {"numpy", "scipy", "pandas", "matplotlib", "rich", "yaml", "torch", "timm"}


def test_what_must_start_fast_never_loads_torch():
    code = (
        "import sys, scaling.recipe, scaling.record, scaling.costs, analysis.runs, analysis.laws, analysis.fit_laws\n"
        "import experiments.cli, experiments.sweep, experiments.run\n"
        "assert not {'torch', 'lightning', 'timm'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
