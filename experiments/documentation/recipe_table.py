"""The ImageNet recipes as printed in the paper, as released by its authors, and as used here: docs/recipes.md.

Sources: Tables 8 to 10 of arXiv 2502.03738 (analysis/published/recipes_tables_8_9_10.csv) and the commands and defaults
of the released code (analysis/published/released_recipe.csv).
"""

from collections.abc import Iterator
from functools import cache

import pandas as pd

from analysis.records.published import load_published
from experiments.recipes import imagenet
from scaling.config.experiment import ExperimentConfig
from scaling.config.flat import NAMES, to_flat

SIZES = {"T": "tiny", "S": "small", "B": "base", "L": "large", "H": "huge"}
STAGES = {"pretrain": 128, "intermediate": 224, "finetune": 224}  # image size [px] of each stage of a run at 224 px
# fmt: off
FIELDS = (
    "image", "epochs", "batch", "lr", "lr_batch", "min_lr", "weight_decay", "beta1", "beta2", "warmup_epochs",
    "drop_path", "layer_decay", "smoothing", "erasing", "augment", "rand_augment", "repeats", "mixup", "cutmix",
    "ema", "clip", "crop",
)
# fmt: on
PRINTED = {  # field -> column of the paper's tables, where it has another name
    "lr": "base_lr",
    "smoothing": "label_smoothing",
    "erasing": "random_erasing",
    "repeats": "repeated_augmentation",
    "augment": "three_augment",
}
WORDS = {"repeats": {"yes": "3", "no": "1"}, "augment": {"yes": "three_augment", "no": "resized_crop"}}
NONE = {"erasing": {"no": "0"}, "rand_augment": {"": ""}, "layer_decay": {"none": "1"}}
BY_SIZE = {"image"}  # printed in the title of a table
# (stage, field) -> reason for a value that is neither printed nor, where nothing is printed, released. Tests fail for a
# departure without a reason and for a reason without a departure.
REASONS = {
    (
        "all",
        "crop",
    ): "one crop of test images for all patch sizes; the release uses 0.875 at patch 16 up to 224 px, else 1.0",
    ("intermediate", "drop_path"): "Tiny is not in this table and keeps the drop path of Table 8",
    ("finetune", "drop_path"): "Tiny is not in this table and keeps the drop path of Table 8",
}


def recipes_page() -> str:
    """The page docs/recipes.md."""
    stages = (line for stage in STAGES for line in _stage(stage))
    return "\n".join([*_head(), *stages, *_small(), *_deit(), *_reasons(), ""])


@cache
def departures() -> list[tuple[str, str, str, str, str]]:
    """(stage, size, field, expected, ours) of all values that differ from the paper's or, where the paper prints none,
    from the release's."""
    found = []
    for stage in STAGES:
        for letter, size in SIZES.items():
            for field in FIELDS:
                expected = _printed(stage, letter, field)
                expected = _released(stage, field) if expected is None and letter in "TSB" else expected
                ours = _text(to_flat(_ours(stage, size))[field])
                if expected is not None and expected != ours:
                    found.append((stage, size, field, expected, ours))
    return found


def reason_of(stage: str, field: str) -> str:
    """The reason for the departure of a field in a stage; "" where there is none."""
    return REASONS.get((stage, field), REASONS.get(("all", field), ""))


@cache
def _ours(stage: str, size: str) -> ExperimentConfig:
    chain = getattr(imagenet, f"adventurer_{size}")(16, 224)
    return next(recipe for recipe in chain if (recipe.stage or "") == stage)


@cache
def _tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return load_published("recipes_tables_8_9_10"), load_published("released_recipe")


def _row(stage: str, letter: str) -> pd.Series | None:
    """The column of a model's size in the table of a stage; None where it has none."""
    table = _tables()[0]
    its = table[(table["stage"] == stage) & table["sizes"].str.split("/").map(lambda sizes: letter in sizes)]
    return its.iloc[0] if len(its) else None


@cache
def _printed(stage: str, letter: str, field: str) -> str | None:
    """The value printed in the paper, as text; None where there is none."""
    row = _row(stage, letter)
    column = PRINTED.get(field, field)
    if row is None or field in BY_SIZE or column not in row or pd.isna(row[column]):
        return None
    value = str(row[column])
    if " / " in value:  # S 0.4 / B 0.6
        value = dict(part.split() for part in value.split(" / "))[letter]
    value = WORDS.get(field, {}).get(value, value)
    return _text(NONE.get(field, {}).get(value, value))


@cache
def _released(stage: str, field: str) -> str | None:
    """The value in the release's command for a stage of Base, else its default; None where there is none."""
    table = _tables()[1]
    its = table[table["stage"].isin([stage, "deit"] if stage == "deit" else [stage, "all"]) & (table["field"] == field)]
    return _text(its["value"].iloc[-1]) if len(its) else None


def _text(value: object) -> str:
    """A value as text: the same for 1e-05, 0.00001 and "1e-5"."""
    try:
        return f"{float(str(value)):g}"
    except ValueError:
        return str(value)


def _head() -> Iterator[str]:
    yield "# Recipes on ImageNet-1k: as printed, as released, as here"
    yield ""
    yield "Generated by `python experiments/docs.py` from experiments/recipes/imagenet.py and analysis/published."
    yield ""
    yield "- Printed: Tables 8 to 10 of arXiv 2502.03738; empty cells are not printed."
    yield "- Released: the commands for Base in the READMEs of github.com/wangf3014/Adventurer and …/Patch_Scaling, and"
    yield "  the defaults of their `main.py` (in parentheses) where a command does not set a value."
    yield "- Here: `experiments/recipes/imagenet.py`. **Bold**: differs from the printed value"
    yield "  or, where nothing is printed, from the released one."
    yield "- The peak learning rate of a run is lr x global_batch_size / lr_base_size, or lr where lr_base_size is 0."


def _stage(stage: str) -> Iterator[str]:
    number = {"pretrain": 8, "finetune": 9, "intermediate": 10}[stage]
    yield f"\n## {stage}, {STAGES[stage]} px (Table {number})\n"
    letters = list(SIZES)
    marked = {(size, field) for where, size, field, *_ in departures() if where == stage}
    yield (
        "| field | printed T/S/B | printed L/H | released (Base) | "
        + " | ".join(s.title() for s in SIZES.values())
        + " |"
    )
    yield "| --- | --- | --- | --- |" + " --- |" * len(SIZES)
    for field in FIELDS:
        small = list(dict.fromkeys(filter(None, (_printed(stage, x, field) for x in letters[:3]))))
        large = list(dict.fromkeys(filter(None, (_printed(stage, x, field) for x in letters[3:]))))
        ours = []
        for size in SIZES.values():
            value = _text(to_flat(_ours(stage, size))[field]) or "none"
            ours.append(f"**{value}**" if (size, field) in marked else value)
        cells = [NAMES.get(field, field), " / ".join(small), " / ".join(large), _released_cell(stage, field), *ours]
        yield "| " + " | ".join(cells) + " |"


def _released_cell(stage: str, field: str) -> str:
    value = _released(stage, field)
    if value is None:
        return ""
    table = _tables()[1]
    its = table[table["stage"].isin([stage, "all"]) & (table["field"] == field)]
    return value if its["set_by"].iloc[-1] == "command" else f"({value})"


def _small() -> Iterator[str]:
    """Runs at 64 px, which differ in their number of epochs."""
    epochs = ", ".join(
        f"{s.title()} {getattr(imagenet, f'adventurer_{s}')(16, 64)[0].schedule.epochs}" for s in SIZES.values()
    )
    yield "\n## At 64 px\n"
    yield f"One stage, pretrain at 64 px, all else as above. Epochs: {epochs}."
    yield "The text of the appendix states 300 epochs for all sizes at 64 px; its Table 8 prints 200 for Large and Huge"
    yield "at both 64 and 128 px. We follow the text."


def _deit() -> Iterator[str]:
    yield "\n## DeiT\n"
    yield "| field | released (DeiT) | Tiny, Small, Base |"
    yield "| --- | --- | --- |"
    recipe = imagenet.deit_base(16)
    for field in FIELDS:
        if (value := _released("deit", field)) is not None:
            ours = _text(to_flat(recipe)[field]) or "none"
            yield f"| {NAMES.get(field, field)} | {value} | {ours if ours == value else f'**{ours}**'} |"
    yield "\nLarge and Huge follow the supervised recipe of MAE (arXiv 2111.06377, appendix)."


def _reasons() -> Iterator[str]:
    yield "\n## Departures\n"
    found: dict[tuple[str, str], list[str]] = {}
    for stage, size, field, expected, ours in departures():
        found.setdefault((field, reason_of(stage, field)), []).append(f"{stage} {size.title()} {ours} for {expected}")
    for (field, reason), where in found.items():
        places = "; ".join(where) if len(where) < 4 else "In every stage and size."
        yield f"- `{NAMES.get(field, field)}`: {reason}. {places}"
    yield "- Tiny and Huge have no column in Tables 9 and 10: their later stages are those of Small and Large."
    yield "- Schedule: warm-up from 0 and cosine at every step; the release warms up from 1e-6, changes per epoch."
    yield "- `lr_base_size` 0 is the release's `--unscale-lr` in finetuning."
