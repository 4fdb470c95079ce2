"""A start lists its data once; what comes after it sees every change."""

from dataclasses import replace

import pytest
from PIL import Image

from scaling.data import class_folders, coco_json, segmentation_folder
from scaling.data.listing_cache import forget_listings, listed_once, listing
from scaling.engine.train import Settings, train
from scaling.recipe import Recipe
from tests.coco_folder import recipe_of, write_folder
from tests.pictures import write_classes

CPU = Settings(accelerator="cpu", threads=1, workers=0)


def classes(root):
    write_classes(root, ("cat", "dog"), train=4, test=2)
    return Recipe(data="folder", data_root=str(root), image=16, patch=8, classes=2, batch=4, epochs=1)


def scenes(root):
    for folder in ("train", "test"):
        for k in range(4):
            for part, value in (("images", "RGB"), ("annotations", "L")):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                Image.new(value, (8, 8), k % 2 if value == "L" else (9 * k, 0, 0)).save(
                    root / part / folder / f"{k}.png"
                )
    r = Recipe(task="segment", data="folder", data_root=str(root), image=8, patch=8, classes=2, batch=4, epochs=1)
    return replace(r, augment="none", position="sincos")


def objects(root):
    return replace(recipe_of(write_folder(root)), epochs=1, head_channels=8)


CASES = {
    "classes": (classes, class_folders, "files_below", 2),
    "scenes": (scenes, segmentation_folder, "files_below", 4),
    "objects": (objects, coco_json, "_parsed", 2),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_run_lists_each_folder_once(tmp_path, monkeypatch, kind):
    write, module, name, folders = CASES[kind]
    if kind != "classes":
        pytest.importorskip("mmseg")
    recipe, made = write(tmp_path / "data"), []
    call = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: made.append(given) or call(*given))
    monkeypatch.setattr("scaling.engine.train._build", lambda *_: pytest.fail("opened"))  # nothing is trained
    for number in (1, 2):  # another start lists again
        with pytest.raises(pytest.fail.Exception, match="opened"):
            train(recipe, tmp_path / "results", CPU)
        assert len(made) == number * folders


def test_a_value_is_kept_inside_the_block_alone():
    made = []

    @listing
    def count(name):
        made.append(name)
        return len(made)

    assert [count("a"), count("a")] == [1, 2]
    with listed_once():
        with listed_once():
            assert [count("a"), count("b"), count("a")] == [3, 4, 3]
        assert count("b") == 4
        forget_listings()
        assert count("b") == 5
    assert count("b") == 6
