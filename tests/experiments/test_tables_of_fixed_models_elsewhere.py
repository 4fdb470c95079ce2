"""Tables of fixed models at other patch sizes: their cells are those of the measured losses."""

import math
import statistics

from experiments.documentation import flexivit


def test_the_loss_of_each_way_is_over_that_of_the_model_of_the_same_patch_and_seed():
    found = flexivit.losses()
    loss = {tuple(row[:5]): row.test_loss for row in found.itertuples(index=False)}
    of_seeds = []
    for seed in (0, 1, 2):
        logs = [
            math.log(of / loss["deit_nano", patch, "pi", patch, seed])
            for (backbone, model, way, patch, at), of in loss.items()
            if (backbone, way, at) == ("deit_nano", "area", seed) and patch > model
        ]
        assert len(logs) == 6  # 2 px at three sizes, 4 px at two, 8 px at one
        of_seeds.append(math.exp(statistics.mean(logs)))
    cell = f"{statistics.mean(of_seeds):.2f} ± {statistics.stdev(of_seeds):.2f}"
    (row,) = [line for line in flexivit.by_way() if line.startswith("| deit_nano | coarser |")]
    assert row.split(" | ")[3] == cell


def test_the_table_elsewhere_has_a_row_for_the_flexible_model_and_each_fixed_one():
    _, _, *rows = flexivit.elsewhere()
    assert [row.split(" | ")[1] for row in rows] == ["all", "16", "8", "4", "2"] * 2
