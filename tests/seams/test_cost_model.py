"""A family's cost model is added from outside the library: plans, micro-batch estimates, tables and figures know it."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import pytest

from analysis.planning.cost_tables import by_patch, memory_by_patch
from analysis.planning.throughput_model import image_seconds
from analysis.plots.costs import parts_figure
from experiments import plan
from experiments.planning.cost_estimate import Device, forecast
from scaling import costs
from scaling.config.edit import edit, make_config
from scaling.config.model import POS_EMBEDS
from scaling.config.patch_embeds import PATCH_EMBEDS
from scaling.config.task import CLASSIFICATION_HEADS
from scaling.costs.base import Activations, Breakdown, EmbedInput, MemoryPolicy, PositionInput, TokenCount, equal_blocks
from scaling.costs.hardware import CARDS
from scaling.costs.registry import COST_MODELS, EMBED_COSTS, HEAD_COSTS, POSITION_COSTS
from scaling.costs.training_memory import PROGRAM
from scaling.engine.micro_batch import needed
from scaling.model_specs import MODEL_SPECS, ModelSpec
from tests.analysis.test_cost_model import record

TOY = ModelSpec("toy", width=32, depth=2, mlp=64, head_dim=8)


@dataclass(frozen=True)
class ToyCosts:
    """Tokens are mixed by their mean, without parameters; an MLP follows. No class token."""

    extra_tokens: int = 0

    def parameters(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        mlp = 2 * spec.width * spec.mlp + spec.mlp + spec.width
        positions = tokens.positions * spec.width
        blocks = spec.depth * mlp
        return Breakdown({"positions": positions, "blocks": blocks})

    def flops(self, spec: ModelSpec, tokens: TokenCount) -> Breakdown:
        mean, mlp = tokens.total * spec.width, 4 * tokens.total * spec.width * spec.mlp
        return Breakdown({"pooling": spec.depth * mean, "mlp": spec.depth * mlp})

    def activations(self, spec: ModelSpec, tokens: TokenCount, policy: MemoryPolicy, images: int) -> Activations:
        block = policy.number * tokens.total * (2 * spec.width + 2 * spec.mlp)
        return equal_blocks(spec, tokens, policy, block=block, backward=4 * tokens.total * spec.width)


@contextmanager
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODEL_SPECS, "toy_tiny", TOY)
        patch.setitem(COST_MODELS, "toy", ToyCosts())
        yield make_config(
            backbone="toy_tiny", img_size=32, patch_size=8, epochs=2, global_batch_size=64, num_classes=12
        )


@pytest.fixture
def toy():
    with registered() as config:
        yield config


def test_the_registries_are_as_before_afterwards():
    before = list(MODEL_SPECS), list(COST_MODELS)
    with registered():
        assert "toy" in COST_MODELS
    assert (list(MODEL_SPECS), list(COST_MODELS)) == before


def test_parameters_flops_and_memory_are_those_of_its_cost_model_and_the_head(toy):
    mlp = 2 * 32 * 64 + 64 + 32
    parameters = (3 * 8 * 8 * 32 + 32) + 16 * 32 + 2 * mlp + (32 * 12 + 12)
    assert costs.recipe_parameters(toy) == costs.parameters("toy_tiny", 32, 8, 12) == parameters
    assert costs.recipe_flops(toy) == 2 * 3 * 64 * 32 * 16 + 2 * (16 * 32 + 4 * 16 * 32 * 64) + 2 * 32 * 12
    pixels, block, stream = 5 * 3 * 32 * 32, 4 * 16 * (2 * 32 + 2 * 64), 4 * 16 * 32
    assert costs.activation_bytes(toy) == pixels + 2 * block + 2 * stream  # the last norm's input and output
    recomputed = costs.activation_bytes(toy, MemoryPolicy(grad_checkpointing=True))
    assert recomputed == pixels + 2 * stream + 2 * stream + block - stream


def test_a_micro_batch_is_estimated(toy):
    weights = 4 * costs.recipe_parameters(toy)
    assert needed(toy, 8, grad_checkpointing=False) == costs.step_bytes(toy, 8) + 3 * weights + PROGRAM


@pytest.mark.parametrize("head", ["linear", "upernet"])
def test_it_stands_under_every_head(toy, head):
    other = make_config(task="segment", head=head, backbone="toy_tiny", img_size=32, patch_size=8, head_channels=16)
    assert costs.recipe_flops(other) > costs.recipe_flops(toy) - 2 * 32 * 12
    assert costs.step_bytes(other, 2) > 0


def test_it_is_planned_and_calibrated_by_its_own_records(toy, tmp_path, capsys):
    words = ["shapes.deit_nano", "--backbone", "toy_tiny", "--image", "32", "--patch", "8,4", "--gpu", "a100"]
    assert plan.main([*words, "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "toy_tiny, shapes" in text
    assert "?" not in text.split("total:")[0]
    assert "no cost model" not in text
    plain = forecast(toy, Device(CARDS["a100"]))
    assert (plain.tokens, plain.parameters) == (16, costs.recipe_parameters(toy))
    rate = 1 / image_seconds(toy, CARDS["a100"], plain.micro_batch_size)
    gpu = {"gpus": ["NVIDIA A100-SXM4-80GB"], "devices": 1, "micro_batch": plain.micro_batch_size}
    record(toy, tmp_path, rate / 1.5, **gpu)
    assert plan.main([*words, "--results", str(tmp_path)]) == 0
    assert "hours of 2 runs calibrated by 1 record" in " ".join(capsys.readouterr().out.split())


def test_tables_and_figures_have_its_own_parts(toy):
    table = by_patch("toy_tiny", 32)
    assert (table["pooling"] == 2 * 32 * table["tokens"]).all()
    assert (table["attention"] == 0).all()
    (legend,) = parts_figure("toy_tiny", 32).legends
    assert "pooling" in [text.get_text() for text in legend.get_texts()]
    assert (memory_by_patch("toy_tiny", 32, "a100")["batch"] > 0).all()


def test_a_family_without_a_cost_model_has_unknown_costs(toy, monkeypatch, tmp_path, capsys):
    monkeypatch.delitem(COST_MODELS, "toy")
    monkeypatch.setattr("scaling.engine.counted_costs.counted_costs", lambda run: None)  # nor does torch count it
    assert costs.recipe_parameters(toy) == costs.recipe_flops(toy) == costs.step_bytes(toy, 8) == 0
    words = ["shapes.deit_nano", "--backbone", "toy_tiny", "--image", "32", "--patch", "8", "--gpu", "a100"]
    assert plan.main([*words, "--results", str(tmp_path)]) == 0
    assert "toy_tiny: no cost model for this backbone" in capsys.readouterr().out


def test_a_token_count_carries_dropped_and_extra_tokens():
    spec, deit = MODEL_SPECS["deit_nano"], COST_MODELS["deit"]
    whole = TokenCount(image=64, extra=1, positions=64)
    half, registers = whole._replace(image=32), whole._replace(extra=5)
    full, kept = deit.flops(spec, whole), deit.flops(spec, half)
    assert (kept["mlp"] * 65, kept["attention"] * 65**2) == (full["mlp"] * 33, full["attention"] * 33**2)
    assert deit.parameters(spec, half) == deit.parameters(spec, whole)
    assert deit.flops(spec, registers)["mlp"] * 65 == full["mlp"] * 69
    more = deit.parameters(spec, registers).total - deit.parameters(spec, whole).total
    assert more == 2 * 4 * spec.width  # the tokens and their positions


class StemCosts:
    """Two convolutions of half the patch each."""

    def parameters(self, x: EmbedInput) -> int:
        return 3 * (x.kernel // 2) ** 2 * x.width + 4 * x.width**2

    def flops(self, x: EmbedInput) -> int:
        return 2 * x.tokens * (4 * 3 * (x.kernel // 2) ** 2 * x.width + 4 * x.width**2)

    def activations(self, x: EmbedInput, number: int) -> int:
        return number * 4 * x.tokens * x.width


@dataclass(frozen=True, kw_only=True)
class Stem:
    """The fields of a patch embedding of two convolutions."""

    kind: ClassVar[str] = "stem"
    patch_size: int = 4

    def check_image(self, img_size: int) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Ramp:
    """The fields of a position encoding by a linear function of row and column."""

    kind: ClassVar[str] = "ramp"


@dataclass(frozen=True)
class RampCosts:
    has_table: bool = False
    keeps_matrix: bool = False
    splits_mixer: bool = False

    def parameters(self, x: PositionInput) -> int:
        return 3 * x.spec.width

    def block_bytes(self, x: PositionInput, number: int) -> int:
        return 0

    def step_bytes(self, x: PositionInput, policy: MemoryPolicy) -> int:
        return 0


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The fields of a head that has no head_channels."""

    kind: ClassVar[str] = "attention"


def test_the_costs_of_added_kinds_are_unknown_until_they_have_cost_models(monkeypatch):
    """Those of the default kind are never taken for them."""
    monkeypatch.setitem(PATCH_EMBEDS, "stem", Stem)
    monkeypatch.setitem(POS_EMBEDS, "ramp", Ramp)
    monkeypatch.setitem(CLASSIFICATION_HEADS, "attention", Attention)
    plain = make_config(backbone="deit_nano", img_size=32, patch_size=8)
    conv, positions = 3 * 8**2 * 48 + 48, 17 * 48
    added = {
        "patch_embed": (Stem(patch_size=8), EMBED_COSTS, "stem", StemCosts(), 3 * 4**2 * 48 + 4 * 48**2 - conv),
        "pos_embed": (Ramp(), POSITION_COSTS, "ramp", RampCosts(), 3 * 48 - positions),
        "head": (Attention(), HEAD_COSTS, ("classify", "attention"), HEAD_COSTS["classify", "linear"], 0),
    }
    for union, (part, registry, key, model, more) in added.items():
        config = edit(plain, **{union: part})
        assert costs.recipe_parameters(config) == costs.recipe_flops(config) == costs.memory_bytes(config, 8) == 0
        monkeypatch.setitem(registry, key, model)
        assert costs.recipe_parameters(config) - costs.recipe_parameters(plain) == more
        assert costs.recipe_flops(config) > 0


def test_another_patch_embedding_has_its_own_costs(monkeypatch):
    config = make_config(backbone="deit_nano", img_size=32, patch_size=8)
    plain = costs.recipe_parameters(config), costs.recipe_flops(config)
    monkeypatch.setitem(EMBED_COSTS, "conv", StemCosts())
    stem = 3 * 4**2 * 48 + 4 * 48**2, 2 * 16 * (4 * 3 * 4**2 * 48 + 4 * 48**2)
    conv = 3 * 8**2 * 48 + 48, 2 * 16 * 3 * 8**2 * 48
    found = costs.recipe_parameters(config), costs.recipe_flops(config)
    assert [f - p for f, p in zip(found, plain, strict=True)] == [s - c for s, c in zip(stem, conv, strict=True)]
    monkeypatch.delitem(EMBED_COSTS, "conv")
    assert costs.recipe_parameters(config) == costs.memory_bytes(config, 8) == 0  # unknown
