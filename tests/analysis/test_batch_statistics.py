"""batch_statistics.py from the command line, and what it measures, on small runs."""

import pandas as pd
import pytest
import torch

from analysis.batch_statistics import main
from scaling.backbones.batch_norm import STATISTICS, batch_norms
from scaling.comparison.batch_statistics import _of_each_batch, batch_statistics
from scaling.comparison.loss_surface import open_surfaces
from scaling.config.edit import edit
from scaling.runs.record import RunRecord

FILES = {"batch_statistics.csv", "batch_statistics.png", "batch_statistics.pdf"}


@pytest.fixture
def batch_normed(trained, tiny):
    """norm -> the folder of a flexible run for 8 and 4 px with this norm."""

    def run(norm):
        drawn = {"patch_embed": "flexible", "step_shapes": "random_patch", "patches": "8,4"}
        config = edit(tiny, norm=norm, patch_size=4, epochs=1, **drawn)
        return trained(config) / config.run_id

    return run


@pytest.mark.parametrize("norm", ["batch", "batch_per_patch"])
def test_statistics_of_a_batch_are_those_that_running_ones_may_be_set_to(batch_normed, norm):
    for surface in open_surfaces(batch_normed(norm), [8, 4], 40, largest=40):
        norms = batch_norms(surface.task)
        trained = [[getattr(one, name).clone() for name in STATISTICS] for one in norms]
        found = batch_statistics(surface)
        assert found.loss_running == surface.loss()  # nothing is left of it
        assert found.gap != 0
        assert found.mean_shift > 0
        assert found.variance_factor > 1
        for one, kept in zip(norms, trained, strict=True):
            assert all(torch.equal(getattr(one, name), was) for name, was in zip(STATISTICS, kept, strict=True))
        with _of_each_batch(norms) as seen:
            surface.loss()
        for one, (statistics,) in zip(norms, seen, strict=True):
            for name, value_D in zip(STATISTICS, statistics, strict=True):
                getattr(one, name)[one.row(surface.patch)] = value_D.float()
        same = batch_statistics(surface)
        assert same.loss_running == pytest.approx(found.loss_batch, rel=1e-4)
        assert same.gap == pytest.approx(0, abs=1e-4)
        assert same.mean_shift == pytest.approx(0, abs=1e-4)
        assert same.variance_factor == pytest.approx(1, abs=1e-4)


def test_a_run_has_a_row_per_patch(batch_normed, unsaved, tmp_path, capsys):
    run = batch_normed("batch")
    assert main([str(run), "--images", "40", "--batch", "8", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "on 40 test images, 8 in a batch" in " ".join(said.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    table = pd.read_csv(tmp_path / "out" / "batch_statistics.csv").set_index("patch")
    losses = {row["patch_size"]: row["test_loss"] for row in RunRecord.load(run).evaluations}
    assert table["loss_running"].to_dict() == pytest.approx(losses, rel=1e-4)
    assert table["gap"].to_dict() == pytest.approx((table["loss_batch"] - table["loss_running"]).to_dict(), abs=1e-5)
    assert main([str(run), "--images", "40", "--batch", "40", "--out", str(tmp_path / "whole")]) == 0
    whole = pd.read_csv(tmp_path / "whole" / "batch_statistics.csv").set_index("patch")
    assert (whole["loss_running"] == table["loss_running"]).all()
    assert (whole["loss_batch"] != table["loss_batch"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN"], "the run has norm layer, without statistics of batches: train with --norm batch"),
        (["RUN", "--images", "30", "--batch", "20"], "--images 30 is no multiple of the 20 of a batch: --images 20"),
        (["RUN", "--images", "3", "--batch", "20"], "--images 3 is no multiple of the 20 of a batch: --images 20"),
        (["RUN", "--batch", "0"], "--batch 0 is too few: 1 image or more"),
        (["nowhere"], "nowhere is no finished run"),
    ],
)
def test_what_cannot_be_used_is_named_in_a_line_and_nothing_is_written(arguments, message, fixed, refused):
    whole = [] if "--images" in arguments else ["--images", "40", *([] if "--batch" in arguments else ["--batch", "8"])]
    refused(main, [word.replace("RUN", str(fixed)) for word in [*arguments, *whole]], "batch_statistics", message)
