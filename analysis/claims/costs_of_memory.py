"""Estimates of claims on training memory, from the cost model (scaling/costs/training_memory.py).

Activations are those of one image in bf16-mixed, unless stated. "Kept matrices" is attention without a fused kernel,
which keeps its matrix for the backward pass; the fused kernels of torch do not.
"""

import math
from collections.abc import Callable

from analysis.claims.verdict import Estimate, exact
from analysis.planning.cost_tables import BF16, classifier, image_memory, largest_batch
from scaling import costs
from scaling.costs.base import MemoryPolicy
from scaling.model_specs import MODEL_SPECS

FUSED, KEPT = {"flash": True}, {"flash": False}


def attention_share_fused() -> list[Estimate]:
    """What attention keeps beside queries, keys and values, as a share of all activations, fused [1]."""
    return [_attention_share(16, flash=True), _attention_share(8, flash=True)]


def attention_share_kept() -> list[Estimate]:
    """The same with kept matrices at 16 px [1]."""
    return [_attention_share(16, flash=False)]


def attention_share_kept_small() -> list[Estimate]:
    """The same with kept matrices at 4 px [1]."""
    return [_attention_share(4, flash=False)]


def _attention_share(patch: int, flash: bool) -> Estimate:
    spec, tokens = MODEL_SPECS["deit_base"], costs.tokens(224, patch) + 1
    heads = spec.width // spec.head_dim
    # float32: of a fused kernel the log-sum-exp of each query, else softmax's matrix (scaling/costs/deit.py).
    its = spec.depth * 4 * heads * tokens * (1 if flash else tokens)
    every = costs.activation_bytes(classifier("deit_base", 224, patch), MemoryPolicy(flash=flash, number=BF16))
    way = "fused" if flash else "kept matrices"
    return exact(f"DeiT-Base, 224 px, {patch} px, {way}: share of all activations", its / every)


def optimiser_multiple() -> list[Estimate]:
    """Weights, gradients and AdamW's state over the weights [1]."""
    parameters = costs.parameters("deit_base", 224, 16, 1000)
    return [
        exact("weights, gradients and both moments over weights", costs.optimiser_bytes(parameters) / (4 * parameters))
    ]


def checkpointed_step() -> list[Estimate]:
    """FLOPs of a step with gradient checkpointing, four forward passes, over one without, three [1]."""
    return [exact("FLOPs of a step, checkpointed over not", 4 / 3)]


def batch_of_24_gb() -> list[Estimate]:
    """Images of a micro-batch of DeiT-Base, 384 px at 16 px, on an RTX 4090 [images]."""
    return [_largest(384, 16, "rtx4090", way) for way in (FUSED, KEPT)]


def batch_of_80_gb() -> list[Estimate]:
    """Images of a micro-batch of DeiT-Base, 512 px at 16 px, on an A100 of 80 GB [images]."""
    return [_largest(512, 16, "a100", way) for way in (FUSED, KEPT)]


def batch_at_1024() -> list[Estimate]:
    """Images of a micro-batch of DeiT-Base, 1,024 px at 2 and 1 px, on an A100 of 80 GB [images]."""
    return [_largest(1024, patch, "a100", FUSED) for patch in (2, 1)]


def _largest(image: int, patch: int, card: str, way: dict[str, bool]) -> Estimate:
    name = "fused" if way["flash"] else "kept matrices"
    return exact(
        f"DeiT-Base, {image:,} px at {patch} px, {name}: largest batch",
        largest_batch(classifier("deit_base", image, patch), card, **way),
    )


def memory_exponent_kept() -> list[Estimate]:
    """The power of 1/p that memory per image grows with from 4 to 2 and from 2 to 1 px, kept matrices [1]."""
    return [_exponent(patch, KEPT) for patch in (4, 2)]


def memory_exponent_fused() -> list[Estimate]:
    """The same with fused attention."""
    return [_exponent(patch, FUSED) for patch in (4, 2)]


def _exponent(coarse: int, way: dict[str, bool]) -> Estimate:
    fine = coarse // 2
    at = {p: image_memory(classifier("deit_base", 224, p), **way) for p in (coarse, fine)}
    return exact(
        f"DeiT-Base, 224 px: log2 of memory per image, {fine} px over {coarse} px", math.log2(at[fine] / at[coarse])
    )


def growth_with_tokens() -> list[Estimate]:
    """The power of N that memory per image grows with, kept matrices, from N to 4 N tokens [1]. That of an exponential
    passes any number."""
    tokens, at = zip(
        *((costs.tokens(224, p), image_memory(classifier("deit_base", 224, p), **KEPT)) for p in (8, 4, 2, 1)),
        strict=True,
    )
    return [
        exact(f"DeiT-Base: power of N, {few:,} to {many:,} tokens", math.log(more / less, 4))
        for few, many, less, more in zip(tokens, tokens[1:], at, at[1:], strict=False)
    ]


def early_phase() -> list[Estimate]:
    """Memory per image on crops of half the side over that on whole images [1]."""
    return [exact(f"{name}, 112 px over 224 px", _crop(key) / _whole(key)) for name, key in _BOTH]


def peak_of_run() -> list[Estimate]:
    """Memory per image of a run whose crops grow to whole images, the largest of its phases, over that of a run on
    whole images [1]."""
    return [
        exact(f"{name}, phases of 112 and 224 px", max(_crop(key), _whole(key)) / _whole(key)) for name, key in _BOTH
    ]


_BOTH = (("DeiT-Base", "deit_base"), ("Adventurer-Base", "adventurer_base"))


def _crop(backbone: str) -> float:
    return image_memory(classifier(backbone, 112, 16))


def _whole(backbone: str) -> float:
    return image_memory(classifier(backbone, 224, 16))


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "attention_share_fused": attention_share_fused,
    "attention_share_kept": attention_share_kept,
    "attention_share_kept_small": attention_share_kept_small,
    "optimiser_multiple": optimiser_multiple,
    "checkpointed_step": checkpointed_step,
    "batch_of_24_gb": batch_of_24_gb,
    "batch_of_80_gb": batch_of_80_gb,
    "batch_at_1024": batch_at_1024,
    "memory_exponent_kept": memory_exponent_kept,
    "memory_exponent_fused": memory_exponent_fused,
    "growth_with_tokens": growth_with_tokens,
    "early_phase": early_phase,
    "peak_of_run": peak_of_run,
}
