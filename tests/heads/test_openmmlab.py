"""OpenMMLab on torchvision's kernels: mmcv's operators give what torchvision gives, and nobody notices the import."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import ConfigError
from scaling.heads.openmmlab import INSTALL, SCOPES, SERVED, build, ready
from tests.conftest import ROOT

dense = pytest.mark.skipif(find_spec("mmseg") is None, reason="needs the extra dense")
PATIENT = settings(deadline=None, derandomize=True, max_examples=20)
ROIS = torch.tensor([[0, 0.3, 1.1, 5.2, 7.6], [1, 1.0, 2.0, 6.5, 3.2], [1, 2.0, 2.0, 2.1, 2.1], [0, -3.0, 5.0, 20, 9]])


@pytest.fixture
def ops():
    ready()
    import mmcv.ops

    return mmcv.ops


def python(code, arguments=()):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def random_boxes(n, seed):
    """Boxes with whole corners in 24 x 24 px, and distinct scores."""
    g = torch.Generator().manual_seed(seed)
    corner, side = torch.randint(0, 16, (n, 2), generator=g), torch.randint(1, 9, (n, 2), generator=g)
    return torch.cat([corner, corner + side], 1).float(), torch.randperm(n, generator=g) / max(n, 1)


def nms_ref(boxes, scores, threshold, offset):
    """Best first; each one kept drops all that overlap it by more."""
    left, kept = sorted(range(len(boxes)), key=lambda n: -float(scores[n])), []

    def area(x1, y1, x2, y2):
        return max(0.0, x2 - x1 + offset) * max(0.0, y2 - y1 + offset)

    def overlap(a, b):
        both = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
        return both / (area(*a) + area(*b) - both)

    while left:
        best = left.pop(0)
        kept.append(best)
        left = [n for n in left if overlap(boxes[best].tolist(), boxes[n].tolist()) <= threshold]
    return kept


# the operators


@dense
@PATIENT
@given(st.integers(0, 30), st.sampled_from([0.1, 1 / 3.1, 0.501, 0.7001]), st.sampled_from([0, 1]), st.integers(0, 999))
def test_nms_keeps_what_the_slow_reference_and_torchvision_keep(n, threshold, offset, seed):
    ready()
    import mmcv.ops

    boxes, scores = random_boxes(n, seed)
    dets, kept = mmcv.ops.nms(boxes, scores, threshold, offset=offset)
    assert kept.tolist() == nms_ref(boxes, scores, threshold, offset)
    torch.testing.assert_close(dets, torch.cat([boxes[kept], scores[kept, None]], 1), rtol=0, atol=0)
    if not offset:
        assert kept.tolist() == torchvision.ops.nms(boxes, scores, threshold).tolist()


@dense
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_nms_takes_boxes_and_scores_of_any_precision(ops, dtype):
    boxes, scores = random_boxes(20, 0)
    for pair in ((boxes.to(dtype), scores.to(dtype)), (boxes, scores.to(dtype))):
        assert ops.nms(*pair, 0.3)[1].tolist() == nms_ref(*pair, 0.3, 0)


@dense
def test_nms_within_classes_and_limits_goes_through_mmcv(ops):
    """What mmdet calls: boxes of different classes do not drop each other; scores below a limit are gone."""
    boxes = torch.tensor([[0, 0, 4, 4.0], [0, 0, 4, 4.1], [0, 0, 4, 4.2], [9, 9, 12, 12]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7, 0.01]), torch.tensor([0, 0, 1, 1])
    kept = ops.batched_nms(boxes, scores, classes, {"type": "nms", "iou_threshold": 0.5, "score_threshold": 0.05})[1]
    assert kept.tolist() == [0, 2]


@dense
@PATIENT
@given(
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    grid=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    scale=st.sampled_from([1.0, 0.25, 1 / 14]),
    sampling=st.integers(0, 3),
    aligned=st.booleans(),
    regions=st.integers(0, 6),
    seed=st.integers(0, 999),
)
def test_roi_align_and_its_gradient_are_torchvisions(sides, grid, scale, sampling, aligned, regions, seed):
    ready()
    import mmcv.ops

    g = torch.Generator().manual_seed(seed)
    boxes = random_boxes(regions, seed)[0] + torch.rand(regions, 4, generator=g)
    rois = torch.cat([torch.randint(0, 2, (regions, 1), generator=g).float(), boxes], 1)
    map_BCHW = torch.randn(2, 3, *sides, generator=g)
    ours, theirs = map_BCHW.clone().requires_grad_(), map_BCHW.clone().requires_grad_()
    got = mmcv.ops.roi_align(ours, rois, grid, scale, sampling, "avg", aligned)
    want = torchvision.ops.roi_align(theirs, rois, grid, scale, sampling, aligned)
    torch.testing.assert_close(got, want, rtol=0, atol=0)
    for out in (got, want):
        (out * torch.arange(out.numel()).view_as(out)).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)


@dense
@pytest.mark.parametrize("aligned", [False, True])
def test_the_gradient_of_roi_align_is_that_of_finite_differences(ops, aligned):
    map_BCHW = torch.randn(2, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rois = ROIS.double()
    assert torch.autograd.gradcheck(
        lambda x: ops.roi_align(x, rois, (2, 3), 0.5, 2, "avg", aligned), map_BCHW.requires_grad_()
    )


@dense
@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 3, 1), (3, 0, 2, 1), (0, 1, 3, 2)])
def test_a_strided_map_gives_what_a_contiguous_one_gives(ops, order):
    shape = [0] * 4
    for place, size in zip(order, (2, 4, 7, 8), strict=True):
        shape[place] = size
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).permute(order)
    rois = ROIS.T.contiguous().T
    assert not values.is_contiguous()
    out = []
    for map_BCHW, regions in ((values, rois), (values.contiguous(), ROIS)):
        leaf = map_BCHW.detach().requires_grad_()
        pooled = ops.roi_align(leaf, regions, 3)
        pooled.permute(0, 2, 3, 1).contiguous().square().sum().backward()  # the gradient comes back strided
        out.append((pooled.detach(), leaf.grad))
    for got, want in zip(*out, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=0)


@dense
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32_and_handed_back_as_it_came(ops, dtype):
    map_BCHW = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    rois, half, full = ROIS.to(dtype), map_BCHW.clone().requires_grad_(), map_BCHW.float().requires_grad_()
    with torch.autocast("cpu", dtype):
        got = ops.roi_align(half, rois, 3)
    want = ops.roi_align(full, rois.float(), 3)
    assert got.dtype == dtype
    torch.testing.assert_close(got, want.to(dtype), rtol=0, atol=0)
    got.sum().backward()
    want.sum().backward()
    assert half.grad.dtype == dtype
    torch.testing.assert_close(half.grad, full.grad.to(dtype), rtol=0, atol=0)


# what is not served


@dense
def test_an_operator_that_is_not_served_raises_when_called_and_says_its_name(ops):
    extension = sys.modules["mmcv._ext"]
    assert callable(extension.ms_deform_attn_forward)
    with pytest.raises(NotImplementedError, match=r"^ms_deform_attn_forward needs a compiled mmcv; .*nms"):
        extension.ms_deform_attn_forward(1, two=2)
    with pytest.raises(NotImplementedError, match=r"^softnms needs a compiled mmcv"):
        ops.soft_nms(*random_boxes(3, 0))
    with pytest.raises(NotImplementedError, match="pool_mode 'max' needs a compiled mmcv"):
        ops.roi_align(torch.zeros(1, 1, 4, 4), ROIS[:1], 2, 1.0, 0, "max")


# the import


def without(package):
    """Code that asks for a head twice where a package is missing."""
    return (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {package!r}: raise ModuleNotFoundError(f'No module named {{name}}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        "from scaling.heads.openmmlab import build\n"
        "from scaling.errors import ConfigError\n"
        "for _ in range(2):\n"
        "    try: build('segmentation', dict(type='FCNHead'))\n"
        "    except ConfigError as e: print(e)\n"
    )


STATE = (
    "(list(warnings.filters), warnings.showwarning, root.level, list(root.handlers), root.manager.disable,"
    " dict(os.environ), torch.load, torch.get_num_threads(), multiprocessing.get_start_method(allow_none=True),"
    " sys.stdout, sys.stderr, sys.excepthook, sys.path[:], torch.get_rng_state().tolist(),"
    " torch.get_default_dtype(), {s: signal.getsignal(s) for s in signal.valid_signals()})"
)
UNCHANGED = (
    "import logging, multiprocessing, os, signal, sys, warnings, torch\n"
    "warnings.simplefilter('always', UserWarning)\n"
    "from scaling.heads.openmmlab import build, ready\n"
    "root = logging.getLogger()\n"
    f"before = {STATE}\n"
    "ready(); ready()\n"
    "norm = dict(type='GN', num_groups=2)\n"
    "build('segmentation', dict(type='FCNHead', in_channels=4, channels=4, num_classes=2, norm_cfg=norm))\n"
    "build('detection', dict(type='FPN', in_channels=[4, 4], out_channels=4, num_outs=2))\n"
    "torch.set_rng_state(torch.tensor(before[13], dtype=torch.uint8))\n"
    f"after = {STATE}\n"
    "assert before == after, [(a, b) for a, b in zip(before, after) if a != b]\n"
    "loggers = [l for l in root.manager.loggerDict.values() if getattr(l, 'handlers', ())]\n"
    "streams = [getattr(h, 'stream', None) for l in loggers for h in l.handlers]\n"
    "assert streams and all(s in (None, sys.stdout, sys.stderr) for s in streams), streams\n"
)
MISSING = ("mmengine", "mmdet", "ftfy")
FORKED = {
    "loaded": (
        "import sys\nprint([m for m in sys.modules if m.startswith(('mmcv', 'mmengine', 'mmseg', 'mmdet', 'cv2'))])\n"
    ),
    "unchanged": UNCHANGED,
    **{f"without {package}": without(package) for package in MISSING},
    "another version": (
        "import mmcv\n"
        "mmcv.__version__ = '2.2.0'\n"
        "from scaling.heads.openmmlab import ready\n"
        "from scaling.errors import ConfigError\n"
        "try: ready()\n"
        "except ConfigError as e: print(e)\n"
    ),
    "compiled": (
        "import sys, mmcv\n"
        "mmcv.__path__.append(sys.argv[2])\n"
        "from scaling.heads.openmmlab import ready\n"
        "ready()\n"
        "print(sys.modules['mmcv._ext'].__file__ == sys.argv[2] + '/_ext.py')\n"
        "print(sys.modules['mmcv.ops.nms'].ext_module.nms())\n"
    ),
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each code prints in a process that has torch and our heads, and nothing of OpenMMLab's yet: one interpreter
    loads them and is forked."""
    code = (
        "import json, os, sys, traceback\n"
        "import scaling.heads, scaling.heads.openmmlab, scaling.heads.feature_pyramid, scaling.heads.segmentation\n"
        "for name, code in json.loads(sys.argv[1]).items():\n"
        "    print('#', name, flush=True)\n"
        "    if child := os.fork():\n"
        "        os.waitpid(child, 0)\n"
        "        continue\n"
        "    os.dup2(1, 2)\n"
        "    try: exec(code, {})\n"
        "    except BaseException: traceback.print_exc(file=sys.stdout)\n"
        "    sys.stdout.flush()\n"
        "    os._exit(0)\n"
    )
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "_ext.py").write_text("def __getattr__(name):\n    return lambda *a, **k: f'compiled {name}'\n")
    done = python(code, arguments=[json.dumps(FORKED), str(folder)])
    assert done.returncode == 0, done.stderr
    return {part.split("\n")[0]: part.splitlines()[1:] for part in done.stdout.split("# ")[1:]}


def test_importing_the_heads_loads_no_openmmlab_package(said):
    assert said["loaded"] == ["[]"]


@dense
def test_nothing_is_printed_and_nothing_global_is_left_changed(said):
    assert said["unchanged"] == []


@pytest.mark.parametrize("package", MISSING)
def test_a_missing_package_names_the_command_that_installs_it(package, said):
    lines = said[f"without {package}"]
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("there is no module ")
        assert line.endswith(f"the head needs OpenMMLab: {INSTALL}")
        if find_spec("mmseg"):
            assert line.startswith(f"there is no module {package}: ")
    assert INSTALL == "make setup EXTRAS=dev,dense, or pip install '.[dense]'"


@dense
def test_a_version_that_does_not_fit_says_which_and_names_the_command(said):
    (line,) = said["another version"]
    assert line.startswith("OpenMMLab's versions do not fit (MMCV==2.2.0 is used but incompatible")
    assert line.endswith(INSTALL)


@dense
def test_a_compiled_mmcv_is_used_where_it_is_there(said):
    assert said["compiled"] == ["True", "compiled nms"]


@dense
def test_asked_whether_its_operators_were_compiled_mmcv_says_no(ops):
    from mmcv.utils.ext_loader import check_ops_exist

    assert check_ops_exist() is False
    assert sys.modules["mmcv._ext"].__dict__.keys() >= SERVED.keys()


# the registries


@dense
@pytest.mark.parametrize("scope", [None, "mmdet", "mmseg"])
def test_both_registries_build_in_one_process_whatever_the_default_scope(scope):
    ready()
    from mmengine.registry import DefaultScope

    segmentation = {"type": "FCNHead", "num_convs": 1, "in_channels": 4, "channels": 4, "num_classes": 3}
    loss = {"type": "CrossEntropyLoss", "loss_weight": 2.0}  # both packages have a loss and an FPN of these names
    with DefaultScope.overwrite_default_scope(scope):
        heads = [build("segmentation", {**segmentation, "loss_decode": loss})]
        heads += [build(name, {"type": "FPN", "in_channels": [4], "out_channels": 4, "num_outs": 1}) for name in SCOPES]
    assert type(heads[0].loss_decode).__module__.startswith("mmseg.")
    assert [type(head).__module__.split(".")[0] for head in heads] == ["mmseg", "mmseg", "mmdet"]


@dense
def test_building_leaves_the_config_as_it_was():
    anchors = {"type": "AnchorGenerator", "scales": [8], "ratios": [1.0], "strides": [4]}
    config = {"type": "RPNHead", "in_channels": 4, "feat_channels": 4, "anchor_generator": anchors}
    kept = repr(config)
    build("detection", config)
    assert repr(config) == kept


def test_an_unknown_registry_is_told_from_the_known():
    with pytest.raises(ConfigError, match="did you mean detection"):
        build("detections", {"type": "FPN"})
