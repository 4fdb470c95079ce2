"""What a plan says about packed images before they are read, and what packing is compared with."""

import numpy as np
import pytest
from PIL import Image

from experiments import plan, sweep
from experiments.benchmarks.packing_overhead import predicted_overhead
from experiments.planning.predicted_packing import predicted_packing, training_sides
from experiments.recipes import folder, imagenet, shapes
from scaling.config.edit import edit, make_config
from scaling.data.datamodule import ImageDataModule


@pytest.fixture
def own(tmp_path):
    """A folder of 24 images of three shapes."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for n in range(24):
            path = tmp_path / "data" / part / "ab"[n % 2] / f"{n:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = ((16, 32, 3), (24, 24, 3), (40, 16, 3))[n % 3]
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
    recipe = edit(folder.deit_nano(8, 2, 24), data_root=str(tmp_path / "data"), augment="none", packing="sequences")
    return edit(recipe, global_batch_size=8, img_size=32, epochs=1)


def test_native_sizes_are_unknown_until_the_images_are_read_and_then_exact(own, tmp_path):
    results = tmp_path / "results"
    assert training_sides(own, results) is None
    assert predicted_packing(own, 8, None) is None
    data = ImageDataModule(own, results=results)
    data.setup()
    sides = training_sides(own, results)
    assert sorted(set(sides)) == [(16, 32), (24, 24), (40, 16)]
    tokens = places = rows = 0
    for batch in data.train_dataloader():
        tokens += sum(batch.rows.lengths)
        rows += len(batch.rows.rows)
        places += len(batch.rows.rows) * batch.rows.row_length
    found = predicted_packing(own, 8, sides)
    assert found.padding == pytest.approx(100 * (1 - tokens / places))
    assert found.images_per_sequence == 24 / rows
    assert found.tokens == tokens / 24


@pytest.mark.parametrize("packing_plan", ["first-fit", "balanced"])
def test_padding_of_few_steps_of_a_long_run_is_near_that_of_many(packing_plan):
    run = edit(shapes.deit_nano(2), packing="sequences", image_sizes="8-16", packing_plan=packing_plan)
    run = edit(run, sequence_length=256)
    one, other = (predicted_packing(edit(run, seed=seed), 32, None).padding for seed in (0, 1))
    assert one == pytest.approx(other, abs=1)
    assert (one > 5) == (packing_plan == "first-fit")


def test_a_plan_and_a_dry_run_say_what_packing_does(capsys, tmp_path):
    words = ["shapes.navit", "--backbone", "deit_nano", "--results", str(tmp_path)]
    assert plan.main([*words, "--gpu", "cpu"]) == 0
    planned = " ".join(capsys.readouterr().out.split())
    assert sweep.main([*words, "--dry-run"]) == 0
    dry = " ".join(capsys.readouterr().out.split())
    for text in (planned, dry):
        assert "deit_nano, shapes, at 8-16 px, patch 2: 0.0 % padding" in text
        assert "deit_nano, shapes, at 12 px, patch 2: images of one size are not packed" in text


def test_a_plan_of_unread_images_of_their_own_sizes_says_so(own, capsys, tmp_path):
    words = ["folder.deit_nano", "--patch", "8", "--data-root", own.data.data_root, "--augment", "none"]
    assert plan.main([*words, "--packing", "sequences", "--gpu", "cpu", "--results", str(tmp_path / "results")]) == 0
    assert "packing unknown until the images are read" in " ".join(capsys.readouterr().out.split())


def test_the_recipes_on_imagenet_have_the_paper_s_sizes():
    run = imagenet.navit_base(16)
    assert (run.packing.image_sizes, run.packing.size_measure, run.model.patch_size) == ("64-256", "area", 16)
    assert run.model.backbone == "deit_base"
    assert predicted_packing(run, 512, None).padding < 2


def test_the_overhead_of_one_mask_is_that_of_the_larger_square():
    config = make_config(backbone="deit_base", img_size=64, patch_size=4)  # 257 tokens of 768 channels, MLP ratio 4
    attention, rest = 4 * 257**2 * 768, 24 * 257 * 768**2
    assert predicted_overhead(config, 8) == pytest.approx((8 * attention + rest) / (attention + rest))
    linear = predicted_overhead(edit(config, backbone="adventurer_base", img_size=224), 8)
    assert linear == pytest.approx(1, abs=1e-3)
