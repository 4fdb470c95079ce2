"""export.py: what other programs load has the numbers of the run, and what cannot be exported is a line."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import scaling
from experiments import export
from experiments import run as run_py
from scaling.config.edit import edit
from scaling.config.initialization import FromFile
from scaling.errors import ConfigError
from scaling.inference import exports, hub_repository
from scaling.inference.described_weights import without_places
from scaling.inference.graphs import graph_of, write_onnx
from scaling.inference.trained import Trained, untrained
from scaling.runs.record import RunRecord
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


def test_adventurer_is_one_of_timms_models(tmp_path):
    model = Trained(untrained(ADVENTURER, ()).eval().requires_grad_(False), ADVENTURER, ())
    assert exports.export(model, "timm", tmp_path / "timm").difference <= 1e-5
    import scaling.backbones.timm_entrypoints  # noqa: F401  registers it

    theirs = timm.create_model(
        "adventurer_pico_patch16_224", img_size=16, patch_size=8, num_classes=3, global_pool="avg"
    ).eval()
    theirs.load_state_dict(torch.load(tmp_path / "timm")["model"])
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
def test_onnx_has_the_same_numbers(config, tmp_path):
    model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
    assert exports.export(model, "onnx", tmp_path / "model.onnx").difference <= 1e-5


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
def test_what_timm_lacks_is_refused_with_what_would_do(fields, why, tmp_path):
    config = edit(TINY, **fields)
    model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
    with pytest.raises(ConfigError, match=why):
        exports.export(model, "timm", tmp_path / "x.pth")
    assert exports.export(model, "safetensors", tmp_path / "x.safetensors").difference == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")
def test_class_maps_have_a_graph_and_objects_have_none(tmp_path):
    fields = {"img_size": 32, "pos_embed": "sincos", "backbone": "deit_pico"}
    for task, head in (("segment", "linear"), ("detect", "cascade_mask_rcnn")):
        config = edit(TINY, task=task, head=head, **fields)
        model = Trained(untrained(config, ()).eval().requires_grad_(False), config, ())
        assert exports.export(model, "safetensors", tmp_path / "x.safetensors").difference == 0
        with pytest.raises(ConfigError, match=f"timm has no head for {task}"):
            exports.export(model, "timm", tmp_path / "x.pth")
        if task == "segment":
            assert exports.export(model, "pt2", tmp_path / "x.pt2").difference <= 1e-5
        else:
            with pytest.raises(ConfigError, match="the number of objects depends on the image"):
                exports.export(model, "pt2", tmp_path / "y.pt2")


def test_a_file_that_cannot_be_written_is_a_line_and_the_others_are_written(run, tmp_path, capsys):
    (tmp_path / "taken.pth").mkdir()
    files = ["--export", "timm", str(tmp_path / "taken.pth"), "--export", "timm", str(tmp_path / "free.pth")]
    assert export.main([str(run), *files]) == 2
    out, err = capsys.readouterr()
    assert (len(err.splitlines()), err.split(": ")[:2]) == (1, ["error", str(tmp_path / "taken.pth")])
    assert out.startswith(f"wrote {tmp_path / 'free.pth'}")


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


def test_a_repository_is_loaded_by_timm_and_by_scaling(run, tmp_path, capsys):
    folder = tmp_path / "repository"
    assert export.main([str(run), "--hub", "me/tiny", "--out", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {folder}: what --hub me/tiny uploads; largest difference ")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    trained = scaling.load(run)
    again = scaling.load(folder)
    assert again.names == trained.names
    assert torch.equal(again.module(IMAGES), trained.module(IMAGES))
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    close(theirs(trained.module.normalised(IMAGES)), trained.module(IMAGES))
    data = timm.data.resolve_model_data_config(theirs)
    assert (data["input_size"], data["interpolation"]) == ((3, 16, 16), "bicubic")
    card = (folder / "README.md").read_text()
    record = RunRecord.load(run)
    for text in (f"{record.test_loss:.4f}", "library_name: timm", "## Law\n\nNo law: ", "hf-hub:me/tiny", run.name):
        assert text in card
    (tmp_path / "config.yaml").write_text(card.partition("```yaml\n")[2].partition("```")[0])
    capsys.readouterr()
    assert run_py.main(["shapes.deit_nano", "--config", str(tmp_path / "config.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == (tmp_path / "config.yaml").read_text()


def test_a_flexible_repository_is_loaded_by_scaling_and_states_why_not_by_timm(flexible, tmp_path):
    assert export.main([str(flexible), "--hub", "me/all", "--out", str(tmp_path / "all")]) == 0
    again = scaling.load(tmp_path / "all")
    assert torch.equal(again.module(IMAGES, 16), scaling.load(flexible).module(IMAGES, 16))
    card = (tmp_path / "all" / "README.md").read_text()
    assert "Other programs cannot load it: timm's models have one patch size" in card
    assert export.main([str(flexible), "--hub", "me/8", "--out", str(tmp_path / "8"), "--patch", "8"]) == 0
    close(scaling.load(tmp_path / "8").module(IMAGES), scaling.load(flexible).module(IMAGES, 8))
    row = next(row for row in RunRecord.load(flexible).evaluations if row["patch_size"] == 8)
    assert f"| test loss [nats] | {row['test_loss']:.4f} |" in (tmp_path / "8" / "README.md").read_text()


def test_what_is_uploaded_is_what_is_written(run, tmp_path, monkeypatch, capsys):
    class Hub:
        def __init__(self, **options):
            pass

        def create_repo(self, name, private, exist_ok):
            assert (name, private, exist_ok) == ("me/tiny", True, True)
            return "https://huggingface.co/me/tiny"

        def upload_folder(self, repo_id, folder_path, commit_message):
            shutil.copytree(folder_path, tmp_path / "sent")

    monkeypatch.setattr(hub_repository, "HfApi", Hub)
    export.main([str(run), "--hub", "me/tiny", "--out", str(tmp_path / "written")])
    assert export.main([str(run), "--hub", "me/tiny", "--private"]) == 0
    assert "uploaded https://huggingface.co/me/tiny; " in capsys.readouterr().out
    for file in (tmp_path / "written").iterdir():
        assert (tmp_path / "sent" / file.name).read_bytes() == file.read_bytes()

    monkeypatch.setattr(Hub, "create_repo", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(ConfigError, match=r"the Hub does not take it \(OSError: no network\); log in with"):
        export.main([str(run), "--hub", "me/tiny"])


def test_a_repository_of_adventurer_is_loaded_by_timm_which_has_it_registered(trained, tmp_path):
    adventurer = trained(ADVENTURER) / ADVENTURER.run_id
    assert export.main([str(adventurer), "--hub", "me/it", "--out", str(tmp_path)]) == 0
    theirs, ours = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval(), scaling.load(adventurer).module
    close(theirs(ours.normalised(IMAGES)), ours(IMAGES))
    assert "import timm, scaling.backbones.timm_entrypoints\n" in (tmp_path / "README.md").read_text()


def test_a_repository_is_loaded_by_its_name(run, tmp_path, monkeypatch):
    export.main([str(run), "--hub", "me/tiny", "--out", str(tmp_path)])
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, revision: asked.append((name, revision)) or str(tmp_path)
    )
    for name in ("hf:me/tiny", "hf:me/tiny@v1"):
        assert torch.equal(scaling.load(name).module(IMAGES), scaling.load(run).module(IMAGES))
    assert asked == [("me/tiny", None), ("me/tiny", "v1")]


def test_a_repository_that_cannot_be_fetched_is_a_line():
    with pytest.raises(ConfigError, match=r"^repository hf:me/none cannot be fetched [^\n]*; give a folder$"):
        scaling.load("hf:me/none")  # offline, as all tests are


def test_a_folder_that_is_no_repository_of_this_project_is_refused(run, tmp_path):
    export.main([str(run), "--hub", "me/tiny", "--out", str(tmp_path)])
    described = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({**described, "patch_scaling": {**described["patch_scaling"], "mean": [0.5] * 3}})
    )
    with pytest.raises(ConfigError, match="initial weights that are not here any more"):
        scaling.load(tmp_path)
    del described["patch_scaling"]
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(ConfigError, match=r"its config\.json has no patch_scaling"):
        scaling.load(tmp_path)


def test_folders_of_this_machine_are_not_published(tmp_path):
    config = edit(TINY, dataset="folder", data_root="/home/me/pets")
    config = replace(config, init=FromFile(initial_checkpoint="/home/me/w.npz"))
    assert "/home/me" not in json.dumps(without_places(config).to_dict())
    assert without_places(config).init.source == "w.npz"
    address = replace(config, init=FromFile(initial_checkpoint="hf:me/it/w.npz"))
    assert without_places(address).init.source == "hf:me/it/w.npz"


def test_tensors_have_the_keys_of_public_checkpoints(run, tmp_path):
    export.main([str(run), "--export", "safetensors", str(tmp_path / "x.safetensors")])
    assert load_file(tmp_path / "x.safetensors").keys() >= {
        "cls_token",
        "pos_embed",
        "head.weight",
        "blocks.0.norm1.bias",
    }
