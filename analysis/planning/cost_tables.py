"""Cost tables: tokens, parameters, FLOPs, memory and hours by patch size, computed, as frames for notebook 03.

Memory is that of training with AdamW in bf16-mixed (scaling/costs/training_memory.py); hours are those of
analysis/planning/throughput_model.py.
"""

from functools import cache

import pandas as pd

from analysis.planning.allocation import EPOCHS, configurations, published_surface
from analysis.planning.throughput_model import image_bytes, image_seconds
from analysis.records.published import IMAGENET_CLASSES, backbone_of
from scaling import costs
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.costs.training_memory import SHARE, step_bytes
from scaling.model_specs import MODEL_SPECS

PATCHES = (64, 32, 16, 8, 4, 2, 1)  # that are shown where they divide the image [px]
FACTORS = (0.5, 0.75, 1, 1.25, 1.5, 2, 3)  # by which a calculator changes the image size [ratio]
BF16 = 2  # bytes per number
MANY = 2**20  # images, more than fit any card
# Ways to store activations for the backward pass: name, and options of scaling/costs/training_memory.py.
WAYS: dict[str, dict[str, bool]] = {
    "attention keeps its matrices": {"flash": False},
    "fused attention": {},
    "fused, blocks recomputed": {"grad_checkpointing": True},
}
PARTS = {  # of costs.flops_by_part: labels; other parts have their own names
    "embedding": "patch projection",
    "projections": "projections of the mixer",
    "attention": "attention's matrix",
    "scan": "scan",
    "convolution": "convolution",
    "mlp": "MLP",
    "head": "classifier",
}


def classifier(backbone: str, image: int, patch: int) -> ExperimentConfig:
    """A training run on ImageNet-1k. image, patch: sizes [px]."""
    return make_config(
        dataset="imagenet",
        backbone=backbone,
        img_size=image,
        patch_size=patch,
        num_classes=IMAGENET_CLASSES,
        global_batch_size=1024,
    )


def image_memory(config: ExperimentConfig, **way: bool) -> float:
    """Memory per additional image in a step [bytes]. way: of WAYS."""
    return image_bytes(config, config.optim.global_batch_size, BF16, **way)


def largest_batch(config: ExperimentConfig, card: str, **way: bool) -> int:
    """Largest batch that fits a card [images]; 0: not even one image. card: of costs.CARDS."""
    room = SHARE * (costs.CARDS[card].memory - costs.optimiser_bytes(costs.recipe_parameters(config)))
    low, high = 0, MANY  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        fits = step_bytes(config, middle, costs.MemoryPolicy(number=BF16, **way)) <= room
        low, high = (middle, high) if fits else (low, middle)
    return low


def by_patch(backbone: str, image: int) -> pd.DataFrame:
    """Tokens, parameters and FLOPs of a classifier of 1,000 classes at every patch size that divides the image, a row
    per patch size.

    Columns: patch [px], tokens (without the class token), pairs (elements of attention's matrix of one head, with it),
    projection, positions, parameters (all three: learned numbers), FLOPs of one image's forward pass by part (names in
    PARTS, 0 for a part that the model lacks, then others) and forward, their sum."""
    rows: list[dict[str, int]] = []
    for patch in PATCHES:
        if image % patch or patch >= image:
            continue
        tokens = costs.tokens(image, patch)
        learned = costs.parameters_by_part(backbone, image, patch, IMAGENET_CLASSES)
        flops = costs.flops_by_part(backbone, image, patch, IMAGENET_CLASSES)
        own = {"projection": learned["embedding"], "positions": learned["positions"], "parameters": learned.total}
        sequence = {"patch": patch, "tokens": tokens, "pairs": (tokens + 1) ** 2}
        rows.append(sequence | own | dict.fromkeys(PARTS, 0) | dict(flops.parts) | {"forward": flops.total})
    return pd.DataFrame(rows)


def memory_by_patch(backbone: str, image: int, card: str) -> pd.DataFrame:
    """Training memory at every patch size that divides the image, a row per patch size and way to store activations.
    Columns: way, patch [px], memory per image [bytes], batch: the largest that fits the card [images]."""
    rows = []
    for name, way in WAYS.items():
        if MODEL_SPECS[backbone].has_scan and not way.get("flash", True):
            continue  # it has no attention
        for patch in by_patch(backbone, image)["patch"]:
            config = classifier(backbone, image, patch)
            rows.append((name, patch, image_memory(config, **way), largest_batch(config, card, **way)))
    return pd.DataFrame(rows, columns=["way", "patch", "memory", "batch"])


def resized(backbone: str, image: int, patch: int) -> pd.DataFrame:
    """A model for one image size at other image sizes, in two ways: at constant patch size or at constant tokens.

    Columns: held, image, patch [px], tokens, positions (grid to grid) and kernel (size to size), "kept" where nothing
    is resampled, forward [FLOPs], training memory per image [bytes]."""
    side, rows = image // patch, []
    sides = [round(image * factor) for factor in FACTORS]
    for held in ("patch", "tokens"):
        for to in sides:
            if to % patch or to % side:
                continue  # not an integer for one of the two ways
            new = patch if held == "patch" else to // side
            grown = to // new
            positions = "kept" if grown == side else f"{side}x{side} to {grown}x{grown}"
            kernel = "kept" if new == patch else f"{patch} to {new} px"
            config = classifier(backbone, to, new)
            cost = costs.recipe_flops(config), image_memory(config)
            rows.append((held, to, new, grown**2, positions, kernel, *cost))
    columns = ["held", "image", "patch", "tokens", "positions", "kernel", "forward", "memory"]
    return pd.DataFrame(rows, columns=columns)


@cache
def _configured() -> pd.DataFrame:
    return configurations(published_surface())


def on_card(card: str) -> pd.DataFrame:
    """Every configuration of analysis/planning/allocation.py, with what training it takes on one card. card: of
    costs.CARDS. More columns: hours of 300 epochs of ImageNet-1k [h], memory of one image [bytes], batch: the most at a
    time."""
    frame = _configured().copy()
    names = frame[["model", "image", "patch"]].to_numpy()
    recipes = [classifier(backbone_of(model), int(image), int(patch)) for model, image, patch in names]
    seconds = [image_seconds(config, costs.CARDS[card], config.optim.global_batch_size) for config in recipes]
    frame["hours"] = [one * costs.IMAGENET_IMAGES * EPOCHS / 3600 for one in seconds]
    frame["memory"] = [image_memory(config) for config in recipes]
    frame["batch"] = [largest_batch(config, card) for config in recipes]
    return frame
