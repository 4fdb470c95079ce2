"""predict.py: what it prints for the test images is what the run's own evaluation found for them."""

import json
import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import predict
from scaling.config.edit import edit, make_config
from scaling.config.initialization import FromFile
from scaling.config.runtime import RuntimeConfig
from scaling.engine.predict import Place, export_detections
from scaling.engine.train import TASKS, train
from scaling.errors import ConfigError
from scaling.inference import load
from scaling.runs.record import RunRecord
from scaling.tasks.segmentation import scores
from tests.coco_folder import recipe_of, write_folder

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)
NAMES = ("ant", "bee", "cat")
SIZES = ((20, 20), (17, 31), (40, 23), (64, 64))  # width, height
dense = pytest.mark.skipif(find_spec("mmdet") is None, reason="needs the extra dense")


def noise(number, size):
    width, height = size
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8))


def lines(capsys):
    """What was printed: parsed lines of stdout, and stderr."""
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def run_of(config, results):
    return results / train(config, results, CPU).run_id


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Class folders with images of several sizes."""
    root = tmp_path_factory.mktemp("pets")
    for split, count in (("train", 4), ("test", 3)):
        for label, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise(10 * label + i, SIZES[(label + i) % 4]).save(root / split / name / f"{i}.png")
    return root


def classifier(root, **fields):
    return make_config(
        dataset="folder",
        data_root=str(root),
        backbone="deit_pico",
        img_size=16,
        patch_size=4,
        num_classes=3,
        global_batch_size=4,
        epochs=2,
        crop_pct=0.875,
        **fields,
    )


@pytest.fixture(scope="module")
def flexible(images, tmp_path_factory):
    """A run at patches 4, 8 and 16."""
    fields = {"patch_embed": "flexible", "step_shapes": "random_patch", "pos_embed": "grid"}
    return run_of(classifier(images, **fields), tmp_path_factory.mktemp("results"))


def mean_loss(found):
    """Of images in folders of their classes [nats]."""
    probabilities = [
        {c["class"]: c["probability"] for c in one["classes"]}[one["file"].split("/")[-2]] for one in found
    ]
    return -np.log(probabilities).mean()


def test_probabilities_are_those_of_the_runs_evaluation_at_every_patch(flexible, images, capsys):
    evaluations = RunRecord.load(flexible).evaluations
    assert len(evaluations) == 3
    for row in evaluations:
        options = ["--patch", str(row["patch_size"]), "--json", "--batch", "4", "--accelerator", "cpu"]
        assert predict.main([str(flexible), str(images / "test"), *options]) == 0
        found, err = lines(capsys)
        assert (len(found), err) == (9, "")
        assert math.isclose(mean_loss(found), row["test_loss"], rel_tol=1e-5)
        best = [one["classes"][0]["class"] == one["file"].split("/")[-2] for one in found]
        assert math.isclose(100 * np.mean(best), row["metrics"]["top1"], rel_tol=1e-5)


def test_packed_images_have_their_own_sizes_as_in_the_evaluation(images, tmp_path, capsys):
    packed = run_of(classifier(images, packing="sequences", pos_embed="sincos", sequence_length=300), tmp_path)
    assert predict.main([str(packed), str(images / "test"), "--json", "--accelerator", "cpu"]) == 0
    assert math.isclose(mean_loss(lines(capsys)[0]), RunRecord.load(packed).test_loss, rel_tol=1e-5)


def test_a_table_has_the_classes_of_each_image_the_best_first(flexible, images, capsys):
    files = [str(images / "test" / "ant" / f"{i}.png") for i in (0, 1)]
    assert predict.main([str(flexible), *files, "--top", "3", "--accelerator", "cpu"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["file", "class", "probability"]
    assert [row.split()[0] for row in rows[::3]] == ["0.png", "1.png"]
    assert {row.split()[-2] for row in rows[:3]} == set(NAMES)
    shares = [float(row.split()[-1]) for row in rows[:3]]
    assert shares == sorted(shares, reverse=True)
    assert math.isclose(sum(shares), 1, abs_tol=2e-4)
    assert {len(row) for row in (header, *rows)} == {len(header)}


def test_progress_is_on_stderr_and_leaves_what_is_printed_alone(flexible, images, capsys, monkeypatch):
    words = [str(flexible), str(images / "test"), "--json", "--accelerator", "cpu"]
    assert predict.main(words) == 0
    plain = capsys.readouterr().out
    monkeypatch.setattr(predict, "SECONDS", -1.0)  # a line per image
    assert predict.main(words) == 0
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == (plain, "9 of 9 images")
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, to rich
    assert predict.main(words) == 0
    out, err = capsys.readouterr()
    assert out == plain
    assert "9/9" in err


def test_what_is_no_image_is_a_line_and_the_rest_is_predicted(flexible, tmp_path, capsys):
    (tmp_path / "a.jpg").write_text("no image")
    noise(0, (20, 20)).save(tmp_path / "b.png")
    (tmp_path / "notes.txt").touch()
    assert predict.main([str(flexible), str(tmp_path), "--json", "--accelerator", "cpu"]) == 0
    found, err = lines(capsys)
    assert [one["file"] for one in found] == [str(tmp_path / "b.png")]
    left_out, why, count = err.splitlines()
    assert "1 .txt" in left_out
    assert why == f"{tmp_path / 'a.jpg'}: not an image that Pillow can read"
    assert count == "1 of 2 files could not be read"
    assert predict.main([str(flexible), str(tmp_path / "a.jpg"), "--accelerator", "cpu"]) == 2
    assert capsys.readouterr() == ("", f"{why}\n")


def test_bad_input_is_a_line_with_a_remedy(flexible, images, tmp_path):
    image = str(images / "test" / "ant" / "0.png")
    (tmp_path / "0.png").touch()
    (tmp_path / "none").mkdir()
    for words, why in (
        ([str(tmp_path / "gone"), image], "no such file or folder; give the folder of a finished run"),
        ([image, image], "holds no model with its configuration; give"),
        ([str(tmp_path / "none"), image], "is no finished run"),
        ([str(flexible), str(tmp_path / "no.png")], "no such image or folder"),
        ([str(flexible), str(tmp_path / "none")], "no images in this folder"),
        ([str(flexible), image, str(tmp_path / "0.png")], "2 images are called 0.png"),
        ([str(flexible), image, "--patch", "5"], "patch 5 does not divide a 16 px image"),
        ([str(flexible), image, "--patch", "0"], "patch 0 is not a size"),
        ([str(flexible), image, "--out", image], "is a file; name a folder for the pictures"),
        ([str(flexible), image, "--top", "0"], "--top 0 must be at least 1"),
        ([str(flexible), image, "--out", str(tmp_path / "out")], "--out draws class maps and objects"),
    ):
        with pytest.raises(ConfigError, match=f"^[^\n]*{why}[^\n]*$"):
            predict.main([*words, "--accelerator", "cpu"])
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there_is_named(flexible, images, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no CUDA device; leave it out, or take cpu"):
        predict.main([str(flexible), str(images / "test"), "--accelerator", "cuda"])


def test_a_run_of_one_patch_size_takes_no_other(images, trained, tiny):
    (run,) = trained(tiny).glob("classify-*")
    with pytest.raises(ConfigError, match="this model has one patch size, 8 px; only flexible models take others"):
        predict.main([str(run), str(images / "test"), "--patch", "4", "--accelerator", "cpu"])


def test_initial_weights_are_not_read_again(flexible, tmp_path):
    """The file that a run started from may be gone, or on another machine."""
    config = replace(load(flexible).config, init=FromFile(initial_checkpoint=str(tmp_path / "gone.pth")))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "weights.pt").write_bytes((flexible / "weights.pt").read_bytes())
    record = json.loads((flexible / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "config": config.to_dict()}))
    image = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    assert torch.equal(load(folder).module(image), load(flexible / "weights.pt").module(image))


@dense
def test_class_maps_have_the_record_s_miou_and_are_drawn(tmp_path, capsys):
    root = tmp_path / "scenes"
    for split, count in (("train", 4), ("test", 4)):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for i, size in zip(range(count), SIZES, strict=False):
            noise(i, size).save(root / "images" / split / f"{i}.png")
            noise(i, size).convert("L").point(lambda v: v % 4).save(root / "annotations" / split / f"{i}.png")
    config = make_config(
        task="segment",
        dataset="folder",
        data_root=str(root),
        backbone="deit_pico",
        head="linear",
        img_size=24,
        patch_size=8,
        pos_embed="sincos",
        num_classes=4,
        global_batch_size=2,
        epochs=2,
    )
    run = run_of(config, tmp_path / "results")
    out = tmp_path / "out"
    words = [str(run), str(root / "images" / "test"), "--out", str(out), "--accelerator", "cpu"]
    assert predict.main([*words, "--json"]) == 0
    found, err = lines(capsys)
    assert [(one["width"], one["height"]) for one in found] == list(SIZES)
    assert all(math.isclose(sum(c["share"] for c in one["classes"]), 1) for one in found)
    assert err == f"4 pictures in {out}\n"
    trained, confusion = load(run), torch.zeros(4, 4)
    for i, size in enumerate(SIZES):
        file = root / "images" / "test" / f"{i}.png"
        class_HW = trained.module.class_map(trained.image(file), size[::-1])
        label_HW = torch.from_numpy(np.array(Image.open(root / "annotations" / "test" / f"{i}.png")))
        confusion += torch.bincount(4 * label_HW.flatten().long() + class_HW.flatten(), minlength=16).view(4, 4)
        with Image.open(out / f"{i}.png.png") as picture:
            assert picture.width > 240
    assert math.isclose(scores(confusion, "abcd")["miou"], RunRecord.load(run).metrics["miou"], rel_tol=1e-4)
    assert predict.main([*words[:2], "--accelerator", "cpu"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["file", "class", "pixels", "[%]"]


@dense
def test_objects_are_those_of_the_run_s_coco_results(tmp_path, capsys):
    root = write_folder(tmp_path / "data")
    config = edit(recipe_of(root), backbone="deit_pico", head_channels=8, pos_embed="sincos", max_steps=2)
    run = run_of(config, tmp_path / "results")
    export_detections(config, run, TASKS["detect"], Place(torch.device("cpu"), "32-true", 2, 0), lambda event: None)
    boxes, masks = (json.loads((run / f"detections_{kind}.json").read_text()) for kind in ("bbox", "segm"))
    assert predict.main([str(run), str(root / "val2017"), "--json", "--accelerator", "cpu"]) == 0
    found = [one for image in lines(capsys)[0] for one in image["objects"]]
    assert len(found) == len(boxes) > 0
    for one, box, mask in zip(found, boxes, masks, strict=True):
        x0, y0, x1, y1 = one["box"]
        assert [x0, y0, x1 - x0, y1 - y0] == pytest.approx(box["bbox"], abs=1e-3)
        assert one["score"] == pytest.approx(box["score"], abs=1e-5)
        assert one["mask"]["size"] == mask["segmentation"]["size"]
    out = tmp_path / "out"
    assert predict.main([str(run), str(root / "val2017"), "--out", str(out), "--accelerator", "cpu"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0].split()[:4] == ["file", "class", "score", "box"]
    assert sorted(path.name for path in out.iterdir()) == ["0.png.png", "1.png.png", "2.png.png"]
