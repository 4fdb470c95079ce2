"""export.py --hub: a repository in timm's format, which timm and scaling.load read, tested in a folder."""

import json
import shutil
from dataclasses import replace

import huggingface_hub
import pytest
import timm
import torch

import scaling
from experiments import export
from experiments import run as run_py
from scaling.config.edit import edit
from scaling.config.initialization import FromFile
from scaling.errors import ConfigError
from scaling.inference import hub_repository
from scaling.inference.described_weights import without_places
from scaling.runs.record import RunRecord
from tests.conftest import TINY
from tests.experiments.test_export import ADVENTURER, FLEXIBLE, IMAGES, close


@pytest.fixture(scope="module")
def run(trained):
    """The folder of a run of one patch size."""
    return trained(TINY) / TINY.run_id


@pytest.fixture(scope="module")
def flexible(trained):
    return trained(FLEXIBLE) / FLEXIBLE.run_id


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
