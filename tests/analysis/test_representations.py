"""representations.py from the command line, on small runs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import torch.nn.functional as F

from analysis.representations import main
from analysis.similarity.similarities import labels
from scaling.backbones import checkpoint_io
from scaling.config.edit import edit
from scaling.data.batch import normalise
from scaling.inference import load_backbone
from tests.analysis.test_similarity import stated_hsic
from tests.pictures import prepared, write_classes
from tests.seams.test_patch_embed import registered  # noqa: F401  a fixture

FILES = {"representations.npz", "representations.csv", "map.csv"} | {
    f"{stem}.{ending}" for stem in ("matrix", "same_layer", "map", "tsne") for ending in ("png", "pdf")
}


@pytest.fixture
def runs(trained, tiny):
    """Folders of two runs of one step, patches of 8 and 4 px."""
    configs = [edit(tiny, patch_size=patch, epochs=1, num_train=16) for patch in (8, 4)]
    return [str(trained(config) / config.run_id) for config in configs]


def class_tokens(run):
    """Of all test images after each block, by a plain forward pass."""
    backbone, config = load_backbone(run)
    data = prepared(config)
    pixels = torch.cat([batch.pixels for batch in data.test_dataloader()])
    vit = backbone.vit
    with torch.no_grad():
        patches_BLD, layout = vit.patch_embed(normalise(pixels))
        x_BTD = torch.cat([vit.cls_token.expand(len(pixels), -1, -1), patches_BLD], 1)
        x_BTD = vit.positions.add(x_BTD, replace(layout, leading=1), vit.pos_embed)
        found = [x_BTD]
        for block in vit.blocks:
            found.append(block(found[-1]))
    return found


def test_the_numbers_are_those_of_plain_forward_passes_and_the_stated_formula(runs, tmp_path, capsys, unsaved):
    assert main([*runs, "--images", "40", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "2 models (p8, p4) on 40 images; patches are averaged over each of 2 x 2 cells" in " ".join(said.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    of_8, of_4 = map(class_tokens, runs)
    at = ["label_a", "layer_a", "label_b", "layer_b"]
    table = pd.read_csv(tmp_path / "out" / "representations.csv", dtype={"layer_a": str, "layer_b": str})
    found = {tokens: its.set_index(at) for tokens, its in table.groupby("tokens")}

    def stated(x, y):
        x, y = (a.double().numpy() for a in (x, y))
        return stated_hsic(x, y) / np.sqrt(stated_hsic(x, x) * stated_hsic(y, y))

    for n in (1, 3):
        of_class = found["class token"].loc[("p8", str(n), "p4", str(n))]
        assert of_class["cka"] == pytest.approx(stated(of_8[n][:, 0], of_4[n][:, 0]), abs=1e-3)
        assert of_class["distance"] == pytest.approx(np.arccos(of_class["cka"]), abs=1e-4)
        cells = F.avg_pool2d(of_4[n][:, 1:].transpose(1, 2).unflatten(2, (4, 4)), 2).flatten(2).transpose(1, 2)
        of_patches = found["patches"].loc[("p8", str(n), "p4", str(n))]
        assert of_patches["cka"] == pytest.approx(stated(of_8[n][:, 1:].flatten(1), cells.flatten(1)), abs=1e-3)
    assert "embed" in set(found["patches"].index.get_level_values("layer_a"))
    assert "embed" not in set(found["class token"].index.get_level_values("layer_a"))
    with np.load(tmp_path / "out" / "representations.npz") as arrays:
        assert arrays["patches_cka"].shape == (14, 14)
        assert arrays["class_token_distance"].shape == (12, 12)
        assert arrays["class_token_layer"].tolist() == ["1 mix", "1", "2 mix", "2", "3 mix", "3"] * 2
        assert arrays["patches_patch"].tolist() == [8] * 7 + [4] * 7
        assert np.array_equal(arrays["patches_cka"], arrays["patches_cka"].T)


def compared(arguments, out):
    """The patch sizes, and the matrix of patches."""
    assert main([*map(str, arguments), "--images", "8", "--out", str(out)]) == 0
    with np.load(out / "representations.npz") as arrays:
        return list(dict.fromkeys(arrays["patches_label"].tolist())), arrays["patches_cka"]


@pytest.mark.usefixtures("unsaved")
def test_a_run_alone_is_compared_at_every_patch_and_several_at_their_own(runs, tmp_path):
    names, resampled = compared([runs[0], "--patch", "4,8,16"], tmp_path)
    assert names == ["p16", "p8", "p4"]
    assert resampled.shape == (21, 21)
    names, both = compared([*runs, "--patch", "16,8,4"], tmp_path)
    assert names == ["p8", "p4"]
    names, alone = compared([runs[0]], tmp_path / "alone")
    assert names == ["p8"]
    assert both[:7, :7] == pytest.approx(alone, abs=1e-6)
    assert not list((tmp_path / "alone").glob("same_layer*"))


@pytest.mark.usefixtures("registered", "unsaved")
def test_the_patch_of_a_flexible_run_is_an_argument_of_its_call(trained, tiny, tmp_path, runs):
    config = edit(tiny, patch_embed="resized", gain=2.0, epochs=1, num_train=16)
    run = trained(config) / config.run_id
    names, cka = compared([run, "--patch", "8,4,2"], tmp_path)
    assert names == ["p8", "p4", "p2"]
    assert cka.shape == (21, 21)
    assert cka[:7, 7:].max() < 0.9999
    names, _ = compared([run, runs[1], "--patch", "8,4"], tmp_path)
    assert names == ["flexible p8", "flexible p4", "p4"]


@pytest.mark.usefixtures("unsaved")
def test_timms_weights_are_compared_on_a_folder_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_io, "_from_timm", lambda name: timm.create_model(name).state_dict())
    write_classes(tmp_path / "images", ("ant", "bee"), train=3, test=1)
    model = "timm:vit_tiny_patch16_224"
    names, cka = compared([model, "--patch", "112,56", "--data-root", tmp_path / "images"], tmp_path / "out")
    assert names == ["p112", "p56"]
    assert cka.shape == (50, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "--patch", "8,x"], "--patch: 'x' is not a patch size; give whole numbers [px], as --patch 16,8,4"),
        (["RUN", "--patch", ""], "--patch: '' is not a patch size"),
        (["RUN", "--patch", "0"], "--patch: '0' is not a patch size"),
        (["RUN", "--patch", "8,5"], "patch 5 does not divide a 16 px image; nearest that do: 4, 8"),
        (["RUN", "OTHER", "--patch", "8"], "has patch 4, which --patch does not list"),
        (["RUN", "RUN/."], "is given twice"),
        (["RUN", "--images", "3"], "--images 3 is too few: CKA needs 4 or more"),
        (["RUN", "--images", "many"], "invalid int value: 'many'; --help lists the options"),
        (["RUN", "--images", "41"], "41 images requested, 40 available: --images 40 or fewer"),
        (["RUN", "--data-root", "nowhere"], "--data-root nowhere: no such folder"),
        (["nowhere"], "nowhere is no finished run"),
        (["timm:vit_tiny_patch16_224", "--patch", "16"], "timm's weights have no test images: give a folder of images"),
        (["RUN", "timm:vit_tiny_patch16_224"], "timm:vit_tiny_patch16_224 needs patch sizes: --patch 16, for instance"),
        (["RUN", "timm:vit_tiny", "--patch", "8"], "timm has no model 'vit_tiny'"),
        (["RUN", "timm:resnet18", "--patch", "8"], "timm's resnet18 is not a plain ViT"),
        (
            ["timm:vit_tiny_patch16_224", "--patch", "15", "--data-root", "nowhere"],
            "patch 15 does not divide a 224 px image",
        ),
        ([], "the following arguments are required: MODEL"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_line_and_nothing_is_written(arguments, message, runs, refused):
    replaced = [word.replace("RUN", runs[0]).replace("OTHER", runs[1]) for word in arguments]
    refused(main, replaced, "representations", message)


def test_labels_are_as_short_as_they_may_be():
    def of(*rows):
        return labels(rows, always=2)

    first, second = ("", "deit_nano", "p16", "s0", "ab"), ("", "deit_nano", "p8", "s0", "cd")
    assert of(first) == ["p16"]
    assert of(first, second) == ["p16", "p8"]
    assert of(first, second, ("", "deit_nano", "p8", "s1", "ef")) == ["p16 s0", "p8 s0", "p8 s1"]
    assert of(first, ("", "adventurer_nano", "p16", "s0", "gh")) == ["deit_nano p16", "adventurer_nano p16"]
    assert of(first, ("flexible", "deit_nano", "p16", "s0", "gh")) == ["p16", "flexible p16"]
    assert of(first, ("", "deit_nano", "p16", "s0", "gh")) == ["p16 ab", "p16 gh"]
