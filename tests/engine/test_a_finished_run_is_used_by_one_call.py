"""scaling.inference.load: the model of a finished run, with its classes' names and the way images go into it."""

import json
import math
import shutil
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from scaling.config.edit import edit, make_config
from scaling.errors import ConfigError
from scaling.inference import Trained, load
from scaling.runs.record import RECORD, WEIGHTS, RunRecord
from tests.pictures import prepared, write_classes


@pytest.fixture(scope="module")
def run(tmp_path_factory, trained):
    """A run on class folders, and its images."""
    root = tmp_path_factory.mktemp("pets")
    write_classes(root, ("ant", "bee", "cat"), train=4, test=2)
    config = make_config(
        dataset="folder",
        data_root=str(root),
        img_size=16,
        patch_size=8,
        num_classes=3,
        global_batch_size=4,
        epochs=4,
        crop_pct=0.875,
    )
    (folder,) = trained(config).glob("classify-*")
    return folder, root


def test_it_gives_the_records_loss_and_top1_of_the_test_images(run):
    folder, root = run
    model, record = load(folder), RunRecord.load(folder)
    assert model.names == ("ant", "bee", "cat") == tuple(record.class_names)
    files = sorted((root / "test").glob("*/*.jpg"))
    logits_BK = torch.cat([model.module(model.image(file)) for file in files])
    label_B = torch.tensor([model.names.index(file.parent.name) for file in files])
    assert not logits_BK.requires_grad
    assert math.isclose(cross_entropy(logits_BK, label_B).item(), record.test_loss, rel_tol=1e-4)
    assert math.isclose(
        100 * (logits_BK.argmax(1) == label_B).float().mean().item(), record.metrics["top1"], abs_tol=0.1
    )
    with Image.open(files[0]) as opened:
        assert torch.equal(model.image(opened), model.image(files[0]))


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (make_config(task="segment", img_size=16, patch_size=8, resize_short=24, num_classes=4), (24, 36)),
        (
            make_config(
                task="detect",
                head="cascade_mask_rcnn",
                img_size=32,
                patch_size=8,
                resize_short=40,
                max_long=50,
                num_classes=3,
            ),
            (33, 50),
        ),
    ],
)
def test_an_image_goes_in_as_it_is_evaluated(config, size):
    image = Trained(SimpleNamespace(), config, ()).image(Image.new("RGB", (120, 80), (1, 2, 3)))
    assert (tuple(image.shape), image.dtype) == ((1, 3, *size), torch.uint8)
    assert image[0, :, 0, 0].tolist() == [1, 2, 3]


def test_what_is_no_finished_run_is_said_in_a_line(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "copy")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match=f"has no {WEIGHTS} any more"):
        load(folder)
    values = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(
        json.dumps({**values, "status": "failed", "test_loss": None, "failure": {"reason": "nan"}})
    )
    with pytest.raises(ConfigError, match=r"failed \(nan\)"):
        load(folder)
    (folder / RECORD).unlink()
    with pytest.raises(ConfigError, match="is no finished run"):
        load(folder)


def test_records_of_before_have_the_names_that_their_recipe_has(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "copy")
    values = json.loads((folder / RECORD).read_text())
    del values["class_names"]
    (folder / RECORD).write_text(json.dumps(values))
    assert load(folder).names == ()
    values["config"]["data"] |= {"class_names": list("abc"), "num_classes": 3}
    (folder / RECORD).write_text(json.dumps(values))
    assert load(folder).names == ("a", "b", "c")
    for wrong in ([1, 2], "abc"):
        (folder / RECORD).write_text(json.dumps({**values, "class_names": wrong}))
        with pytest.raises(ConfigError, match="class_names is"):
            load(folder)


def test_what_a_loader_saw_is_what_one_image_is(run):
    folder, root = run
    model = load(folder)
    data = prepared(edit(model.config, data_root=str(root)))
    (batch, *_) = list(data.test_dataloader())
    first = sorted((root / "test" / "ant").glob("*.jpg"))[0]
    assert torch.equal(batch.pixels[:1], model.image(first))
