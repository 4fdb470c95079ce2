"""A run is known by what its data and weights hold, wherever they lie."""

import hashlib
import json
import os
import shutil

import pytest
import torch

from analysis.paper.comparison import series
from analysis.records.groups import own_groups
from analysis.records.run_set import load
from experiments import run, sweep
from experiments.cli.resolve import recipes, resolve
from experiments.stages import linked
from experiments.studies import resolve as studies
from scaling.backbones.registry import build_backbone
from scaling.config.canonical import canonical
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.flat import to_flat
from scaling.config.initialization import FromRun
from scaling.config.legacy import from_flat
from scaling.config.runtime import RuntimeConfig
from scaling.data.fingerprints import with_fingerprints
from scaling.engine import train as training
from scaling.engine.train import train
from scaling.engine.trainer import hush
from scaling.engine.warm_start import find_start
from scaling.errors import ConfigError
from scaling.runs.config_file import RECIPE, write_config
from scaling.runs.identity import config_in, folder_of
from scaling.runs.record import RECORD, WEIGHTS
from scaling.runs.run_folder import open_run
from tests.pictures import picture, write_classes

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
hush()

LATER = ("shapes.flexi_", "shapes.navit_", "shapes.rectangles_")  # recipes that are newer than the names below


@pytest.fixture
def config(tmp_path):
    """A run of two steps on class folders."""
    write_classes(tmp_path / "pets", ("cat", "dog"), train=4, test=2)
    fields = {
        "img_size": 16,
        "patch_size": 8,
        "num_classes": 2,
        "global_batch_size": 4,
        "epochs": 1,
        "backbone": "deit_nano",
    }
    return make_config(dataset="folder", data_root=str(tmp_path / "pets"), **fields)


def identified(config, results):
    return with_fingerprints([config], results)[config.run_id]


def at(config, root):
    return edit(config, data_root=str(root))


def test_recipes_on_shapes_have_the_names_of_this_version_of_the_data():
    """As the first commit with version 2 of the data named them, 70 runs and their groups."""
    found = {}
    for name in recipes():
        if name.startswith("shapes.") and not name.startswith(LATER):
            for patch in (16, 8, 4, 2, 1):
                for seed in (0, 1):
                    found |= {one.run_id: one.group for one in resolve(name, patch, {"seed": seed})}
    for name in ("shapes.table5", "shapes.figure2", "shapes.figure3", "shapes.figure4"):
        found |= {one.run_id: one.group for one in studies.resolve(name, [], {})}
    text = "\n".join(f"{run_id} {group}" for run_id, group in sorted(found.items()))
    assert len(found) == 70
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "ae44c3176ec7958aaa49c05052c5211235da22ec0b0bb2574449f3b4f6217060"
    )


def test_on_shapes_nothing_is_added(tmp_path):
    config = make_config()
    assert identified(config, tmp_path) is not None
    assert identified(config, tmp_path) == config


def test_a_moved_or_copied_or_touched_data_folder_is_the_same_run(tmp_path, config):
    results = tmp_path / "results"
    first = identified(config, results)
    assert first.data.data_digest
    assert first.run_id != config.run_id
    assert (first.data.data_root or "") == (config.data.data_root or "")
    shutil.copytree(tmp_path / "pets", tmp_path / "copy")  # with times of its own
    for path in (tmp_path / "copy").rglob("*.jpg"):
        os.utime(path, (5, 5))
    (tmp_path / "pets").rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        again = identified(at(config, tmp_path / name), results)
        assert (again.run_id, again.group) == (first.run_id, first.group)
        assert canonical(again) == canonical(first)
    assert str(tmp_path) not in canonical(first)
    assert from_flat(json.loads(canonical(first))).run_id == first.run_id
    assert ExperimentConfig.from_dict(first.to_dict()) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda data: (data / "train" / "cat" / "0.jpg").write_bytes(picture(0, 99)),
        lambda data: (data / "test" / "dog" / "1.jpg").write_bytes(picture(1, 98)),
        lambda data: (data / "train" / "cat" / "9.jpg").write_bytes(picture(0, 9)),
        lambda data: (data / "train" / "cat" / "3.jpg").unlink(),
        lambda data: (data / "train" / "cat" / "3.jpg").rename(data / "train" / "dog" / "33.jpg"),
    ],
    ids=["a byte", "a byte of a test image", "one more", "one less", "another class"],
)
def test_other_content_is_another_run_and_another_group(tmp_path, config, change):
    first = identified(config, tmp_path / "results")
    change(tmp_path / "pets")
    other = identified(config, tmp_path / "results")
    assert other.run_id != first.run_id
    assert other.group != first.group


def test_files_that_a_subset_leaves_out_are_not_asked(tmp_path, config):
    few = edit(config, num_train=4)
    first = identified(few, tmp_path / "results")
    changed = 0
    for path in sorted((tmp_path / "pets" / "train").rglob("*.jpg")):
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        changed += identified(few, tmp_path / "results").data.data_digest != first.data.data_digest
        path.write_bytes(before)
    assert changed == 4


def test_a_folder_and_a_tar_of_it_are_the_same_data(tmp_path, config):
    first = identified(config, tmp_path / "results")
    for split in ("train", "test"):
        (tmp_path / "tars").mkdir(exist_ok=True)
        shutil.make_archive(str(tmp_path / "tars" / split), "tar", tmp_path / "pets" / split)
    assert identified(at(config, tmp_path / "tars"), tmp_path / "results").run_id == first.run_id


def test_weights_are_known_by_content(tmp_path, tiny):
    model = build_backbone(tiny).checkpoint_module
    (tmp_path / "elsewhere").mkdir()
    torch.save(model.state_dict(), tmp_path / "w.pth")
    shutil.copy(tmp_path / "w.pth", tmp_path / "elsewhere" / "v.pth")
    a, b = (edit(tiny, initial_checkpoint=str(tmp_path / name)) for name in ("w.pth", "elsewhere/v.pth"))
    first = identified(a, tmp_path)
    assert first.run_id == identified(b, tmp_path).run_id != identified(tiny, tmp_path).run_id
    assert str(tmp_path) not in canonical(first)
    assert first.init.source == a.init.source
    torch.save({name: tensor + 1 for name, tensor in model.state_dict().items()}, tmp_path / "w.pth")
    assert identified(a, tmp_path).run_id != first.run_id
    named = edit(tiny, pretrained="some_vit")
    assert identified(named, tmp_path) == named


def test_a_finished_run_is_found_wherever_data_and_results_lie(tmp_path, config, monkeypatch):
    record = train(config, tmp_path / "results", CPU)
    assert record.experiment().data.data_root == config.data.data_root
    assert record.run_id == identified(config, tmp_path / "results").run_id
    (tmp_path / "pets").rename(tmp_path / "animals")
    (tmp_path / "results").rename(tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept" / ".index")
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained again"))
    assert train(at(config, tmp_path / "animals"), tmp_path / "kept", CPU) == record
    shutil.rmtree(tmp_path / "animals")  # nor are the data needed to know
    held = config_in(tmp_path / "kept" / record.run_id)
    assert train(held, tmp_path / "kept", CPU) == record


def test_data_that_are_not_those_that_name_the_run_are_refused(tmp_path, config):
    named = identified(config, tmp_path / "results")
    (tmp_path / "pets" / "train" / "cat" / "0.jpg").write_bytes(picture(0, 99))
    with pytest.raises(ConfigError, match="are not those of this run"):
        train(named, tmp_path / "results", CPU)


# Runs of code from before there were fingerprints: their names hold paths


def as_before(config, results, loss=1.5):
    """The folder of a run that such code has finished."""
    folder = results / config.run_id
    folder.mkdir(parents=True)
    old = {name: value for name, value in to_flat(config).items() if not name.endswith("_digest")}
    (folder / RECIPE).write_text(json.dumps(old))
    torch.save({"model": {}}, folder / WEIGHTS)
    facts = {"tokens": 4, "parameters": 1, "flops_per_image": 1.0, "peak_memory": 1, "images_per_second": 1.0}
    record = {
        **facts,
        "run_id": config.run_id,
        "group": config.group,
        "recipe": old,
        "status": "finished",
        "test_loss": loss,
        "metrics": {"top1": 40.0},
        "wall_time": 1.0,
    }
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_a_run_from_before_is_found_and_not_trained_again(tmp_path, config, monkeypatch):
    results = tmp_path / "results"
    folder = as_before(config, results)
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained again"))
    assert train(config, results, CPU).run_id == folder.name
    (tmp_path / "pets").rename(tmp_path / "pets_")
    assert train(config, results, CPU).run_id == folder.name  # the data need not be there
    (tmp_path / "other").mkdir()
    (tmp_path / "pets_").rename(tmp_path / "other" / "pets")
    assert train(at(config, tmp_path / "other" / "pets"), results, CPU).run_id == folder.name


def test_another_folder_of_ones_own_is_not_taken_for_that_of_a_run_from_before(tmp_path, config):
    """Nothing but its name says what was in the old one: two that are both there are two."""
    results = tmp_path / "results"
    as_before(config, results)
    (tmp_path / "b").mkdir()
    shutil.copytree(tmp_path / "pets", tmp_path / "b" / "pets")
    (tmp_path / "b" / "pets" / "train" / "cat" / "0.jpg").write_bytes(picture(0, 99))
    other = identified(at(config, tmp_path / "b" / "pets"), results)
    assert folder_of(other, results) == results / other.run_id
    assert not folder_of(other, results).exists()


def test_a_set_that_everybody_has_alike_is_taken_by_its_name(tmp_path, config):
    results = tmp_path / "results"
    folder = as_before(edit(config, dataset="cifar10", data_root="/data/old/cifar10"), results)
    new = identified(edit(config, dataset="cifar10"), results)
    assert new.data.data_digest
    assert folder_of(new, results) == folder


def test_a_run_from_before_that_was_cut_off_goes_on_under_its_name(tmp_path, config):
    results = tmp_path / "results"
    (results / config.run_id).mkdir(parents=True)
    (results / config.run_id / RECIPE).write_text(canonical(config))
    assert identified(config, results) == config
    assert train(config, results, CPU).run_id == config.run_id
    assert identified(config, results) != config  # from now on it is found by its record
    assert train(config, results, CPU).run_id == config.run_id
    assert [path.name for path in results.iterdir() if path.name != ".index"] == [config.run_id]


def test_old_and_new_runs_of_one_law_are_of_one_group(tmp_path, config):
    results = tmp_path / "results"
    as_before(at(edit(config, patch_size=16), "/mnt/old/pets"), results)
    as_before(at(edit(config, patch_size=4), "/elsewhere/pets"), results)
    train(config, results, CPU)
    runs = load(results)
    frame = runs.frame
    assert frame["group"].nunique() == frame["family"].nunique() == 1
    assert frame["group"].iloc[0] == identified(config, results).group
    assert len({series(row) for row in frame.to_dict("records")}) == 1
    ((group,), refused) = own_groups(runs)
    assert (group.patches, refused) == (3, {})


def test_old_runs_that_may_be_of_either_of_two_data_sets_stay_alone(tmp_path, config):
    results = tmp_path / "results"
    as_before(at(edit(config, patch_size=16), "/mnt/old/pets"), results)
    train(config, results, CPU)
    (tmp_path / "pets" / "train" / "cat" / "0.jpg").write_bytes(picture(0, 99))
    train(config, results, CPU)
    assert load(results).frame["group"].nunique() == 3


def test_the_next_stage_finds_the_run_before_it_by_content(tmp_path, config):
    results = tmp_path / "results"
    chain = linked([edit(config, stage="pretrain"), edit(config, stage="finetune", lr=1e-4)])
    first, second = with_fingerprints(chain, results).values()
    assert second.predecessor == first
    assert str(tmp_path) not in canonical(second)
    train(first, results, CPU)
    assert find_start(second, results) == results / first.run_id
    (tmp_path / "pets").rename(tmp_path / "moved")
    moved = linked([at(stage, tmp_path / "moved") for stage in (edit(config, stage="pretrain"), chain[1])])
    assert [r.run_id for r in with_fingerprints(moved, results).values()] == [first.run_id, second.run_id]


def test_a_run_on_other_data_finds_the_one_that_it_starts_from(tmp_path, config):
    """As ADE20K's from ImageNet's, whose recipe is written down before anybody has seen the data."""
    results = tmp_path / "results"
    before = edit(config, dataset="imagenet")
    train(before, results, CPU)
    after = make_config(
        init=FromRun(config=edit(before, data_root="imagenet")), num_classes=2, img_size=16, patch_size=8
    )
    found = identified(after, results)
    assert find_start(found, results) == results / identified(before, results).run_id
    assert found.predecessor.data.data_digest == identified(before, results).data.data_digest
    with pytest.raises(ConfigError, match="is not finished"):
        find_start(edit(after, init=FromRun(config=edit(before, data_root="imagenet", lr=1.0))), results)


# Folders that were renamed or copied


def test_a_renamed_folder_is_the_run_that_its_record_says(tmp_path, tiny, monkeypatch):
    record = train(tiny, tmp_path, CPU)
    (tmp_path / record.run_id).rename(tmp_path / "my best run")
    monkeypatch.setattr(training, "_train", lambda *_: pytest.fail("trained again"))
    assert train(tiny, tmp_path, CPU) == record
    runs = load(tmp_path)
    assert list(runs.frame["run_id"]) == [record.run_id]
    assert runs.frame["folder"].iloc[0].endswith("my best run")
    assert runs.corrupt == ()
    shutil.copytree(tmp_path / "my best run", tmp_path / record.run_id)
    runs = load(tmp_path)
    assert list(runs.frame["folder"]) == [str(tmp_path / record.run_id)]
    (one,) = runs.corrupt
    assert one.folder == "my best run"
    assert "a copy of that in" in one.reason


def test_a_renamed_run_that_was_cut_off_is_named(tmp_path, tiny):
    (tmp_path / "my run").mkdir()
    write_config(tiny, tmp_path / "my run")
    (tmp_path / "my run" / "last.ckpt").write_bytes(b"")
    said = []
    train(tiny, tmp_path, CPU, lambda event: said.append(event.text))
    assert any(f"rename it {tiny.run_id}" in text for text in said)


# Commands


def test_what_print_recipe_shows_of_a_run_is_read_again_without_its_fingerprints(tmp_path, capsys):
    (config,) = resolve("ade20k.adventurer_tiny", 8, {})
    known = edit(config.predecessor, data_digest="0123456789abcdef")
    folder = open_run(edit(config, data_digest="0123456789abcdef", init=FromRun(config=known)), tmp_path)
    assert run.main([str(folder), "--print-recipe"]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    again, _ = run.arguments(["ade20k.adventurer_tiny", f"--config={tmp_path / 'printed.yaml'}"])
    assert again == [config]


def test_a_dry_run_goes_by_what_is_recorded_and_reads_nothing(tmp_path, config, capsys):
    results = tmp_path / "results"
    record = train(config, results, CPU)
    shutil.rmtree(tmp_path / "pets")
    shutil.rmtree(results / ".index")
    words = [
        "shapes.deit_nano",
        "--patch=8",
        "--data=folder",
        f"--data-root={(config.data.data_root or '')}",
        "--num-classes=2",
    ]
    words += ["--batch=4", "--epochs=1", "--train-images=0", "--test-images=0", "--lr=0.002", "--warmup-epochs=1"]
    words += ["--position=learned", f"--results={results}", "--dry-run"]
    assert sweep.main(words) == 0
    assert f"test loss {record.test_loss:.4f}" in capsys.readouterr().out
    assert not (results / ".index").exists()


# Whose runs are not finished


def test_unfinished_and_corrupt_runs_are_told_of_their_own_group_alone(tmp_path, config):
    """Their names begin alike: a staged run's has its stage, which its group has not; another group's differs at the
    end."""
    base = make_config(stage="finetune")
    for patch in (16, 8, 4):
        as_before(edit(base, patch_size=patch, lr=1e-3), tmp_path)
        as_before(edit(base, patch_size=patch, lr=2e-3), tmp_path)
    ours = edit(base, patch_size=2, lr=1e-3)
    (tmp_path / ours.run_id).mkdir()
    write_config(ours, tmp_path / ours.run_id)
    torn = as_before(edit(base, patch_size=1, lr=2e-3), tmp_path)
    (torn / RECORD).write_text("{")
    groups, _ = own_groups(load(tmp_path))
    dropped = {group.held["lr"]: group.dropped for group in groups}
    assert dropped == {1e-3: (f"{ours.run_id}: not finished",), 2e-3: (f"{torn.name}: corrupt record",)}
