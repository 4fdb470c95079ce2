"""Studies of dropped tokens: does training on a part of each image's patches, which is cheap, give a better model?

Every way of dropping is compared with no dropping on equally many images, and with equal training FLOPs: then a run
sees more images, each as often. Images of all runs have one size, but those of rates by resolution, which are compared
on images of several sizes. Finished models are evaluated on whole images. Beta rates of several means show where
training becomes unstable. Source: appendices A.4 and A.5 of NaViT (arXiv 2307.06304). analysis/studies/token_drop.py
shows the result.
"""

from experiments.stages import Function, chain_of
from experiments.studies.patch_order import of_flops
from scaling.config.edit import edit
from scaling.config.experiment import ExperimentConfig
from scaling.costs.run_flops import recipe_training_flops

Fields = dict[str, float]  # of the configuration
DROPS: tuple[Fields, ...] = (
    {"drop_rate": 0.5},
    *({"drop_mean": mean, "drop_most": 0.9} for mean in (0.25, 0.5, 0.7)),
    {"drop_start": 0.2, "drop_end": 0.8},
    {"drop_start": 0.8, "drop_end": 0.2},
)
BY_RESOLUTION: tuple[Fields, ...] = ({"drop_rate": 0.5}, {"drop_smallest": 0.25, "drop_largest": 0.75})


def with_dropped_tokens(recipe: Function, patch: int) -> list[ExperimentConfig]:
    """A recipe of one stage at this patch size, packed: images of its own size without dropping and with each of DROPS,
    and images of half that size and more without and with each of BY_RESOLUTION."""
    (run,) = chain_of(recipe(patch))
    side = run.model.img_size
    return [
        *_compared(edit(run, packing="sequences", image_sizes=str(side)), DROPS),
        *_compared(edit(run, packing="sequences", image_sizes=f"{side // 2}-{side}"), BY_RESOLUTION),
    ]


def _compared(whole: ExperimentConfig, drops: tuple[Fields, ...]) -> list[ExperimentConfig]:
    """The run without dropping, and with each way of it on as many images and with as many FLOPs."""
    assert whole.data.num_train is not None  # of the recipes that a study has
    budget = recipe_training_flops(whole, whole.data.num_train)
    dropped = [edit(whole, **drop) for drop in drops]
    return [whole, *(one for run in dropped for one in (run, of_flops(run, budget)))]
