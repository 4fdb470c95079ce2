"""Estimates of claims on the order of patch sizes and of image sizes, from orders.csv and shape_changes.csv, and on
changes of positions, from position_changes_shapes.csv."""

from collections.abc import Callable, Iterator

import pandas as pd

from analysis.claims.measured import DATA, NAMES, measured, of_difference, of_values
from analysis.claims.verdict import Estimate
from analysis.studies.changes import ENCODING
from analysis.studies.directions import directions
from analysis.studies.patch_order import ALONE
from analysis.studies.position_changes import WITHOUT


def small_first_over_large_first() -> list[Estimate]:
    """Loss at the patch size that both end with, of runs that begin with patches of half its side, less that of runs
    that begin with patches of twice its side, at equal FLOPs [nats]."""
    found = []
    for data, backbone, p, runs in _orders():
        table = directions(runs)
        at_end = table[(table["comparison"] == "same end") & (table["patch"] == p)]
        for row in at_end.to_dict("records"):
            found.append(Estimate(_what(data, backbone), row["difference"], row["low"], row["high"]))
    return found


def growing_patches_over_alone() -> list[Estimate]:
    """Loss at a patch size of runs that begin with patches of half its side, less that of this patch size alone, at
    equal FLOPs [nats]."""
    return _over_alone(lambda p: f"{p // 2}@0.5,{p}@1")


def growing_images_over_alone() -> list[Estimate]:
    """Loss on whole images of runs that begin with images of half their side, less that of runs on whole images, at
    equal FLOPs [nats]."""
    return _over_alone(lambda p: "image ")


def spikes_at_changes(of_images: bool) -> list[Estimate]:
    """How far the loss rises after a change of the image side, or else of the patch size: a mean over the changes of a
    seed [nats]."""
    table = measured("shape_changes")
    its = table[table["schedule"].str.startswith("image ") == of_images]
    return [
        of_values(_what(str(data), str(backbone)), ours.groupby("seed")["spike"].mean())
        for (data, backbone), ours in its.groupby(["data", "backbone"], sort=False)
    ]


def drawn_over_alone() -> list[Estimate]:
    """Loss at a patch size of runs whose steps draw it among larger ones, by the shares of stretches, less that of this
    patch size alone, at equal FLOPs [nats]."""
    return _over_alone(lambda p: "16:")


def spikes_of_positions() -> list[Estimate]:
    """How much further the loss rises after a change of the patch size where positions are all others afterwards (sines
    of the raster order) than without positions, a mean over both directions of a seed [nats]."""
    found = []
    for backbone, its in measured("position_changes_shapes").groupby("backbone", sort=False):
        of_kind = {kind: ours.groupby("seed")["spike"].mean() for kind, ours in its.groupby(ENCODING)}
        found.append(of_difference(NAMES[str(backbone)], of_kind[WITHOUT], of_kind["sincos1d"]))
    return found


def _over_alone(begins: Callable[[int], str]) -> list[Estimate]:
    """Loss of the order whose name begins so, less that of the patch size alone on the fewest images."""
    found = []
    for data, backbone, p, runs in _orders():
        at_p = runs[runs["patch"] == p]
        alone = at_p[at_p["order"] == f"{p}{ALONE}"]
        alone = alone[alone["images"] == alone["images"].min()]
        ours = at_p[at_p["order"].str.startswith(begins(p)) & ~at_p["order"].str.endswith("per image")]
        found.append(
            of_difference(_what(data, backbone), *(one.set_index("seed")["test_loss"] for one in (alone, ours)))
        )
    return found


def _orders() -> Iterator[tuple[str, str, int, pd.DataFrame]]:
    """Data set, backbone, the patch size that the study is about [px], and its runs."""
    for (data, backbone), runs in measured("orders").groupby(["data", "backbone"], sort=False):
        names = runs["order"]
        yield str(data), str(backbone), int(names[names.str.endswith(ALONE)].iloc[0].removesuffix(ALONE)), runs


def _what(data: str, backbone: str) -> str:
    return f"{DATA[data]}, {NAMES[backbone]}"


ESTIMATES: dict[str, Callable[[], list[Estimate]]] = {
    "small_first_over_large_first": small_first_over_large_first,
    "growing_patches_over_alone": growing_patches_over_alone,
    "growing_images_over_alone": growing_images_over_alone,
    "spikes_at_image_changes": lambda: spikes_at_changes(of_images=True),
    "spikes_at_patch_changes": lambda: spikes_at_changes(of_images=False),
    "drawn_over_alone": drawn_over_alone,
    "spikes_of_positions": spikes_of_positions,
}
