"""Every published number is in its table once, and one's own runs land on the cells that they are of."""

import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest

from analysis.paper.layout import PaperTable
from analysis.paper.tables import (
    all_tables,
    figure1,
    figure2,
    figure3,
    figure4,
    machine_name,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
)
from analysis.records.published import backbone_of, load_published, model_of, published_names
from analysis.records.run_set import load
from experiments.recipes import ade20k, cifar10, coco, imagenet, shapes
from experiments.stages import last_stages
from experiments.studies.resolve import resolve
from scaling import costs
from scaling.config.edit import edit
from scaling.errors import ConfigError
from tests.analysis.test_runs import save
from tests.conftest import ROOT

TIDY = ["published", "own", "seeds", "difference", "noise", "mark", "group"]
APS = ["ap_box", "ap50_box", "ap75_box", "ap_mask", "ap50_mask", "ap75_mask"]
PATCHES = ["p16", "p8", "p4", "p2", "p1"]
COSTS = ["vit_memory_mb_per_image", "deit_base_a100_hours_per_epoch", "adventurer_base_a100_hours_per_epoch"]
NUMBERS = [  # table, its file, the columns whose numbers it shows
    (table1, "table1_imagenet_patch", PATCHES),
    (table2, "table2_ade20k", ["miou", "params_m"]),
    (table3, "table3_coco", APS),
    (table4, "table4_model_and_patch", PATCHES),
    (table5, "table5_sequence_length", ["by_extending", "by_scaling"]),
    (table6, "table6_cost", COSTS),
    (table7, "table7_models", ["params_m"]),
    (figure1, "figure1_test_loss", ["test_loss"]),
    (figure3, "table4_model_and_patch", PATCHES),
]


@pytest.fixture(scope="module")
def published_alone() -> dict[str, PaperTable]:
    """The tables without runs; no test changes them."""
    return all_tables()


def saved(results, *runs, **facts) -> pd.DataFrame:
    """Runs that finished: pairs of recipe and metrics."""
    for config, metrics in runs:
        save(results, config, metrics.get("test_loss", 0.9), metrics=metrics, **facts)
    return load(results).frame


def with_own(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["own"].notna()]


def rows(frame: pd.DataFrame, *columns: str) -> list[list]:
    return frame[list(columns)].to_numpy().tolist()


def test_every_published_file_loads_and_is_described():
    assert len(published_names()) == 13
    described = (ROOT / "analysis" / "published" / "README.md").read_text()
    assert all(f"`{name}.csv`" in described for name in published_names())
    for name in published_names():
        assert len(load_published(name)) > 0
    assert len(load_published("figure1_test_loss.csv")) == 45


def test_a_word_in_a_published_table_stays_a_word_and_an_empty_cell_is_nan():
    assert set(load_published("table2_ade20k")["decoder"]) == {"UperNet", "None"}
    assert load_published("table1_imagenet_patch").isna().any(axis=None)


def test_an_unknown_published_name_says_what_there_is():
    with pytest.raises(ConfigError, match="did you mean table1_imagenet_patch"):
        load_published("table1_imagenet")


@pytest.mark.parametrize("backbone", ["deit_tiny", "deit_huge", "adventurer_small"])
def test_a_model_of_the_paper_and_a_backbone_of_ours_are_names_of_one_thing(backbone):
    assert backbone_of(model_of(backbone)) == backbone


@pytest.mark.parametrize("backbone", ["deit_nano", "deit3_base", "timm:vit_base_patch16_224"])
def test_what_the_paper_has_not_has_no_name_there(backbone):
    assert model_of(backbone) == ""


def test_every_published_number_is_in_its_table_once(published_alone):
    for table, name, columns in NUMBERS:
        printed = load_published(name)[columns].melt()["value"].dropna()
        assert Counter(published_alone[table.__name__].frame["published"]) == Counter(printed), name


def test_a_table_is_tidy_says_what_it_is_and_needs_no_runs(published_alone):
    assert len(published_alone) == 11
    for name, table in published_alone.items():
        frame, spec = table.frame, table.spec
        assert set(TIDY) < set(frame.columns), name
        assert not frame.duplicated([*spec.rows, "label", "patch", "metric"]).any(), name
        assert spec.name == name
        number = name[-1]
        assert spec.heading.startswith(f"{name[:-1].title()} {number}: ")
        assert spec.source == f"arXiv 2502.03738, {name[:-1].title()} {number}"
        assert frame["own"].isna().all() or name == "table7", name


def test_the_cells_of_a_table_are_where_the_paper_has_them():
    for number, frame in ((1, table1().frame), (4, table4().frame), (3, figure3().frame)):
        source = load_published("table1_imagenet_patch" if number == 1 else "table4_model_and_patch")
        at = frame.set_index(["model", "input_px", "patch"])["published"]
        for row in source.to_dict("records"):
            model = row["model"] if number == 1 else f"Adventurer-{row['model']}"
            for column in PATCHES:
                if not pd.isna(row[column]):
                    assert at[model, row["input_px"], int(column[1:])] == row[column]
    at = table2().frame.query("metric == 'mIoU'").set_index(["model", "decoder", "patch"])["published"]
    assert (at["Adventurer-Tiny", "linear", 16], at["Adventurer-Base", "UperNet", 16]) == (40.0, 45.7)
    at = table5().frame.set_index(["model", "way", "length"])["published"]
    assert (at["DeiT-Base", "by extending", 1024], at["Adventurer-Base", "by scaling", 12544]) == (78.2, 84.5)
    at = table6().frame.set_index(["model", "length"])["published"]
    assert (at["ViT", 784], at["DeiT-Base", 50176], at["Adventurer-Base", 196]) == (252, 967.99, 0.45)


def test_runs_of_any_data_are_in_table_1_but_not_those_of_table_4(tmp_path):
    small, mine = imagenet.adventurer_small(8, 128)[-1], cifar10.deit_nano(4)
    runs = saved(tmp_path, *((run, {"top1": 70.0}) for run in (imagenet.deit_base(8, 128), small, mine)))
    assert rows(with_own(table1(runs).frame), "model", "data", "input_px", "published") == [
        ["DeiT-Base", "imagenet", 128, 81.0],
        ["deit_nano", "cifar10", mine.model.img_size, pytest.approx(float("nan"), nan_ok=True)],
    ]
    assert rows(with_own(table4(runs).frame), "model", "data") == [
        ["Adventurer-Small", "imagenet"],
        ["deit_nano", "cifar10"],
    ]


def test_segmentation_stands_by_model_and_decoder_with_its_parameters(tmp_path):
    paper, other = edit(ade20k.adventurer_tiny(16), head="upernet"), shapes.seg_nano(8)
    runs = saved(tmp_path, (paper, {"miou": 40.3}), (other, {"miou": 60.0}), parameters=17_400_000)
    found = with_own(table2(runs).frame)
    assert rows(found.fillna({"published": 0}), "model", "decoder", "metric", "published", "own") == [
        ["Adventurer-Tiny", "UperNet", "mIoU", 41.3, 40.3],
        ["Adventurer-Tiny", "UperNet", "parameters", 17.0, 17.4],
        ["Adventurer-Tiny", "UperNet", "less positions", 0, pytest.approx(17.4 - 1025 * 256 / 1e6)],
        ["adventurer_nano", "linear", "mIoU", 0, 60.0],
        ["adventurer_nano", "linear", "parameters", 0, 17.4],
        ["adventurer_nano", "linear", "less positions", 0, 17.4],
    ]
    assert found["mark"].tolist() == ["?", "", "", "", "", ""]  # 0.4 million is what rounding to millions does


def test_detection_is_one_series_down_from_patch_64_and_another_recipe_stays_apart(tmp_path):
    paper = [(coco.adventurer_base(patch), {"box_ap": 45.0, "mask_ap50": 60.0}) for patch in (64, 32)]
    runs = saved(tmp_path, *paper, (coco.adventurer_base_lsj(16), {"box_ap": 54.0}))
    found = with_own(table3(runs).frame)
    assert set(found["label"]) == {""}
    boxes = found[found["metric"] == "box AP"].fillna({"published": 0})
    assert rows(boxes, "model", "input_px", "patch", "published", "own") == [
        ["Adventurer-Base", 800, 64, 44.1, 45.0],
        ["Adventurer-Base", 800, 32, 46.4, 45.0],
        ["adventurer_base", 1024, 16, 0, 54.0],
    ]
    assert rows(found[found["metric"] == "mask AP50"], "published") == [[60.1], [62.5]]


def test_the_runs_of_table_5_fill_both_ways_and_share_the_first(tmp_path):
    runs = last_stages(resolve("table5", [], {}))
    found = table5(
        saved(
            tmp_path,
            *((run, {"top1": 50 + run.model.patch_size + (run.model.embed_patch_size or 0) / 100}) for run in runs),
        )
    ).frame
    assert found["own"].notna().all()
    assert set(found["label"]) == {""}
    for row in found.itertuples():
        extended = row.way == "by extending" and row.patch < 16
        assert row.own == 50 + row.patch + (0.16 if extended else 0)
    assert rows(found[found["patch"] == 16], "own") == [[66.0]] * 4


def test_ones_own_extended_runs_are_in_table_5_and_plain_ones_are_not(tmp_path):
    runs = [(run, {"top1": 50.0}) for run in resolve("shapes.table5", [], {"backbone": "deit_nano"})]
    found = with_own(table5(saved(tmp_path, *runs, (cifar10.deit_nano(4), {"top1": 1.0}))).frame)
    assert set(found["model"]) == {"deit_nano"}
    assert set(found["data"]) == {"shapes"}
    assert rows(found[found["way"] == "by extending"], "patch", "length") == [[8, 4], [4, 16], [2, 64]]
    assert rows(found[found["way"] == "by scaling"], "patch") == [[8], [4], [2]]


def test_hours_are_a_replication_on_the_same_card_only(tmp_path):
    rate = costs.IMAGENET_IMAGES / 3600 / 0.4
    mine = {"images_per_second": rate, "peak_memory": 6_400_000_000}
    card = {"gpus": ["NVIDIA A100-SXM4-80GB"] * 8, "devices": 1, "micro_batch": 64}
    other = {"gpus": ["NVIDIA H200"] * 8, "devices": 8}
    saved(tmp_path, (imagenet.deit_base(16), {"top1": 80.0}), machine=card, **mine)
    runs = saved(tmp_path, (imagenet.deit_base(8), {"top1": 80.0}), machine=other, **mine)
    runs = saved(tmp_path, (imagenet.deit_base(8, 128), {"top1": 80.0}), machine=card, **mine)
    found = with_own(table6(runs).frame).fillna({"published": 0})
    assert rows(found, "model", "machine", "patch", "metric", "published") == [
        ["DeiT-Base", "A100-80GB", 16, "memory", 0],
        ["DeiT-Base", "A100-80GB", 16, "epoch", 0.36],
        ["DeiT-Base", "8 x NVIDIA H200", 8, "epoch", 0],
    ]
    assert found["own"].tolist() == pytest.approx([100.0, 0.4, 0.4])


def test_a_machine_has_a_name_whatever_its_record_says():
    assert machine_name({"machine_gpus": [], "machine_processor": "Xeon", "machine_cores": 2.0}) == "Xeon, 2 cores"
    assert machine_name({"machine_gpus": ["NVIDIA H200"] * 2, "machine_devices": float("nan")}) == "2 x NVIDIA H200"
    assert machine_name({"machine_cpu": "two cores", "machine_gpus": float("nan")}) == "unknown machine"


def test_table_7_counts_parameters_itself_and_marks_what_rounding_does_not_explain():
    found = table7().frame.set_index("model")
    assert found.loc["Adventurer-Huge", ["published", "mark"]].tolist() == [759, "*"]
    assert found.loc["Adventurer-Huge", "own"] == pytest.approx(718.0, abs=0.1)
    assert found["own"].tolist() == [
        pytest.approx(costs.parameters(backbone_of(model), 224, 16, 1000) / 1e6) for model in found.index
    ]
    assert set(found.index[found["mark"] == "*"]) == {"DeiT-Huge", "Adventurer-Huge"}
    source = load_published("table7_models").set_index("model")
    assert rows(found, "embed_dim", "mlp_dim", "blocks") == rows(source, "embed_dim", "mlp_dim", "blocks")


def test_losses_are_in_the_panels_of_figure_1_that_they_are_of(tmp_path):
    detected = {"box_ap": 45.0, "test_box_loss": 0.3, "test_mask_loss": 0.2, "test_loss": 0.5}
    runs = saved(
        tmp_path,
        (imagenet.deit_base(16, 64), {"top1": 68.0, "test_loss": 1.2}),
        (imagenet.adventurer_large(16, 128)[-1], {"top1": 79.0, "test_loss": 0.95}),
        (imagenet.adventurer_large(16, 128)[0], {"top1": 77.0, "test_loss": 0.99}),
        (ade20k.adventurer_base(16), {"miou": 44.0, "test_loss": 0.34}),
        (edit(ade20k.adventurer_base(16), img_size=256), {"miou": 44.0, "test_loss": 0.35}),
        (coco.adventurer_tiny(16), detected),
        (shapes.deit_nano(4), {"top1": 80.0}),
    )
    found = with_own(figure1(runs).frame).fillna({"published": 0})
    assert rows(found, "panel", "model", "metric", "published", "own") == [
        ["a", "DeiT-Base", "test loss", 1.1125, 1.2],
        ["d", "Adventurer-Base", "test loss", 0, 0.34],
        ["e", "Adventurer-Tiny", "box loss", 0, 0.3],
        ["f", "Adventurer-Tiny", "mask loss", 0, 0.2],
        ["h", "Adventurer-Large", "test loss", 0.9001, 0.95],
    ]
    source = load_published("figure1_test_loss").drop_duplicates("panel").set_index("panel")["axis_l_inf"]
    assert figure1(runs).frame.drop_duplicates("panel").set_index("panel")["axis_l_inf"].to_dict() == source.to_dict()


def test_figure_2_is_table_2_and_the_gap_between_its_heads(tmp_path):
    scores = {"linear": (40.0, 40.2), "upernet": (41.0, 41.4)}
    runs = [
        (edit(ade20k.adventurer_tiny(16), head=head, seed=seed), {"miou": miou})
        for head, its in scores.items()
        for seed, miou in enumerate(its)
    ]
    found = figure2(saved(tmp_path, *runs)).frame
    gaps = found[found["metric"] == "gap"]
    assert rows(gaps, "model", "patch") == [["Adventurer-Tiny", 16], ["Adventurer-Base", 16]]
    assert gaps["published"].tolist() == pytest.approx([1.3, 1.7])
    gap = gaps.iloc[0]
    assert gap[["own", "difference"]].tolist() == pytest.approx([1.1, -0.2])
    of = {row.decoder: row.noise for row in with_own(found[found["metric"] == "mIoU"]).itertuples()}
    assert gap["noise"] == pytest.approx((of["linear"] ** 2 + of["UperNet"] ** 2) ** 0.5)
    assert (gap["seeds"], gap["mark"]) == (2, "")
    miou = found[found["metric"] == "mIoU"]
    assert Counter(miou["published"]) == Counter(load_published("table2_ade20k")["miou"])


def test_a_head_alone_has_no_gap(tmp_path):
    found = with_own(figure2(saved(tmp_path, (ade20k.adventurer_tiny(8), {"miou": 41.0}))).frame)
    assert rows(found, "decoder", "patch", "published") == [["linear", 8, 41.6]]


def test_figure_3_has_the_flops_of_each_number(tmp_path):
    mine = shapes.deit_nano(4)
    found = figure3(saved(tmp_path, (mine, {"top1": 50.0}), flops_per_image=123.0)).frame
    for row in found[found["published"].notna()].itertuples():
        assert row.flops == costs.flops(backbone_of(row.model), row.input_px, row.patch, 1000)
    assert rows(with_own(found), "model", "flops") == [["deit_nano", 123.0]]


def test_figure_4_holds_the_tokens_while_the_image_grows(tmp_path):
    found = figure4().frame
    assert (found["tokens"] == (found["input_px"] // found["patch"]) ** 2).all()
    sides = found.groupby(["model", "tokens"])["input_px"].agg(list)
    assert set(map(tuple, sides)) == {(64, 128)}
    assert sides.index.tolist() == [(m, n) for m in ("Adventurer-Base", "DeiT-Base") for n in (64, 256, 1024, 4096)]
    assert not found.duplicated(["model", "input_px", "patch"]).any()
    mine = [(imagenet.deit_base(14, 224), {"top1": 81.5}), (imagenet.deit_base(8, 128), {"top1": 80.5})]
    its = figure4(saved(tmp_path, *mine, (imagenet.deit_base(7, 112), {"top1": 79.0}))).frame
    its = its.query("model == 'DeiT-Base' and tokens == 256").fillna(0)
    assert rows(its, "input_px", "patch", "published", "own") == [
        [64, 4, 80.1, 0],
        [112, 7, 0, 79.0],
        [128, 8, 81.0, 80.5],
        [224, 14, 0, 81.5],
    ]


def test_runs_that_failed_are_in_no_table(tmp_path, published_alone):
    save(tmp_path, imagenet.deit_base(8, 128), None)
    save(tmp_path, ade20k.adventurer_tiny(16), None)
    tables = all_tables(load(tmp_path).frame)
    assert list(tables) == [*(f"table{n}" for n in range(1, 8)), *(f"figure{n}" for n in range(1, 5))]
    for name, table in tables.items():
        assert len(table.frame) == len(published_alone[name].frame)
        assert name == "table7" or table.frame["own"].isna().all()


def test_tables_load_neither_torch_nor_matplotlib():
    code = (
        "import sys, analysis.paper.tables, analysis.report.text_tables\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
