"""Studies of transfer: models trained at one grid of tokens are brought to other grids by each rule that their position
encoding has, and evaluated there at once and after some steps of finetuning, beside models trained there directly.

transfer        other images at the same patch; half the side to three times the side
patch_transfer  another patch at the same image, the patch kernel resized by its pseudo-inverse or like an image

A transfer is a run that starts from the run at the first grid: one of no epochs, or of some steps. Rate and warm-up of
finetuning were set before any run: a quarter of the recipe's rate, warm-up over a tenth of the steps, then a cosine to
0. analysis/studies/transfer.py and finetuning.py show the results.
"""

from experiments.stages import Function, chain_of
from scaling.config.attention_positions import TRANSFERS
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.config.initialization import FromRun

SIDES = (0.5, 1, 2, 3)  # of the image, in those of training
BRIEF = (0, 100)  # steps of finetuning
GEOMETRIC = (0, 10, 30, 100, 300, 1000)  # the same, for a curve
RATE = 0.25  # of finetuning, in that of the recipe [1]
WARMUP = 0.1  # of the steps of finetuning [1]
KERNELS = ("pi", "vanilla")  # ways of resizing the patch kernel

# By position encoding the fields that name each of its rules; the default is the first.
Rules = tuple[dict[str, str], ...]
ROTATED: Rules = tuple({"rope_transfer": rule} for rule in sorted(TRANSFERS, key="interpolate".__ne__))
RULES: dict[str, Rules] = {
    "learned": ({"pos_embed_resampling": "aligned"}, {"pos_embed_resampling": "bilinear"}),
    "sincos": ({"sincos_transfer": "interpolate"}, {"sincos_transfer": "extrapolate"}),
    "rope": ROTATED,
    "relative": ({},),
    "relative_mlp": ({},),
    "rope_scan": ROTATED,
}
LONGER = ("ntk", "yarn")  # rules that are interpolation at shorter images
IN_ATTENTION = ("rope", "relative", "relative_mlp")  # of DeiT
IN_SCAN = ("rope_scan",)  # of Adventurer
AT_PATCHES = ("learned", "sincos", "rope", "relative", "rope_scan")


def to_other_images(recipe: Function, patch: int, image: int) -> list[ExperimentConfig]:
    """A recipe of one stage at this patch and image [px] with each encoding, brought to images of SIDES times the side;
    and trained there."""
    found = []
    for first in _encodings(edit(_only(recipe, patch), img_size=image), tuple(RULES)):
        found.append(first)
        for side in SIDES:
            there = edit(first, img_size=round(side * image))
            found += [there] if side != 1 else []
            rules = RULES[first.model.pos_embed.kind]
            for rule in [rule for rule in rules if _differs(rule, side)] if side != 1 else rules[:1]:
                found += [transferred(first, there, steps, rule) for steps in BRIEF]
    return found


def to_other_patches(recipe: Function, patch: int) -> list[ExperimentConfig]:
    """A recipe of one stage at this patch [px] with encodings of each kind, brought to half and twice the patch by each
    of KERNELS; and trained there. Here all rules of an encoding agree, but for learned positions, which are bicubic."""
    found = []
    for first in _encodings(_only(recipe, patch), AT_PATCHES):
        found.append(first)
        for other in (patch // 2, 2 * patch):
            there = edit(first, patch_size=other)
            ways = [(kernel, steps) for kernel in KERNELS for steps in GEOMETRIC]
            found += [there, *(transferred(first, there, steps, kernel=kernel) for kernel, steps in ways)]
    return found


def transferred(
    first: ExperimentConfig,
    there: ExperimentConfig,
    steps: int,
    rule: dict[str, str] | None = None,
    kernel: str | None = None,
) -> ExperimentConfig:
    """The run at another grid that starts from the run `first` and is finetuned for some steps. there: the run trained
    at that grid; rule: of its position encoding; kernel: how the patch kernel is resized."""
    own = dict(rule or {})
    positions = own.pop("pos_embed_resampling", "aligned")
    init = FromRun(config=first, pos_embed_resampling=positions, patch_embed_resampling=kernel)
    if not steps:
        return edit(there, epochs=0, init=init, **own)
    length = {"max_steps": steps, "warmup_steps": max(1, round(WARMUP * steps))}
    return edit(there, lr=RATE * first.optim.lr, init=init, **length, **own)


def _only(recipe: Function, patch: int) -> ExperimentConfig:
    (run,) = chain_of(recipe(patch))
    return run


def _encodings(run: ExperimentConfig, kinds: tuple[str, ...]) -> list[ExperimentConfig]:
    """The run with each of these encodings that its backbone has."""
    others = IN_SCAN if run.model.family.startswith("deit") else IN_ATTENTION
    return [edit(run, pos_embed=kind) for kind in kinds if kind not in others]


def _differs(rule: dict[str, str], side: float) -> bool:
    return side > 1 or rule.get("rope_transfer") not in LONGER
