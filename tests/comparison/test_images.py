"""Models are compared on the same images: the same subset at every size, prepared as the run's evaluation does it."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from scaling.comparison.images import images_below, images_of_run
from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.runs.record import RunRecord
from tests.pictures import prepared


def of_size(*sizes):
    return [SimpleNamespace(img_size=size) for size in sizes]


def test_all_test_images_of_a_run_are_those_of_its_evaluation(trained, tiny):
    config = edit(tiny, epochs=1, num_train=16)
    (found,) = images_of_run(of_size(16, 16), trained(config) / config.run_id, 40).values()
    assert torch.equal(found, torch.cat([batch.pixels for batch in prepared(config).test_dataloader()]))


def grey(folder, names):
    """Images of one grey value each, different in all, by the order of their names."""
    for n, name in enumerate(sorted(names)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40 + n, 32), (20 * n,) * 3).save(folder / name)


def values(images):
    """The grey value of each image."""
    assert torch.equal(images.amin((1, 2, 3)), images.amax((1, 2, 3)))
    return (images[:, 0, 0, 0] // 20).tolist()


def test_another_size_has_the_same_images(tmp_path, monkeypatch):
    names = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in "ab" for n in range(3)]
    grey(tmp_path, names)
    config = make_config(
        dataset="folder", data_root=str(tmp_path), img_size=16, patch_size=8, num_classes=2, global_batch_size=2
    )
    monkeypatch.setattr(RunRecord, "load", lambda folder: SimpleNamespace(experiment=lambda: config))
    found = images_of_run(of_size(12, 16), tmp_path / "run", 4)
    assert {size: tuple(images.shape) for size, images in found.items()} == {12: (4, 3, 12, 12), 16: (4, 3, 16, 16)}
    assert len(set(values(found[12]))) == 4
    assert values(found[12]) == values(found[16])


def test_images_of_a_folder_are_a_fixed_subset_of_all_below_it(tmp_path):
    grey(tmp_path, [f"{part}/{n}.png" for part in ("a", "b/c") for n in range(5)])
    (tmp_path / "notes.txt").write_text("no image")
    assert values(images_below(of_size(16), tmp_path, 10)[16]) == list(range(10))
    some = images_below(of_size(16, 8), tmp_path, 6)
    assert values(some[16]) == values(some[8]) == sorted(set(values(some[8])))
    assert torch.equal(some[16], images_below(of_size(16), tmp_path, 6)[16])


def test_a_folder_without_images_or_with_a_damaged_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no images"):
        images_below(of_size(16), tmp_path, 4)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"unreadable image .*a\.jpg"):
        images_below(of_size(16), tmp_path, 1)
    with pytest.raises(ConfigError, match="4 images requested, 1 available: --images 1 or fewer"):
        images_below(of_size(16), tmp_path, 4)


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_images_of_dense_tasks_are_centre_crops(task, tmp_path, monkeypatch):
    config = make_config(
        task=task,
        img_size=32,
        patch_size=8,
        num_classes=4 if task == "segment" else 3,
        num_train=8,
        num_val=8,
        global_batch_size=4,
        **({"head": "cascade_mask_rcnn", "resize_short": 40} if task == "detect" else {"resize_short": 40}),
    )
    monkeypatch.setattr(RunRecord, "load", lambda folder: SimpleNamespace(experiment=lambda: config))
    found = images_of_run(of_size(32), tmp_path / "run", 5)
    assert tuple(found[32].shape) == (5, 3, 32, 32)
    assert found[32].float().std() > 10
