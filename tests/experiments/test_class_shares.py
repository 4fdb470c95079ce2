"""class_shares.py: shares of classes in training crops, compared with a count over the crops one by one."""

import numpy as np
import pandas as pd
import pytest

from experiments.class_shares import BALANCE, class_shares, main
from experiments.recipes import shapes
from scaling.config.edit import edit
from scaling.config.step_shapes import StepShape
from scaling.data.datamodule import ImageDataModule
from scaling.rng import SampleKey


@pytest.fixture
def config():
    return edit(shapes.seg_nano(4), num_train=40)


def test_shares_are_those_of_the_pixels_of_each_crop(config):
    found = class_shares(config, [0.5, 1.0], 40).set_index(["crop", "class"])
    data = ImageDataModule(config)
    data.setup()
    names = list(data.names)
    for crop, shape in ((0.5, StepShape(4, 16, 32)), (1.0, StepShape(4, 32))):
        maps = [data.train_set.get_batch([SampleKey(0, i)], shape).targets.label_BHW[0].numpy() for i in range(40)]
        pixels = np.concatenate([one.ravel() for one in maps])
        assert len(pixels) == 40 * (32 * crop) ** 2
        shares = [float((pixels == k).mean()) for k in range(len(names))]
        for k, name in enumerate(names):
            assert found.loc[(crop, name), "share"] == pytest.approx(shares[k])
            assert found.loc[(crop, name), "crops"] == pytest.approx(np.mean([(one == k).any() for one in maps]))
        entropy = -sum(share * np.log(share) for share in shares if share)
        assert found.loc[(crop, BALANCE), "share"] == pytest.approx(entropy / np.log(len(names)))


def test_the_command_writes_a_row_per_crop_seed_and_class(tmp_path, capsys):
    out = tmp_path / "new" / "shares.csv"
    words = ["shapes.seg_nano", "--images", "32", "--crops", "0.5", "--seeds", "0,1", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines() if str(tmp_path) not in line) <= 80
    table = pd.read_csv(out)
    assert len(table) == 2 * 2 * 5
    assert (table[table["crop"] == 1]["ratio"] == 1).all()
    of_classes = table[table["class"] != BALANCE].groupby(["crop", "seed"])["share"].sum()
    assert of_classes.tolist() == pytest.approx([1.0] * 4, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shapes.deit_nano"], "classify has no label maps; name a recipe of segmentation"),
        (["shapes.seg_nano", "--images", "0"], "0 images requested"),
        (["shapes.seg_nano", "--images", "999999"], "999999 images requested"),
        (["shapes.seg_nano", "--crops", "0.5,x"], "'0.5,x' is no list of shares"),
        (["shapes.seg_nano", "--crops", "1.5"], "'1.5' is no list of shares"),
        (["shapes.seg_nano", "--crops", "nan"], "'nan' is no list of shares"),
        (["shapes.seg_nano", "--seeds", "-1"], "'-1' is no list of seeds"),
        (["shapes.seg_nano", "--patch", "5"], "patch 5 does not divide"),
        (["shapes.nothing"], "nothing"),
        ([], "the following arguments are required: RECIPE"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--out", "out/shares.csv"]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("class_shares: ")
    assert message in line
    assert not said.out
    assert not list(tmp_path.iterdir())
