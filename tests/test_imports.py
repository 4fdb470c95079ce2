"""The arrows of the house: who may import whom. Read from the source, not from what happens to be loaded."""

import ast
import subprocess
import sys

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
DRAW = {"experiments.docs_figures"} | {
    f"analysis.{name}"
    for name in (
        "cost_figures",
        "drawing",
        "drawn_numbers",
        "figure1_panels",
        "law_figures",
        "optimal_figures",
        "paper_figures",
        "study_figures",
    )
}
HEAVY = {"torch", "torchvision", "lightning", "timm", "torchmetrics"}


def name(path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def wrong(me: str, whom: str):
    """What is wrong with an arrow, nothing as a rule."""
    root = whom.split(".")[0]
    trains = whom.startswith(("scaling.", "experiments"))
    told = whom.startswith(("scaling.record", "scaling.recipe", "scaling.costs"))
    above = ("lightning", "scaling.tasks", "scaling.train", "scaling.data")
    if me.startswith(tuple(NO_TORCH)) and root in HEAVY:
        yield "must start fast"
    if me.startswith("scaling") and root in {"experiments", "analysis", "matplotlib", "pandas"}:
        yield "trains and does not analyse"
    if me.startswith("analysis") and trains and not told:
        yield "reads results and does not train"
    if me.startswith(("scaling.backbones", "scaling.heads")) and whom.startswith(above):
        yield "is a plain model"
    if me.startswith(("scaling.data", "scaling.tasks")) and whom.startswith(("scaling.train", "scaling.callbacks")):
        yield "is below training"
    if root == "mamba_ssm" and me != "scaling.backbones.scan":
        yield "only scan.py knows kernels"
    if root in {"mmdet", "mmseg", "mmcv", "mmengine"} and not me.startswith("scaling.heads"):
        yield "only heads know OpenMMLab"
    if root == "matplotlib" and (me not in DRAW or whom == "matplotlib.pyplot"):
        yield "few files draw, and none with global state"


def test_no_arrow_points_the_wrong_way():
    arrows = [(name(path), whom) for path in FILES for whom in sorted(imports(path))]
    assert len(arrows) > 500
    assert not [(me, whom, what) for me, whom in arrows for what in wrong(me, whom)]


def test_an_arrow_that_points_the_wrong_way_is_seen():
    for me, whom in (
        ("scaling.sizes", "torch.nn"),
        ("analysis.laws", "timm"),
        ("scaling.train", "pandas"),
        ("analysis.runs", "scaling.train"),
        ("scaling.backbones.deit", "scaling.data.batch"),
        ("scaling.heads.pyramid", "lightning"),
        ("scaling.data.order", "scaling.callbacks.Watch"),
        ("scaling.backbones.mix", "mamba_ssm.ops"),
        ("scaling.tasks.detect", "mmdet.models"),
        ("analysis.laws", "matplotlib"),
        ("analysis.drawing", "matplotlib.pyplot"),
    ):
        assert len(list(wrong(me, whom))) == 1, (me, whom)


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
