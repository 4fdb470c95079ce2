"""Sharded weights are gathered by all devices or by none: an evaluation makes as many forward passes on each."""

from datetime import timedelta
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh

from scaling.config.edit import edit, make_config
from scaling.data.batch import ClassTargets, GroundTruth, InstanceTargets, MaskTargets
from scaling.data.datamodule import ImageDataModule
from scaling.engine.fsdp import shard_when_built
from scaling.tasks.classification import ClassificationTask
from scaling.tasks.detection import DetectionTask
from scaling.tasks.segmentation import SegmentationTask
from tests.pictures import batch_of
from tests.served import context

SIZES = [(16, 16), (16, 40), (16, 40), (40, 40)] + [(24, 16)] * 6 + [(16, 16), (40, 16), (16, 16)]  # height, width
WORLD, PATIENCE = 2, 240  # [s]


@pytest.fixture
def config(tmp_path):
    """13 test images of unlike sizes, seen in windows: 7 images for one device and 6 for the other, in unlike numbers
    of batches, which make unlike numbers of windows."""
    for split, sizes in (("training", [(16, 16)] * 4), ("validation", SIZES)):
        for number, (height, width) in enumerate(sizes):
            noise = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
            for folder, pixels in (("images", noise), ("annotations", noise[:, :, 0] // 64)):
                path = tmp_path / folder / split / f"{number:02}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    what = {
        "task": "segment",
        "dataset": "folder",
        "data_root": str(tmp_path),
        "on_bad_image": "skip",
        "slide_stride": 12,
    }
    return make_config(
        **what,
        backbone="deit_nano",
        img_size=16,
        patch_size=8,
        num_classes=4,
        global_batch_size=4,
        epochs=1,
        pos_embed="sincos",
    )


def evaluated(config, rank=0, world=1):
    """The results of an evaluation, by this rank of a world that shares the weights."""
    data = ImageDataModule(config)
    data.trainer = SimpleNamespace(world_size=world, global_rank=rank)
    data.setup()
    read = data.test_set.read

    def lost(number):
        if number == 2:  # it could be read when the run began
            raise OSError("gone")
        return read(number)

    data.test_set.read = lost
    task = SegmentationTask(config, 1, data.names).eval()
    if world > 1:
        task._device_mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("data_parallel",))
        shard_when_built(task)
        task.configure_model()
    with torch.no_grad():
        for number, batch in enumerate(data.test_dataloader()):
            task.test_step(batch, number)
    return task.compute_metrics()


def _take_part(config, rank, meet, pipe):
    torch.set_num_threads(1)
    patience = timedelta(seconds=PATIENCE)
    distributed.init_process_group("gloo", f"file://{meet}", timeout=patience, rank=rank, world_size=WORLD)
    pipe.send(evaluated(config, rank, WORLD))
    distributed.destroy_process_group()


def test_devices_with_unlike_numbers_of_batches_and_windows_end_with_the_numbers_of_one(config, tmp_path):
    pipes = [context().Pipe(duplex=False) for _ in range(WORLD)]
    ranks = [
        context().Process(target=_take_part, args=(config, rank, tmp_path / "meet", pipe))
        for rank, (_, pipe) in enumerate(pipes)
    ]
    for process in ranks:
        process.start()
    try:
        wanted = evaluated(config)
        assert wanted["skipped_test_later"] == 1
        for ours, _ in pipes:
            assert ours.poll(PATIENCE), "a process died or hangs"
            assert ours.recv() == pytest.approx(wanted, rel=1e-5)
    finally:
        for process in ranks:
            process.kill()
            process.join()


def _images(n, height=16, width=16):
    return torch.zeros(n, 3, height, width, dtype=torch.uint8)


def _classified(config, n):
    config = edit(config, task="classify", slide_stride=None)
    return ClassificationTask(config, 1), batch_of(config, _images(n), ClassTargets(torch.zeros(n, dtype=torch.int64)))


def _segmented(config, n):
    label_BHW = torch.zeros(n, 16, 40, dtype=torch.uint8)
    return SegmentationTask(config, 1), batch_of(config, _images(n, 16, 40), MaskTargets(label_BHW))


def _detected(config, n):
    detect = edit(
        config, task="detect", head="cascade_mask_rcnn", head_channels=8, img_size=64, patch_size=16, slide_stride=None
    )
    nothing = torch.zeros(0)
    there = GroundTruth(0, (64, 64), nothing.view(0, 4), nothing.long(), nothing.bool(), nothing, [])
    boxes = [torch.zeros(0, 4)] * n
    none, masks = [torch.zeros(0, dtype=torch.int64)] * n, [torch.zeros(0, 64, 64, dtype=torch.uint8)] * n
    size_B2, crowd = torch.full((n, 2), 64), [torch.zeros(0, dtype=torch.bool)] * n
    targets = InstanceTargets(size_B2, boxes, none, masks, crowd, (there,) * n)
    return DetectionTask(detect, 1), batch_of(detect, _images(n, 64, 64), targets)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
@pytest.mark.parametrize("made", [_classified, _segmented, _detected])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_device_with_fewer_passes_makes_up_for_them_and_they_count_nowhere(config, monkeypatch, made, n):
    if made is _detected and find_spec("mmdet") is None:
        pytest.skip("needs the extra dense")
    task, batch = made(config, n)
    passes = []
    task.eval().backbone.register_forward_hook(lambda *_: passes.append(1))

    def evaluate():
        passes.clear()
        with torch.no_grad():
            task.test_step(batch, 0)
        return len(passes), {k: v for k, v in task.compute_metrics().items() if v == v}  # nan: of no image

    own, wanted = evaluate()
    assert own == (0 if n == 0 else 3 if made is _segmented else 1)  # windows of 16 px 12 px apart in 40 px
    task.sharded = True
    monkeypatch.setattr("scaling.tasks.sharded_passes.distributed.all_reduce", lambda passes, op: passes.fill_(4))
    assert evaluate() == (4, wanted)
