"""export.py: what other programs load has the numbers of the run, and what cannot be exported is a line."""

import io
from importlib.util import find_spec

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import scaling
from experiments import export
from scaling.config.edit import edit
from scaling.errors import ConfigError
from scaling.inference import exports
from scaling.inference.graphs import graph_of, write_onnx
from scaling.inference.trained import Trained, untrained
from tests.conftest import TINY

FLEXIBLE = edit(TINY, patch_embed="flexible", step_shapes="random_patch", pos_embed="grid", patch_size=4, epochs=1)
ADVENTURER = edit(TINY, backbone="adventurer_pico", head="avg", epochs=1)
IMAGES = torch.randint(256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.fixture(scope="module")
def run(trained):
    """The folder of a run of one patch size."""
    return trained(TINY) / TINY.run_id


@pytest.fixture(scope="module")
def flexible(trained):
    return trained(FLEXIBLE) / FLEXIBLE.run_id


def close(found, wanted):
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_all_files_of_a_flexible_run_have_its_logits_at_that_patch(flexible, tmp_path, capsys):
    wanted = scaling.load(flexible).module(IMAGES, 8)
    files = {form: tmp_path / f"model{ending}" for form, ending in exports.ENDINGS.items() if form != "onnx"}
    words = [word for form, file in files.items() for word in ("--export", form, str(file))]
    assert export.main([str(flexible), *words, "--patch", "8"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("; largest difference ")[0] for line in printed] == [
        f"wrote {file}: {form}, patch 8" for form, file in files.items()
    ]
    assert all(float(line.split()[-1]) <= 1e-5 for line in printed)
    again = scaling.load(files["safetensors"])
    assert (again.names, again.run_id, again.config.model.patch_size) == (
        scaling.load(flexible).names,
        flexible.name,
        8,
    )
    close(again.module(IMAGES), wanted)
    close(torch.export.load(files["pt2"]).module()(IMAGES), wanted)
    width = again.module.backbone.width
    theirs = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=width, depth=3, num_heads=width // 16, mlp_ratio=4, num_classes=3
    ).eval()
    theirs.load_state_dict(torch.load(files["timm"])["model"])
    close(theirs(again.module.normalised(IMAGES)), wanted)


def test_without_a_patch_size_a_safetensors_file_keeps_all_of_them(flexible, tmp_path, capsys):
    file = tmp_path / "all.safetensors"
    assert export.main([str(flexible), "--export", "safetensors", str(file)]) == 0
    assert "safetensors, every patch size; largest difference 0.0e+00" in capsys.readouterr().out
    for patch in (4, 8, 16):
        assert torch.equal(scaling.load(file).module(IMAGES, patch), scaling.load(flexible).module(IMAGES, patch))
    assert export.main([str(file), "--export", "timm", str(tmp_path / "x.pth"), "--patch", "16"]) == 0


def test_adventurer_is_one_of_timms_models():
    model = Trained(untrained(ADVENTURER, ()).eval().requires_grad_(False), ADVENTURER, ())
    done = exports.exported(model, "timm")
    assert done.difference <= 1e-5
    import scaling.backbones.timm_entrypoints  # noqa: F401  registers it

    theirs = timm.create_model(
        "adventurer_pico_patch16_224", img_size=16, patch_size=8, num_classes=3, global_pool="avg"
    ).eval()
    theirs.load_state_dict(torch.load(io.BytesIO(done.content))["model"])
    close(theirs(model.module.normalised(IMAGES)), model.module(IMAGES))


def test_without_its_operator_the_graph_of_adventurer_has_the_same_numbers():
    """As ONNX has it, which is not installed everywhere."""
    model = Trained(untrained(ADVENTURER, ()).eval().requires_grad_(False), ADVENTURER, ())
    from scaling.backbones.ssd.mixer_dual import mix_dual

    plain = graph_of(model, "onnx").run_decompositions({torch.ops.patch_scaling.mixer.default: mix_dual})
    assert "patch_scaling" not in str(plain.graph)
    close(plain.module()(IMAGES), model.module(IMAGES))


@pytest.mark.skipif(find_spec("onnxscript") is None, reason="needs the extra onnx")
@pytest.mark.parametrize("config", [TINY, ADVENTURER], ids=["deit", "adventurer"])
def test_onnx_has_the_same_numbers(config):
    model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
    assert exports.exported(model, "onnx").difference <= 1e-5


def test_a_missing_package_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr("scaling.inference.graphs.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnx: onnx and onnxscript not installed: pip install"):
        write_onnx(None, tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"head": "map"}, "timm's model has no head like map: --export safetensors"),
        ({"pos_embed": "rope"}, "timm's model has no place for these weights"),
        ({"patch_embed": "overlapping"}, "timm's model has no place for these weights"),
    ],
)
def test_what_timm_lacks_is_refused_with_what_would_do(fields, why):
    config = edit(TINY, **fields)
    model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
    with pytest.raises(ConfigError, match=why):
        exports.exported(model, "timm")
    assert exports.exported(model, "safetensors").difference == 0


@pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
def test_class_maps_have_a_graph_and_objects_have_none():
    fields = {"img_size": 32, "pos_embed": "sincos", "backbone": "deit_pico"}
    for task, head in (("segment", "linear"), ("detect", "cascade_mask_rcnn")):
        config = edit(TINY, task=task, head=head, **fields)
        model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
        assert exports.exported(model, "safetensors").difference == 0
        with pytest.raises(ConfigError, match=f"timm has no head for {task}"):
            exports.exported(model, "timm")
        if task == "segment":
            assert exports.exported(model, "pt2").difference <= 1e-5
        else:
            with pytest.raises(ConfigError, match="the number of objects depends on the image"):
                exports.exported(model, "pt2")


def test_a_file_that_cannot_be_written_is_a_line_and_the_others_are_written(run, tmp_path, monkeypatch, capsys):
    full = tmp_path / "full.pth"

    def on_a_full_disk(path, content):
        if path == full:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr("scaling.runs.atomic_files.write_atomically", on_a_full_disk)
    files = ["--export", "timm", str(full), "--export", "timm", str(tmp_path / "free.pth")]
    assert export.main([str(run), *files]) == 2
    out, err = capsys.readouterr()
    assert (len(err.splitlines()), err.split(": ")[:2]) == (1, ["error", str(full)])
    assert out.startswith(f"wrote {tmp_path / 'free.pth'}")


def test_a_patch_of_0_is_not_the_finest(flexible, tmp_path):
    with pytest.raises(ConfigError, match="patch 0 is not a size"):
        exports.exported(scaling.load(flexible), "pt2", 0)


def test_where_one_form_cannot_be_exported_no_file_is_written(trained, tmp_path, capsys):
    config = edit(TINY, head="map")
    folder = trained(config) / config.run_id
    files = ["--export", "safetensors", str(tmp_path / "x.safetensors"), "--export", "timm", str(tmp_path / "x.pth")]
    assert export.main([str(folder), *files]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "timm's model has no head like map" in err
    assert not list(tmp_path.iterdir())


def test_a_file_with_other_numbers_is_not_written(run, tmp_path, monkeypatch, capsys):
    def wrong(model, path):
        path.write_bytes(b"x")
        return lambda images: model.module(images) + 1e-3

    monkeypatch.setitem(exports.FORMS, "timm", wrong)
    assert export.main([str(run), "--export", "timm", str(tmp_path / "x.pth")]) == 2
    assert "outputs differ by 1.0e-03 from those of the model (at most 1e-05)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bad_input_is_a_line_with_a_remedy(run, tmp_path):
    file = str(tmp_path / "x.pth")
    for words, why in (
        ([], "give either --export FORM FILE"),
        (["--export", "timm", file, "--hub", "me/it"], "give either --export FORM FILE"),
        (["--export", "tflite", file], "choose from timm, safetensors, onnx, pt2"),
        (["--export", "timm", str(tmp_path / "no" / "x.pth")], "there is no folder"),
        (["--export", "onnx", str(tmp_path)], "is a folder; name a file in it"),
        (["--export", "onnx", file, "--export", "pt2", file], "another --export names this file too"),
        (["--export", "safetensors", file], r"by its ending, \.safetensors"),
        (["--export", "timm", file, "--private"], "--out and --private are for --hub"),
        (["--hub", "nobody", "--out", file], "a repository is OWNER/NAME"),
        (["--hub", "me/a name", "--out", file], "--hub me/a name: "),
    ):
        with pytest.raises(ConfigError, match=f"^[^\n]*{why}[^\n]*$"):
            export.main([str(run), *words])
    with pytest.raises(ConfigError, match="is no finished run"):
        export.main([str(tmp_path), "--hub", "me/it", "--out", file])
    assert not list(tmp_path.iterdir())


def test_a_file_without_description_or_with_a_damaged_one_is_no_model(run, tmp_path):
    file = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(ConfigError, match="holds weights without their configuration"):
        scaling.load(file)
    save_file({"a": torch.zeros(1)}, file, {"patch_scaling": "{}"})
    with pytest.raises(ConfigError, match="does not describe a model"):
        scaling.load(file)
    file.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"is no \.safetensors file"):
        scaling.load(file)


def test_tensors_have_the_keys_of_public_checkpoints(run, tmp_path):
    export.main([str(run), "--export", "safetensors", str(tmp_path / "x.safetensors")])
    assert load_file(tmp_path / "x.safetensors").keys() >= {
        "cls_token",
        "pos_embed",
        "head.weight",
        "blocks.0.norm1.bias",
    }
