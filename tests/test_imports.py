"""Which package may import which. Read from the source, not from what happens to be loaded."""

import ast
import subprocess
import sys

from tests.conftest import ROOT

FILES = sorted(p for top in ("scaling", "experiments", "analysis") for p in (ROOT / top).rglob("*.py"))
BASE = ("scaling.errors", "scaling.rng", "scaling.model_specs")
CONFIG = (*BASE, "scaling.config")
RUNS = (*CONFIG, "scaling.runs", "scaling.costs", "scaling.downloads")
ARROWS = {  # a room: the rooms that it may import, beside itself
    "scaling": ("scaling.inference",),  # scaling/__init__.py alone: every other file has a row of its own
    "scaling.errors": (),
    "scaling.rng": (),
    "scaling.model_specs": (),
    "scaling.downloads": BASE,
    "scaling.config": BASE,
    "scaling.costs": CONFIG,
    "scaling.runs": RUNS,
    "scaling.preprocessing": RUNS,
    "scaling.packing": CONFIG,
    "scaling.backbones": (*RUNS, "scaling.preprocessing", "scaling.packing"),
    "scaling.heads": (*RUNS, "scaling.preprocessing", "scaling.packing", "scaling.backbones"),
    "scaling.data": (*RUNS, "scaling.preprocessing", "scaling.packing"),
    "scaling.tasks": (
        *RUNS,
        "scaling.preprocessing",
        "scaling.packing",
        "scaling.backbones",
        "scaling.heads",
        "scaling.data",
    ),
    "scaling.engine": (
        *RUNS,
        "scaling.preprocessing",
        "scaling.packing",
        "scaling.backbones",
        "scaling.heads",
        "scaling.data",
        "scaling.tasks",
    ),
    "scaling.inference": ("scaling",),
    "scaling.comparison": ("scaling",),
    "analysis": (
        *CONFIG,
        "scaling.costs",
        "scaling.runs.record",
        "scaling.runs.config_file",
        "scaling.runs.atomic_files",
    ),
    # The programs that run models import torch through this room alone; laws and figures do without it.
    "analysis.representations": ("analysis", *CONFIG, "scaling.comparison"),
    "analysis.sharpness": ("analysis", *CONFIG, "scaling.comparison"),
    "analysis.gradients": ("analysis", *CONFIG, "scaling.comparison"),
    "analysis.batch_statistics": ("analysis", *CONFIG, "scaling.comparison"),
    "experiments": ("scaling", "analysis"),
}
NO_TORCH = (
    "scaling.errors",
    "scaling.model_specs",
    "scaling.config",
    "scaling.costs",
    "scaling.runs",
    "scaling.engine.micro_batch_sizes",
    "experiments.planning",
    "experiments.cli",
    "analysis",
)
DRAW = (
    "experiments.documentation.figures",
    "experiments.documentation.design_figure",
    "analysis.plots",
    "analysis.paper.figures",
    "analysis.paper.figure1_panels",
)
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


def within(module: str, rooms) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def room_of(module: str) -> str:
    return max((room for room in ARROWS if within(module, [room])), key=len, default="")


def wrong(me: str, whom: str):
    """What is wrong with an arrow, nothing as a rule."""
    root = whom.split(".")[0]
    ours = root in {"scaling", "experiments", "analysis"} and "." in whom
    if ours and not within(whom, (*ARROWS[room_of(me)], room_of(me))):
        yield f"{room_of(me)} does not import it"
    if within(me, NO_TORCH) and root in HEAVY:
        yield "must start fast"
    if me.startswith("scaling") and root in {"matplotlib", "pandas"}:
        yield "trains and does not analyse"
    if within(me, ("scaling.backbones", "scaling.heads")) and root == "lightning":
        yield "is a plain model"
    if root == "mamba_ssm" and me != "scaling.backbones.ssd.ssd_scan_cuda":
        yield "only ssd_scan_cuda.py knows kernels"
    if root in {"mmdet", "mmseg", "mmcv", "mmengine"} and not me.startswith("scaling.heads"):
        yield "only heads know OpenMMLab"
    if root == "matplotlib" and (not within(me, DRAW) or whom == "matplotlib.pyplot"):
        yield "few files draw, and none with global state"


def test_no_arrow_points_the_wrong_way():
    arrows = [(name(path), whom) for path in FILES for whom in sorted(imports(path))]
    assert len(arrows) > 500
    assert not [(me, whom, what) for me, whom in arrows for what in wrong(me, whom)]


def test_every_file_has_a_room():
    assert [name(path) for path in FILES if room_of(name(path)) == "scaling"] == ["scaling"]


def test_an_arrow_that_points_the_wrong_way_is_seen():
    for me, whom in (
        ("scaling.model_specs", "torch.nn"),
        ("analysis.fitting.laws", "timm"),
        ("scaling.engine.train", "pandas"),
        ("analysis.records.run_set", "scaling.engine.train"),
        ("analysis.similarity.cka", "scaling.comparison.models"),
        ("analysis.fit_laws", "scaling.comparison.models"),
        ("scaling.backbones.deit", "scaling.data.batch"),
        ("scaling.heads.feature_pyramid", "lightning"),
        ("scaling.data.sampler", "scaling.engine.callbacks.checkpointer.Watch"),
        ("scaling.backbones.ssd.mamba2_mixer", "mamba_ssm.ops"),
        ("scaling.tasks.detection", "mmdet.models"),
        ("analysis.fitting.laws", "matplotlib"),
        ("analysis.plots.style", "matplotlib.pyplot"),
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
        "import sys, scaling, scaling.config.legacy, scaling.runs.record, scaling.costs\n"
        "import analysis.records.run_set, analysis.fitting.laws, analysis.fit_laws\n"
        "import experiments.cli.arguments, experiments.sweep, experiments.run\n"
        "import experiments.predict, experiments.export, experiments.report, analysis.page.page\n"
        "assert not {'torch', 'lightning', 'timm'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
