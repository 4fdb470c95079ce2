"""More FLOPs for a larger model or for smaller patches (the paper's Figure 3): both ways from the same model."""

from itertools import pairwise

import pandas as pd


def spending(table: pd.DataFrame) -> pd.DataFrame:
    """For figure3, as text: FLOPs and loss of the next larger model at the same patch, and of the same model at the
    next smaller patch. Means over seeds; a row where both have finished."""
    means = table.groupby(["backbone", "patch"], as_index=False)[["flops_per_image", "test_loss"]].mean()
    at = means.set_index(["backbone", "patch"])
    rows = []
    for backbones in _families(table).values():
        for small, large in pairwise(backbones):
            patches = sorted(means.loc[means["backbone"] == small, "patch"], reverse=True)
            for patch, half in pairwise(patches):
                if (large, patch) not in at.index:
                    continue
                here, larger, finer = at.loc[(small, patch)], at.loc[(large, patch)], at.loc[(small, half)]
                gain = round(float(larger["test_loss"] - finer["test_loss"]), 3)
                rows.append(
                    {
                        "from": f"{small} p{patch}",
                        "larger [FLOPs]": f"x {larger['flops_per_image'] / here['flops_per_image']:.1f}",
                        "larger [nats]": f"{larger['test_loss']:.3f}",
                        "finer [FLOPs]": f"x {finer['flops_per_image'] / here['flops_per_image']:.1f}",
                        "finer [nats]": f"{finer['test_loss']:.3f}",
                        "better [nats]": f"{'finer' if gain > 0 else 'larger'} by {abs(gain):.3f}" if gain else "even",
                    }
                )
    return pd.DataFrame(rows)


def _families(table: pd.DataFrame) -> dict[str, list[str]]:
    """Each family's backbones from small to large, by parameters at the coarsest patch."""
    sizes = table.groupby("backbone")["parameters"].max().sort_values()
    families: dict[str, list[str]] = {}
    for backbone in sizes.index:
        families.setdefault(str(backbone).split("_")[0], []).append(str(backbone))
    return families
