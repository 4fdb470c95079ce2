"""A start lists its data once; what comes after it sees every change."""

import pytest
from PIL import Image

from scaling.config.edit import edit, make_config
from scaling.config.runtime import RuntimeConfig
from scaling.data.coco import coco_json
from scaling.data.files import class_folders, segmentation_folder
from scaling.data.files.listing_cache import forget_listings, listed_once, listing
from scaling.engine.train import train
from tests.coco_folder import recipe_of, write_folder
from tests.pictures import write_classes

CPU = RuntimeConfig(accelerator="cpu", threads=1, num_workers=0)


def classes(root):
    write_classes(root, ("cat", "dog"), train=4, test=2)
    return make_config(
        dataset="folder", data_root=str(root), img_size=16, patch_size=8, num_classes=2, global_batch_size=4, epochs=1
    )


def scenes(root):
    for folder in ("train", "test"):
        for k in range(4):
            for part, value in (("images", "RGB"), ("annotations", "L")):
                (root / part / folder).mkdir(parents=True, exist_ok=True)
                Image.new(value, (8, 8), k % 2 if value == "L" else (9 * k, 0, 0)).save(
                    root / part / folder / f"{k}.png"
                )
    r = make_config(
        task="segment",
        dataset="folder",
        data_root=str(root),
        img_size=8,
        patch_size=8,
        num_classes=2,
        global_batch_size=4,
        epochs=1,
    )
    return edit(r, augment="none", pos_embed="sincos")


def objects(root):
    return edit(recipe_of(write_folder(root)), epochs=1, head_channels=8)


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
    config, made = write(tmp_path / "data"), []
    call = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: made.append(given) or call(*given))
    monkeypatch.setattr("scaling.engine.train._build", lambda *_: pytest.fail("opened"))  # nothing is trained
    for number in (1, 2):  # another start lists again
        with pytest.raises(pytest.fail.Exception, match="opened"):
            train(config, tmp_path / "results", CPU)
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
