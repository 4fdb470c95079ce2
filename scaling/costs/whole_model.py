"""Parameters and FLOPs of a backbone with its head. Letters and FLOP convention as in scaling/costs/__init__.py.

The cost of a backbone, a patch embedding, a position encoding or a head without a cost model, such as a backbone of
timm's, is unknown: the functions return 0.
"""

from dataclasses import dataclass

from scaling.config.at_shape import at_shape
from scaling.config.experiment import ExperimentConfig
from scaling.config.step_shapes import StepShape
from scaling.costs.base import (
    Activations,
    Breakdown,
    CostModel,
    EmbedCosts,
    EmbedInput,
    HeadCosts,
    HeadInput,
    MemoryPolicy,
    PositionCosts,
    PositionInput,
    TokenCount,
)
from scaling.costs.registry import COST_MODELS, EMBED_COSTS, HEAD_COSTS, POSITION_COSTS
from scaling.costs.token_counts import (
    embed_input,
    recipe_sides,
    sampled_rois,
    token_count,
    tokens,
    tokens_follow_images,
)
from scaling.model_specs import MODEL_SPECS, ModelSpec


@dataclass(frozen=True)
class WholeModel:
    """A recipe's patch embedding, backbone and head with all that their cost models read."""

    spec: ModelSpec
    tokens: TokenCount
    embed: EmbedCosts
    embed_input: EmbedInput
    position: PositionCosts
    position_input: PositionInput
    backbone: CostModel
    head: HeadCosts
    head_input: HeadInput

    @property
    def parameters(self) -> Breakdown:
        """Learned numbers [1]; parts: "embedding", those of the family, "head", and "position_encoding" where there are
        any beside the table of positions, which is the family's."""
        own = self.backbone.parameters(self.spec, self.tokens).parts
        embedding, head = self.embed.parameters(self.embed_input), self.head.parameters(self.head_input)
        position = self.position.parameters(self.position_input)
        beside = {"position_encoding": position} if position else {}
        return Breakdown({"embedding": embedding, **own, **beside, "head": head})

    @property
    def flops(self) -> Breakdown:
        """Forward pass of one image [FLOPs]; parts as in `parameters`."""
        own = self.backbone.flops(self.spec, self.tokens).parts
        embedding, head = self.embed.flops(self.embed_input), self.head.flops(self.head_input)
        return Breakdown({"embedding": embedding, **own, "head": head})

    def activations(self, policy: MemoryPolicy, images: int) -> Activations:
        """Memory of the blocks, of one image [bytes]. images: in a micro-batch; 0: many."""
        flash, fused = not self.position.keeps_matrix, not self.position.splits_mixer
        policy = policy._replace(flash=policy.flash and flash, fused_mixer=policy.fused_mixer and fused)
        found = self.backbone.activations(self.spec, self.tokens, policy, images)
        of_block = self.position.block_bytes(self.position_input, policy.number)
        if policy.grad_checkpointing:
            return found._replace(recomputed=found.recomputed + of_block)
        return found._replace(kept=found.kept + self.spec.depth * of_block)


def whole_model(recipe: ExperimentConfig, shape: StepShape | None = None, kept: int | None = None) -> WholeModel | None:
    """shape: of a step, where it is not that of the recipe's model, which the head is built for. kept: patches of an
    image that are not left out before they are embedded (token dropping); None: all. None is returned where the family
    of the backbone, the patch embedding, the position encoding or the head has no cost model."""
    config = at_shape(recipe, shape)
    spec = MODEL_SPECS.get(config.model.backbone)
    embed, position = EMBED_COSTS.get(config.model.patch_embed.kind), POSITION_COSTS.get(config.model.pos_embed.kind)
    head = HEAD_COSTS.get((config.task.kind, config.task.head.kind))
    if spec is None or embed is None or position is None or head is None or spec.family not in COST_MODELS:
        return None
    backbone = COST_MODELS[spec.family]
    count = token_count(config, backbone.extra_tokens, position.has_table or config.model.learned_table)
    embedded = embed_input(config, spec.width)
    if kept is not None:
        count, embedded = count._replace(image=kept), embedded._replace(tokens=kept)
    side = config.model.img_size // config.model.patch_size
    place = PositionInput(spec, count, side, getattr(config.model.pos_embed, "max_side", 0))
    head_input = HeadInput(
        spec=spec,
        tokens=count,
        patch=config.model.patch_size,
        built_for=recipe.model.patch_size,
        sides=recipe_sides(config),
        classes=config.data.num_classes,
        channels=getattr(config.task.head, "head_channels", 0),
        rois=sampled_rois(config) if config.task.kind == "detect" else 0,
    )
    return WholeModel(spec, count, embed, embedded, position, place, backbone, head, head_input)


def parameters_by_part(backbone: str, image: int, patch: int, classes: int) -> Breakdown:
    """Learned numbers of a classifier with learned positions [1]. backbone: a name in MODEL_SPECS; image, patch: sides
    [px]; classes 0: no head. Only the part "positions" grows with the image."""
    return classifier(MODEL_SPECS[backbone], image, patch, classes).parameters


def parameters(backbone: str, image: int, patch: int, classes: int) -> int:
    """Sum of parameters_by_part [1]."""
    return parameters_by_part(backbone, image, patch, classes).total


def flops_by_part(backbone: str, image: int, patch: int, classes: int) -> Breakdown:
    """FLOPs of one image's forward pass through a classifier. Arguments as in parameters_by_part."""
    return classifier(MODEL_SPECS[backbone], image, patch, classes).flops


def flops(backbone: str, image: int, patch: int, classes: int) -> int:
    """Sum of flops_by_part [FLOPs]."""
    return flops_by_part(backbone, image, patch, classes).total


def recipe_parameters_by_part(config: ExperimentConfig) -> Breakdown:
    """Learned numbers of a recipe's model [1]; no parts: unknown."""
    model = whole_model(config)
    return model.parameters if model else Breakdown({})


def recipe_parameters(config: ExperimentConfig) -> int:
    """Learned numbers of a recipe's model [1]; fixed positions are not learned. 0: unknown."""
    return recipe_parameters_by_part(config).total


def position_parameters(config: ExperimentConfig) -> int:
    """Parameters of learned positions, the only ones that grow with the image. 0: fixed positions, or unknown."""
    return recipe_parameters_by_part(config)["positions"]


def recipe_flops_by_part(
    config: ExperimentConfig, shape: StepShape | None = None, kept: int | None = None
) -> Breakdown:
    """Forward pass of one training image [FLOPs]; the head of detection as in inference with 1,000 proposals and 100
    detections. shape, kept: as in whole_model. No parts: unknown, also where the number of tokens follows from the
    images."""
    model = None if tokens_follow_images(config) else whole_model(config, shape, kept)
    return model.flops if model else Breakdown({})


def recipe_flops(config: ExperimentConfig, shape: StepShape | None = None, kept: int | None = None) -> int:
    """Forward pass of one image, head included; in segmentation of one crop [FLOPs]. shape, kept: as in whole_model. 0:
    unknown."""
    return recipe_flops_by_part(config, shape, kept).total


def classifier(spec: ModelSpec, image: int, patch: int, classes: int) -> WholeModel:
    """A classifier with learned positions. image, patch: sides [px]; classes: 0: without a head."""
    length = tokens(image, patch)
    family = COST_MODELS[spec.family]
    count = TokenCount(image=length, extra=family.extra_tokens, positions=length)
    return WholeModel(
        spec=spec,
        tokens=count,
        embed=EMBED_COSTS["conv"],
        embed_input=EmbedInput(spec.width, patch, patch, length),
        position=POSITION_COSTS["learned"],
        position_input=PositionInput(spec, count, image // patch),
        backbone=family,
        head=HEAD_COSTS["classify", "linear"],
        head_input=HeadInput(spec, count, patch, patch, (image, image), classes, channels=0),
    )
