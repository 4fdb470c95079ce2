"""The figures of README.md and docs/: FIGURES has a function for the name of each file in docs/figures.

prediction_camvid.png and prediction_nuclei.png are not made here: they were drawn by `--save-predictions` of runs whose
weights are not in the repository.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from analysis.paper.figures import figure1, figure1_honest
from analysis.paper.tables import figure1 as figure1_numbers
from analysis.planning.allocation import published_surface
from analysis.plots.allocation import optimal_figure
from analysis.plots.curves import curve_figure
from analysis.plots.flexivit import flexivit_figure
from analysis.plots.frontier import frontier_figure
from analysis.plots.laws import law_figure
from analysis.plots.leaves import Leaf, leaves_figure
from analysis.plots.packed_rows import packed_rows_figure
from analysis.plots.patch_order import order_figure
from analysis.plots.studies import crossing_figure, gap_figure, study_figure
from analysis.studies.flexivit import drawn
from experiments import sample_sheet
from experiments.documentation import (
    cifar10_full,
    flexivit,
    mixed_sizes,
    patch_embedding_tables,
    patch_order,
    position_tables,
    schedules,
    shape_ablations,
    stability,
)
from experiments.documentation.budget_tables import configured, points
from experiments.documentation.data import cifar10_runs, numbers, shapes
from experiments.documentation.design_figure import design_figure
from experiments.planning import budget
from scaling.backbones.quadtree import leaves
from scaling.config.embed_shapes import leaf_sides
from scaling.config.patch_embeds import SPLITS
from scaling.data.batch import normalise
from scaling.data.generated.generated_shapes import render
from scaling.data.generated.ideal_observer import ideal_loss
from scaling.packing.packed_images import pack
from scaling.preprocessing import MEAN, STD

MODELS = ("deit_nano", "adventurer_nano")
PACKED_GRIDS = ((4, 4), (2, 5), (3, 3), (5, 3), (2, 2), (3, 5), (1, 6))  # patches of the images of packed_rows
LEAFY = (1, 2, 0, 16, 11, 40)  # test images of adaptive_leaves, with cells of 32, 16, 8, 4, 2 and 1 px
HEADS = {"linear": "linear", "UperNet": "upernet"}


def law_shapes() -> Figure:
    """Test loss of the runs on shapes, and of the ideal observer of the means of patches."""
    patches = sorted(map(int, shapes()["patch"].unique()))
    losses = [ideal_loss(int(shapes()["image"].iloc[0]), patch) for patch in patches]
    return law_figure(shapes(), beside={"ideal observer of means": pd.Series(losses, index=patches)})


def frontier_cifar10() -> Figure:
    """Loss against FLOPs, one seed."""
    table = numbers("cifar10")
    runs = pd.DataFrame(
        {
            "group": table["backbone"],
            "backbone": table["backbone"],
            "patch": table["patch [px]"],
            "seed": 0,
            "flops_per_image": 1e6 * table["FLOPs/image [M]"],
            "test_loss": table["test loss [nats]"],
        }
    )
    return frontier_figure(runs.assign(status="finished", task="classify", data="cifar10", image=32))


def images_cifar10_full() -> Figure:
    """Loss against images seen on CIFAR-10, by patch size, with L(p, D)."""
    return curve_figure({name: (law.law, points) for name, (law, points) in cifar10_full.surfaces().items()})


def law_nuclei() -> Figure:
    """Loss against patch size, one seed."""
    table = numbers("nuclei")
    runs = pd.DataFrame({"patch": table["patch [px]"], "test_loss": table["test loss [nats]"]})
    runs = runs.assign(group="nuclei-adventurer_nano", backbone="adventurer_nano", seed=0, status="finished")
    return law_figure(runs.assign(task="detect", data="nuclei", image=256))


def study_table5() -> Figure:
    """Loss against tokens on shapes: smaller patches, or interpolated tokens (Table 5 of the paper)."""
    table = numbers("table5_shapes")
    rows = []
    for row in table.to_dict("records"):
        backbone, way = str(row["model"]).split(", ")
        rows += [(int(name.split()[0]), row[name], backbone, way) for name in table.columns[1:]]
    frame = pd.DataFrame(rows, columns=["x", "test_loss", "colour", "dash"]).assign(panel="", note="")
    frame = frame.sort_values(["colour", "dash"], ascending=[False, False], kind="stable")
    return study_figure(
        frame, "tokens of an image, log scale", "Longer sequences: by scaling and by extending (shapes, 16 px)"
    )


def figure2_camvid() -> Figure:
    """mIoU of both heads on CamVid, and their difference."""
    table = numbers("camvid")
    runs = pd.DataFrame({"patch": table["patch [px]"], "head": table["head"].map(HEADS), "miou": table["mIoU [%]"]})
    runs = runs.assign(backbone="adventurer_nano")
    gaps = runs.pivot_table(index="patch", columns="head", values="miou").add_prefix("miou_").reset_index()
    gaps = gaps.sort_values("patch", ascending=False, ignore_index=True).assign(backbone="adventurer_nano")
    gaps["gap_miou"] = gaps["miou_upernet"] - gaps["miou_linear"]
    gaps = gaps.assign(paper_linear=float("nan"), paper_upernet=float("nan"), gap_paper=float("nan"))
    return gap_figure(runs, gaps, "miou", "mIoU", "Does a decoder still help? (adventurer_nano, CamVid, 128 px)")


def flexivit_of(data: str, where: str) -> Figure:
    """Test loss of flexible and fixed models at all patch sizes, three seeds."""
    return flexivit_figure(*drawn(flexivit.losses(data)), f"Flexible and fixed models at all patch sizes ({where})")


def patch_order_of(data: str, where: str) -> Figure:
    """Test loss at the smallest patch size along the runs of each order of patch sizes, three seeds."""
    return order_figure(patch_order.curves(data), f"Order of patch sizes: test loss at the smallest ({where})")


def packed_rows() -> Figure:
    """Seven images in rows of 32 tokens, by first-fit, a class token before the patches of each, as DeiT has it."""
    images = [torch.zeros(3, h, w, dtype=torch.uint8) for h, w in PACKED_GRIDS]
    rows = pack(images, 1, 32, (1, 0), "first-fit", trim=False).rows
    class_RS = np.zeros(rows.images_RS.size, bool)
    class_RS[rows.class_tokens_N(0)] = True
    words = [f"{h} x {w}" for h, w in rows.grids]
    return packed_rows_figure(rows.images_RS, class_RS.reshape(rows.images_RS.shape), words)


def adaptive_leaves() -> Figure:
    """Leaves of images of the data set shapes, as many as uniform patches of 4 px, by each score."""
    images_BHWC = torch.from_numpy(render(0, np.array(LEAFY), 32, split="test").image_BHWC)
    pixels_BCHW, sides = normalise(images_BHWC.permute(0, 3, 1, 2), MEAN, STD), leaf_sides(2, 8)
    found: dict[str, list[list[Leaf]]] = {}
    for split_by in SPLITS:
        masks = leaves(pixels_BCHW, sides, 0.25, 0.0, split_by)
        found[split_by] = [_leaves_of([mask_Bhw[n] for mask_Bhw in masks], sides) for n in range(len(LEAFY))]
    return leaves_figure(images_BHWC.numpy(), found)


def _leaves_of(masks: list[torch.Tensor], sides: list[int]) -> list[Leaf]:
    pairs = zip(masks, sides, strict=True)
    return [Leaf(y * side, x * side, side) for mask_hw, side in pairs for y, x in mask_hw.nonzero().tolist()]


FIGURES: dict[str, Callable[[], Figure]] = {
    "law_shapes_seeds.png": law_shapes,
    "frontier_shapes.png": lambda: frontier_figure(shapes()),
    "law_cifar10.png": lambda: law_figure(cifar10_runs()),
    "law_cifar10_full.png": lambda: law_figure(cifar10_full.runs()),
    "images_cifar10_full.png": images_cifar10_full,
    "frontier_cifar10.png": frontier_cifar10,
    "figure1.png": lambda: figure1(figure1_numbers().frame),
    "figure1_honest.png": lambda: figure1_honest(figure1_numbers().frame),
    "optimal.png": lambda: optimal_figure(published_surface(), configured(), points(), budget.CURVES),
    "crossing.png": lambda: crossing_figure(numbers("crossing")),
    "study_table5.png": study_table5,
    "study_figure3.png": shape_ablations.sizes_figure,
    "study_figure4.png": shape_ablations.images_figure,
    "study_navit.png": lambda: mixed_sizes.figure("shapes", "shapes, 16 px"),
    "study_navit_cifar10.png": lambda: mixed_sizes.figure("cifar10", "CIFAR-10"),
    "study_positions.png": lambda: mixed_sizes.positions_figure("shapes", "shapes"),
    "study_positions_cifar10.png": lambda: mixed_sizes.positions_figure("cifar10", "CIFAR-10"),
    "study_stability.png": stability.figure,
    "study_rate_range.png": stability.rates_figure,
    "study_rates.png": shape_ablations.rates_figure,
    "figure2_camvid.png": figure2_camvid,
    "law_nuclei.png": law_nuclei,
    "shapes.png": sample_sheet.sheet,
    "design.png": design_figure,
    "flexivit_shapes.png": lambda: flexivit_of("shapes", "shapes, 16 px"),
    "flexivit_cifar10.png": lambda: flexivit_of("cifar10", "CIFAR-10"),
    "packed_rows.png": packed_rows,
    "schedules.png": schedules.figure,
    "adaptive_leaves.png": adaptive_leaves,
    "patch_order_shapes.png": lambda: patch_order_of("shapes", "shapes, 16 px"),
    "patch_order_cifar10.png": lambda: patch_order_of("cifar10", "CIFAR-10"),
    "study_patch_transfer.png": lambda: position_tables.finetuned_figure("shapes", "shapes, 16 px"),
    "study_patch_transfer_cifar10.png": lambda: position_tables.finetuned_figure("cifar10", "CIFAR-10"),
    "study_position_laws.png": lambda: position_tables.laws_figure("shapes", "shapes, 16 px"),
    "study_position_laws_cifar10.png": lambda: position_tables.laws_figure("cifar10", "CIFAR-10"),
    "study_transfer.png": lambda: position_tables.moved_figure("shapes", "shapes"),
    "study_transfer_cifar10.png": lambda: position_tables.moved_figure("cifar10", "CIFAR-10"),
    "study_embeddings.png": lambda: patch_embedding_tables.figure(
        "embeddings_shapes", "Patch embeddings (shapes, 16 px)"
    ),
    "study_embeddings_cifar10.png": lambda: patch_embedding_tables.figure(
        "embeddings_cifar10", "Patch embeddings (CIFAR-10)"
    ),
    "study_adaptive.png": lambda: patch_embedding_tables.trees_figure("shapes", "shapes"),
    "study_adaptive_cifar10.png": lambda: patch_embedding_tables.trees_figure("cifar10", "CIFAR-10"),
    "study_embed_init.png": lambda: patch_embedding_tables.figure(
        "embed_init_shapes", "Initial weights of the patch embedding (shapes, 16 px)"
    ),
}
