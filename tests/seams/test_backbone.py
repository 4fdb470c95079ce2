"""A family of backbones is added from outside the library: every task trains it, and its weights are loaded again."""

from collections.abc import Sequence
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, nn

from scaling.backbones.base import Backbone, Features
from scaling.backbones.init import initialise_by_name
from scaling.backbones.patch_embeds import build_patch_embed
from scaling.backbones.registry import FAMILIES, build_backbone
from scaling.config.edit import edit, make_config
from scaling.config.experiment import ExperimentConfig
from scaling.model_specs import MODEL_SPECS, ModelSpec
from scaling.runs.record import RunRecord


class Toy(Backbone):
    """Every token is mixed with the mean of its image by one linear layer per block."""

    def __init__(self, size: ModelSpec, image: int, patch: int) -> None:
        super().__init__(size.width, patch, size.depth)
        self.patch_embed = build_patch_embed("conv", 3, size.width, image, patch)
        self.blocks = nn.ModuleList(nn.Linear(2 * size.width, size.width) for _ in range(size.depth))

    def forward(self, image_BCHW: Tensor, blocks: Sequence[int] = (), patch_size: int | None = None) -> Features:
        x_BLD, layout = self.patch_embed(image_BCHW, patch_size)
        hidden = []
        for n, block in enumerate(self.blocks):
            x_BLD = x_BLD + block(torch.cat([x_BLD, x_BLD.mean(1, keepdim=True).expand_as(x_BLD)], 2)).tanh()
            if n in blocks:
                hidden.append(x_BLD)
        return Features(x_BLD, x_BLD.mean(1), layout, tuple(hidden))

    def initialise(self, seed: int) -> None:
        def draw(module, name):
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.reset_parameters()

        initialise_by_name(self, seed, draw)

    @property
    def checkpoint_module(self) -> nn.Module:
        return self


@pytest.fixture
def toy(monkeypatch) -> ExperimentConfig:
    monkeypatch.setitem(MODEL_SPECS, "toy_nano", ModelSpec("toy", 24, 2, 0, 24))
    monkeypatch.setitem(FAMILIES, "toy", lambda size, config: Toy(size, config.model.img_size, config.model.patch_size))
    return make_config(
        backbone="toy_nano", img_size=32, patch_size=8, epochs=1, global_batch_size=8, num_train=16, num_val=8
    )


TASKS = {
    "classify": {},
    "segment": {"num_classes": 4, "head": "linear", "max_objects": 3},
    "detect": {"head": "cascade_mask_rcnn", "head_channels": 8, "max_objects": 3},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_trains_it_and_its_weights_are_loaded_again(toy, trained, task):
    if task != "classify" and find_spec("mmdet") is None:
        pytest.skip("needs the extra dense")
    config = edit(toy, task=task, **TASKS[task])
    results = trained(config)
    record = RunRecord.load(results / config.run_id)
    assert record.status == "finished"
    assert record.test_loss > 0
    state = torch.load(results / config.run_id / "weights.pt", weights_only=True)["model"]
    again = build_backbone(edit(config, initial_checkpoint=str(results / config.run_id)))
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, state[name])
    fresh = build_backbone(config)
    assert not torch.equal(fresh.blocks[0].weight, state["blocks.0.weight"])


def test_the_registries_are_as_before_afterwards():
    assert "toy_nano" not in MODEL_SPECS
    assert list(FAMILIES) == ["deit", "deit3", "adventurer", "timm"]
