"""folder.*: recipes for images of one's own, which count them; what a count says is said before torch is loaded."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import plan, run, sweep
from experiments.cli.resolve import recipes
from experiments.planning import cost_estimate, plan_report
from experiments.recipes import folder
from scaling import costs
from scaling.config.edit import edit
from scaling.costs.hardware import CARDS
from scaling.data.files.folder_survey import survey
from scaling.errors import ConfigError
from tests.coco_folder import json_path, read_json, write_folder, write_json
from tests.conftest import ROOT
from tests.data.test_hub_labels_are_looked_at_before_a_run import CLASSES, INT, hub, split  # noqa: F401
from tests.data.test_segmentation_data import blocks, write
from tests.pictures import picture, prepared, write_classes


@pytest.fixture
def pets(tmp_path):
    """60 images in 3 classes."""
    write_classes(tmp_path / "pets", ("ant", "bee", "cat"), train=15, test=5)
    return tmp_path / "pets"


def resolved(text, root):
    (config,), _ = run.arguments([*text.split(), "--data-root", str(root)])
    return config


def test_sixty_images_in_three_classes_are_a_run_of_a_thousand_steps(pets):
    config = resolved("folder.deit_nano --patch 8", pets)
    data = prepared(config)
    assert (config.data.num_classes, len(data.train_set), len(data.test_set)) == (3, 45, 15)
    assert data.names == ("ant", "bee", "cat")
    assert (data.steps_per_epoch, data.total_steps) == (11, 1001)


def test_the_commands_for_own_images_in_the_docs_work_as_written(pets, tmp_path):
    text = (ROOT / "docs" / "own_data.md").read_text().split("```")[1]
    commands = [line.split("#")[0].split() for line in text.strip().splitlines()]
    assert len(commands) == 4
    scenes, boxes = labelled(tmp_path / "scenes"), write_folder(tmp_path / "boxes")
    for _, script, name, *words in commands:
        root = scenes if "seg" in name else boxes if "det" in name else pets
        words = [str(root) if word == "DIR" else word for word in words]
        program = {"experiments/run.py": run, "experiments/sweep.py": sweep}[script]
        for config in program.arguments([name, *words])[0]:
            assert len(prepared(config).train_set) >= config.optim.global_batch_size


def test_a_subset_and_a_part_held_out_have_a_batch_that_suits_them(pets):
    for words in ("--train-images 6", "--val-split 0.5", "--train-images 9 --val-split 0.3"):
        config = resolved(f"folder.adventurer_nano --patch 8 {words}", pets)
        assert prepared(config).total_steps >= 1000 or config.schedule.epochs == 1000, words


def test_what_is_said_stands(pets):
    config = resolved("folder.deit_nano --patch 8 --epochs 2 --batch 5 --image 32 --lr 1e-4", pets)
    assert (config.schedule.epochs, config.optim.global_batch_size, config.model.img_size, config.optim.lr) == (
        2,
        5,
        32,
        1e-4,
    )
    with pytest.raises(ConfigError, match="all 1 training images have class 2: at least two classes are needed"):
        prepared(resolved("folder.deit_nano --patch 8 --train-images 1", pets))
    with pytest.raises(ConfigError, match="the data has 3 classes, the recipe 7; set --num-classes 3"):
        prepared(resolved("folder.deit_nano --patch 8 --num-classes 7", pets))


def labelled(root, top=3):
    for n in range(6):
        write(root, "train", f"n{n}", np.minimum(blocks(n), top))
    write(root, "test", "t", blocks(9))
    return root


def test_classes_of_pixels_are_those_of_the_list_or_of_all_labels(tmp_path):
    root = labelled(tmp_path / "a", top=2)  # the fourth class is in the test images alone
    assert resolved("folder.seg_nano --patch 8", root).data.num_classes == 4
    assert resolved("folder.seg_nano --patch 8 --ignore-index 0", root).data.num_classes == 3
    named = labelled(tmp_path / "b")
    (named / "classes.txt").write_text("sky\nsea\nsand\nship\nsun\n")
    config = resolved("folder.seg_nano --patch 8", named)
    assert (config.data.num_classes, prepared(config).names) == (5, ("sky", "sea", "sand", "ship", "sun"))


def test_labels_with_one_class_are_refused_with_what_would_do(tmp_path):
    for n, part in enumerate(("train", "test")):
        write(tmp_path, part, "a", np.where(blocks(n) > 1, 255, 0))
    with pytest.raises(ConfigError, match=r"one class, 0, where 255 is the ignore index; .* --ignore-index"):
        resolved("folder.seg_nano --patch 8", tmp_path)


def test_categories_of_coco_are_counted_and_images_without_an_object_are_not(tmp_path):
    root = write_folder(tmp_path)
    config = resolved("folder.det_nano --patch 16", root)
    assert (config.data.num_classes, survey("detect", "folder", str(root)).train_images) == (3, 5)
    data = read_json(root, "train2017")
    write_json(root, "train2017", {**data, "annotations": []})
    survey.cache_clear()
    with pytest.raises(ConfigError, match=f"{json_path(root, 'train2017')} has no object in any of its 6 images"):
        resolved("folder.det_nano --patch 16", root)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deit_nano", "--data-root DIR, containing train/CLASS/ and test/CLASS/"),
        ("seg_nano", "--data-root DIR, containing images/train/, annotations/train/"),
        ("det_nano", "--data-root DIR, containing annotations/instances_train.json"),
    ],
)
def test_without_a_folder_it_is_said_what_it_should_hold(name, said):
    for program in (run, sweep):
        with pytest.raises(ConfigError, match=said):
            program.arguments([f"folder.{name}", "--patch", "8"])


def test_one_class_is_no_task(pets, tmp_path):
    write_classes(tmp_path / "one", ("ant",), train=3, test=1)
    with pytest.raises(
        ConfigError, match=r"all training images in .*one \(ant/0.jpg is the first image\) have one class"
    ):
        resolved("folder.deit_nano --patch 8", tmp_path / "one")


def test_hugging_face_sets_are_counted_too(hub):  # noqa: F811
    for feature in (CLASSES, INT):
        survey.cache_clear()
        hub(train=split([0, 1, 2], feature, n=40), test=split([0, 1, 2], feature))
        (config,), _ = run.arguments(["folder.deit_nano", "--patch", "8", "--data", "hfds/pets"])
        data = prepared(config)
        assert (config.data.num_classes, config.optim.global_batch_size, len(data.train_set)) == (3, 4, 40)
    with pytest.raises(ConfigError, match=r"hfds/pets has one label per image: task segment needs a folder"):
        run.arguments(["folder.seg_nano", "--patch", "8", "--data", "hfds/pets"])


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (
            ("ant", "bee"),
            "has no train images: a folder or .tar named train or .* is expected, with one folder per",
        ),
        (("train", "test"), "train gives no images in class folders"),
        (("pets/train/ant", "pets/test/ant"), "has no train images"),
    ],
)
def test_another_layout_is_told_the_one_that_is_meant(tmp_path, layout, said):
    for below in layout:
        (tmp_path / below).mkdir(parents=True)
        (tmp_path / below / "0.jpg").write_bytes(picture(0, 0))
    with pytest.raises(ConfigError, match=said):
        resolved("folder.deit_nano --patch 8", tmp_path)


@given(st.integers(1, 3000), st.sampled_from([folder.deit_nano, folder.seg_nano, folder.det_nano]))
def test_every_number_of_images_has_a_batch_and_steps_enough(images, recipe_of):
    config = recipe_of(8, classes=2, train_images=images)
    steps = images // config.optim.global_batch_size
    assert steps * config.schedule.epochs >= folder.STEPS
    assert steps >= min(folder.OF_EPOCH, images // folder.FEWEST)
    assert config.group == recipe_of(4, classes=2, train_images=images).group


def test_what_a_count_says_is_said_before_torch_is_loaded(pets, tmp_path):
    """In an interpreter of its own: what is imported is the subject."""
    small = "--data folder --image 64 --patch 8"
    words = {
        f"shapes.deit_nano {small} --num-classes 37": "the data has 3 classes, the recipe 37; set --num-classes 3",
        f"shapes.deit_nano {small} --num-classes 3": "16384 images requested, 45 available; --num-train 45 or fewer",
        f"shapes.deit_nano {small} --num-classes 3 --train-images 0": "2048 images requested, 15 available; --num-val",
        f"folder.deit_nano {small} --batch 64": "batch 64 is larger than the 45 training images; --global-batch",
        f"folder.deit_nano {small} --val-split 1e-9": "val_split 1e-09 holds out none of the 45",
    }
    code = (
        "import json, sys\n"
        "from experiments import run, sweep\n"
        "from scaling.errors import ConfigError\n"
        "for words, said in json.loads(sys.argv[1]).items():\n"
        "    for program in (run, sweep):\n"
        "        try:\n"
        "            program.main([*words.split(), '--data-root', sys.argv[2], '--results', sys.argv[3]])\n"
        "        except ConfigError as e:\n"
        "            assert said in str(e), (words, e)\n"
        "        else:\n"
        "            raise AssertionError(words)\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)\n"
    )
    results = tmp_path / "results"
    subprocess.run([sys.executable, "-c", code, json.dumps(words), str(pets), str(results)], check=True, cwd=ROOT)
    assert not results.exists()


def test_a_plan_counts_the_images_that_are_here_and_says_no_hours_where_none_are(pets, tmp_path):
    words = ["folder.deit_nano", "--patch", "16", "--epochs", "2", "--results", str(tmp_path)]
    on = cost_estimate.Device(CARDS["a100"])
    (found,) = cost_estimate.chains(plan.arguments([*words, "--data-root", str(pets)])[0], on)
    (one,) = found.runs
    flops = costs.recipe_step_flops(one.run)
    assert one.epoch_flops == 45 * flops
    (half,) = cost_estimate.chains(plan.arguments([*words, "--data-root", str(pets), "--val-split", "0.5"])[0], on)
    kept = len(prepared(half.runs[0].run).train_set)
    assert half.runs[0].epoch_flops == kept * flops < 45 * flops
    nowhere = edit(one.run, data_root=str(tmp_path / "nowhere"))
    said = plan_report.total_line([cost_estimate.forecast(nowhere, on)], on)
    assert said == "total: 1 run without an estimate of hours"


def test_the_recipes_of_a_folder_build_without_one():
    for name, recipe_of in recipes().items():
        if name.startswith("folder."):
            assert edit(recipe_of(8), patch_size=4) == recipe_of(4)
