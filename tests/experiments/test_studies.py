"""The paper's ablations by name: their recipes, their table beside the published numbers, their figures."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.paper.comparison import published_miou, published_top1
from analysis.plots.studies import gap_figure
from analysis.records.published import load_published
from analysis.records.run_set import RunSet, load
from analysis.studies.ablations import KINDS, figure
from analysis.studies.larger_or_finer import spending
from analysis.studies.study_report import report
from analysis.studies.study_table import StudyRun, study_table
from analysis.studies.upernet_gain import gaps, spread_sentence
from experiments import sweep
from experiments.cli.resolve import resolve as resolve_recipe
from experiments.launch.progress_display import told_apart
from experiments.stages import last_stages
from experiments.studies.catalogue import STUDIES
from experiments.studies.resolve import resolve
from scaling import costs
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.config.flat import to_flat
from scaling.config.task import SEGMENTATION_HEADS
from scaling.errors import ConfigError
from scaling.runs.record import HEADLINES
from tests.analysis.test_runs import save as save_run

SMALL = sorted(name for name in STUDIES if "." in name)
ABLATIONS = sorted(name for name in STUDIES if name.rsplit(".", 1)[-1] in (*KINDS, "figure2"))


def save(results, config: ExperimentConfig, test_loss: float | None = 1.0, score: float = 50.0) -> None:
    """A finished run, or a failed one where test_loss is None. score: its task's headline metric [%]."""
    save_run(
        results,
        config,
        test_loss,
        metrics={} if test_loss is None else {HEADLINES[config.task.kind][0]: score},
        tokens=costs.tokens(config.model.img_size, config.model.patch_size),
        parameters=costs.parameters(
            config.model.backbone,
            config.model.img_size,
            config.model.embed_patch_size or config.model.patch_size,
            config.data.num_classes,
        ),
        flops_per_image=float(costs.recipe_flops(config)),
        failure={"reason": "loss is nan"} if test_loss is None else {},
    )


def planned_runs(runs) -> list[StudyRun]:
    return [StudyRun(run.run_id, run.model.backbone, run.model.patch_size) for run in runs]


def done(results, name, **given) -> tuple[RunSet, list[StudyRun]]:
    """All runs of a study as if they had finished, loss falling with tokens, and the runs that its table shows."""
    runs = resolve(name, [], given)
    for run in runs:
        tokens = costs.tokens(run.model.img_size, run.model.patch_size)
        loss = 2.0 * costs.tokens(run.model.img_size, run.model.embed_patch_size or run.model.patch_size) ** -0.2
        save(results, run, loss, score=min(99.0, 20.0 + tokens**0.5))
    return load(results), planned_runs(last_stages(runs))


def lines(drawn: Figure) -> dict[str, list[float]]:
    """Loss at the points of every line, by its name."""
    found = {}
    for axes in drawn.axes:
        names = axes.get_legend_handles_labels()[1]
        drawn_lines = [line for line in axes.lines if line.get_marker() == "None"]
        found |= {name: list(line.get_ydata()) for name, line in zip(names, drawn_lines, strict=True)}
    return found


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_every_study_builds_says_how_to_run_it_and_has_each_run_once(name):
    runs = resolve(name, [], {})
    assert len({run.run_id for run in runs}) == len(runs) >= 6
    assert f"python experiments/sweep.py {name}" in STUDIES[name].__doc__
    seen = set()
    for run in runs:  # a chain's stages come in their order, and all of them
        before = run.predecessor
        assert before is None or before.run_id in seen or before.task.kind != run.task.kind
        seen.add(run.run_id)


@pytest.mark.parametrize("name", SMALL)
def test_small_studies_fit_what_their_data_can_draw(name):
    for run in resolve(name, [], {}):
        assert run.data.dataset == name.split(".")[0]
        assert run.model.img_size >= 16
        most = 60e6 if name in ABLATIONS else 100e6  # learning rates are compared at the patch sizes of laws
        assert costs.recipe_flops(run) < (most if run.task.kind == "classify" else 500e6)


def test_table_5_has_the_papers_runs_once_each_and_extends_every_stage():
    shown = last_stages(resolve("table5", [], {}))
    published = load_published("table5_sequence_length")
    assert len(shown) == 2 * len(published) - 2  # at patch 16 both ways are one run
    for row in published.itertuples():
        backbone = row.model.lower().replace("-", "_")
        its = [
            r
            for r in shown
            if (r.model.backbone, r.model.img_size, (r.model.img_size // r.model.patch_size) ** 2)
            == (backbone, row[2], row.length)
        ]
        assert {(r.model.embed_patch_size or 0) for r in its} == ({0} if its[0].model.patch_size == 16 else {0, 16})
    stages = [r for r in resolve("table5", [], {}) if r.model.backbone == "adventurer_base" and r.model.patch_size == 8]
    assert [(r.model.embed_patch_size or 0) for r in stages] == [0, 0, 0, 16, 16, 16]
    assert [r.model.img_size for r in stages] == [128, 224, 224] * 2


@pytest.mark.parametrize("name", ["shapes.table5", "cifar10.table5"])
def test_small_table_5_extends_from_its_coarsest_patch(name):
    runs = resolve(name, [], {})
    for backbone in ("deit_nano", "adventurer_nano"):
        its = [(r.model.patch_size, r.model.embed_patch_size or 0) for r in runs if r.model.backbone == backbone]
        top = max(patch for patch, _ in its)
        assert its == [(top, 0), (top // 2, 0), (top // 2, top), (top // 4, 0), (top // 4, top)]
    assert len({(r.model.img_size, r.schedule.epochs, r.data.num_train or 0) for r in runs}) == 1


@pytest.mark.parametrize(
    ("name", "ratios", "images"),
    [
        ("figure4", {16, 32}, {64, 128, 224}),
        ("shapes.figure4", {4, 8}, {16, 32, 64}),
        ("cifar10.figure4", {8}, {16, 32, 64}),
    ],
)
def test_figure_4_holds_image_over_patch_while_the_image_grows(name, ratios, images):
    runs = resolve(name, [], {})
    assert {r.model.img_size // r.model.patch_size for r in runs} == ratios
    for backbone, ratio in product({r.model.backbone for r in runs}, ratios):
        its = [r for r in runs if r.model.backbone == backbone and r.model.img_size // r.model.patch_size == ratio]
        assert {r.model.img_size for r in its} == images
        held = [{**to_flat(r), "image": 0, "patch": 0} for r in its]
        assert held == held[:1] * len(held)  # nothing else differs, not the stages that a run went through either


def test_figure_3_is_all_of_table_4():
    shown = {(r.model.backbone, r.model.patch_size) for r in last_stages(resolve("figure3", [], {}))}
    sizes = load_published("table4_model_and_patch").query("input_px == 128")["model"].str.lower()
    assert shown == {(f"adventurer_{size}", patch) for size in sizes for patch in (16, 8, 4, 2, 1)}
    at_224 = last_stages(resolve("figure3", [16], {"img_size": 224}))
    assert {(r.model.img_size, r.stage or "") for r in at_224} == {(224, "finetune")}


@pytest.mark.parametrize(
    ("name", "family", "pairs"),  # a smaller model at a smaller patch, a larger one at a larger patch
    [
        ("figure3", "adventurer", ["tiny 8 small 16", "tiny 4 small 8", "base 8 large 16", "base 4 large 8"]),
        ("shapes.figure3", "deit", ["pico 4 nano 8", "nano 4 micro 8", "pico 2 micro 8"]),
        ("shapes.figure3", "adventurer", ["pico 4 nano 8", "pico 2 nano 4", "pico 2 micro 8"]),
        ("cifar10.figure3", "deit", ["nano 4 micro 8", "pico 4 micro 16"]),
        ("cifar10.figure3", "adventurer", ["pico 4 nano 8", "nano 4 micro 8"]),
    ],
)
def test_figure_3_has_small_models_with_small_patches_beside_large_ones_at_equal_flops(name, family, pairs):
    runs = last_stages(resolve(name, [], {}))
    flops = {
        (r.model.backbone, r.model.patch_size): costs.flops(
            r.model.backbone, r.model.img_size, r.model.patch_size, r.data.num_classes
        )
        for r in runs
    }
    for pair in pairs:
        small, finer, large, coarser = pair.split()
        ours, theirs = flops[f"{family}_{small}", int(finer)], flops[f"{family}_{large}", int(coarser)]
        assert ours == pytest.approx(theirs, rel=0.15), pair


@pytest.mark.parametrize("data", ["shapes", "cifar10"])
@pytest.mark.parametrize("family", ["deit", "adventurer"])
def test_the_next_size_costs_about_what_half_the_patch_does(data, family):
    image = resolve(f"{data}.figure3", [], {})[0].model.img_size
    cost = {
        (size, patch): costs.flops(f"{family}_{size}", image, patch, 12)
        for size, patch in product(("pico", "nano", "micro"), (8, 4))
    }
    for small, large in (("pico", "nano"), ("nano", "micro")):
        assert 2.9 < cost[large, 4] / cost[small, 4] < 4.5
        assert 2.9 < cost[small, 4] / cost[small, 8] < 4.5


def test_patch_and_what_a_study_varies_choose_runs_and_other_fields_override_them():
    runs = resolve("shapes.table5", [4, 16], {"epochs": 1, "backbone": "deit_nano"})
    assert [(r.model.backbone, r.model.patch_size, r.model.embed_patch_size or 0, r.schedule.epochs) for r in runs] == [
        ("deit_nano", 4, 0, 1),
        ("deit_nano", 4, 8, 1),
    ]
    assert {(r.model.embed_patch_size or 0) for r in resolve("shapes.table5", [], {"embed_patch_size": 8})} == {8}
    assert {r.model.img_size for r in resolve("figure4", [], {"img_size": 64})} == {64}
    assert {r.model.img_size for r in resolve("shapes.table5", [], {"img_size": 32})} == {32}


def test_an_override_reaches_every_stage_of_a_chain():
    runs = resolve("table5", [8], {"epochs": 2, "data_root": "elsewhere"})
    assert {(r.schedule.epochs, r.data.data_root or "") for r in runs} == {(2, "elsewhere")}
    last = [r for r in runs if r.stage == "finetune"]
    assert len(last) == 2
    for run in last:
        while run.predecessor:
            run = run.predecessor
            assert run in runs
    assert {(r.stage or "") for r in resolve("table5", [8], {"stage": "pretrain"})} == {"pretrain"}


def test_weights_are_what_the_first_stage_starts_from_or_the_one_that_is_asked_for():
    runs = [r for r in resolve("table5", [8], {"initial_checkpoint": "w.pth"}) if r.model.backbone == "adventurer_base"]
    assert [(r.stage or "", r.init.source or "") for r in runs[:3]] == [
        ("pretrain", "w.pth"),
        ("intermediate", ""),
        ("finetune", ""),
    ]
    assert runs[1].predecessor == runs[0]
    last = resolve("table5", [8], {"initial_checkpoint": "w.pth", "stage": "finetune"})
    assert {
        (r.stage or "", r.init.source or "", r.predecessor or None, r.model.embed_patch_size or 0) for r in last
    } == {
        ("finetune", "w.pth", None, 0),
        ("finetune", "w.pth", None, 16),
    }


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shapes.tabel5", "did you mean shapes.table5?"),
        ("figure33", "did you mean figure3?"),
        ("shapes.table5,shapes.deit_nan", "did you mean shapes.deit_nano?"),
        ("shapes.table5 --patch 3", "no run of patch_size 3; there is: 8, 4, 2"),
        ("shapes.table5 --backbone deit_tiny", "there is: deit_nano, adventurer_nano"),
        ("shapes.table5 --stage finetune", "no stage 'finetune'"),
        ("shapes.table5 --image 20", "nearest that do"),
    ],
)
def test_what_no_study_has_is_refused_in_one_line(words, says):
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")) as e:
        sweep.arguments(words.split())
    assert "\n" not in str(e.value)


def test_a_sweep_takes_studies_recipes_and_seeds_together_and_each_run_once():
    runs, _ = sweep.arguments(["shapes.deit_nano,shapes.table5,shapes.figure4", "--seeds", "0,1"])
    assert len({r.run_id for r in runs}) == len(runs)
    assert {r.seed for r in runs} == {0, 1}
    ids = {r.run_id for r in runs}
    for name in ("shapes.table5", "shapes.figure4"):
        assert {r.run_id for r in resolve(name, [], {"seed": 1})} <= ids
    assert {
        p for r in runs for p in [r.model.patch_size] if r.model.img_size == 16 and r.model.backbone == "deit_nano"
    } == {16, 8, 4, 2, 1}
    # The plain runs of table 5 are those of the recipe: 5 recipes, 2 x 3 + 4 of the study, 2 x 6 - 2 x 2 in both.
    assert len(runs) == 2 * (5 + (10 - 3) + (12 - 2 - 2))
    given, _ = sweep.arguments(["shapes.deit_nano,shapes.table5", "--patch", "16,4"])
    assert {r.model.patch_size for r in given} == {16, 4}


def test_fingerprints_are_shown_only_where_nothing_else_differs_between_every_two_runs():
    few, many, other = (
        make_config(dataset="cifar10", data_root="x", data_digest=digest * 16, num_train=number, max_steps=1)
        for digest, number in (("a", 320), ("b", 640), ("c", 640))
    )
    assert [*told_apart([few, many]).values()] == ["deit_nano p4 s0 num_train 320", "deit_nano p4 s0 num_train 640"]
    assert all("data_digest" in name for name in told_apart([few, many, other]).values())


def test_runs_that_share_a_short_name_are_told_apart_on_the_screen():
    runs, _ = sweep.arguments(["shapes.table5,shapes.figure4"])
    names = told_apart(runs)
    assert len(set(names.values())) == len(runs)
    assert {"deit_nano p2 s0", "deit_nano p2 s0 from 8 px", "deit_nano p8 s0 64 px"} <= set(names.values())


def test_help_and_a_dry_run_list_studies_and_their_runs(call, tmp_path):
    said = {word.strip(",") for word in call("experiments/sweep.py", "--help").stdout.split()}
    data, kinds = zip(*(name.rpartition(".")[::2] for name in STUDIES), strict=True)
    assert set(kinds) <= said
    assert {f"{name}:" for name in data if name} <= said
    dry = call("experiments/sweep.py", "table5", "--patch", "8", "--dry-run", "--results", tmp_path / "r")
    assert dry.returncode == 0
    assert dry.stdout.count("from 16 px") == 4  # DeiT's run and the three stages of Adventurer's
    assert len(dry.stdout.splitlines()) == 8
    assert not (tmp_path / "r").exists()


def test_published_accuracies_stand_beside_the_runs_that_they_are_of(tmp_path):
    runs, planned = done(tmp_path, "table5", epochs=1)
    table = study_table(runs.frame, planned)
    assert len(table) == len(planned) == 12
    for row in load_published("table5_sequence_length").itertuples():
        its = table[(table["backbone"] == row.model.lower().replace("-", "_")) & (table["tokens"] == row.length)]
        assert its.loc[its["extend"] == 0, "paper_top1"].tolist() == [row.by_scaling]
        assert its.loc[its["extend"] > 0, "paper_top1"].tolist() == ([row.by_extending] if len(its) > 1 else [])


def test_a_table_has_no_published_number_beside_what_the_paper_did_not_do():
    def found(**fields) -> float:
        return published_top1(
            pd.Series({**to_flat(make_config(dataset="imagenet", num_classes=1000)), "tokens": 0, **fields})
        )

    assert found(backbone="deit_base", image=128, patch=8) == 81.0
    assert found(backbone="adventurer_tiny", image=224, patch=1, stage="finetune") == 81.9
    assert found(backbone="adventurer_base", image=64, patch=4, stage="pretrain") == 80.0
    nothing = (
        {"backbone": "deit_base", "image": 128, "patch": 1},  # an empty cell of Table 1
        {"backbone": "deit_base", "image": 224, "patch": 14},
        {"backbone": "deit_nano", "image": 128, "patch": 8},
        {"backbone": "deit_base", "image": 128, "patch": 8, "data": "folder"},
        {"backbone": "adventurer_base", "image": 128, "patch": 8, "stage": "pretrain"},
        {"backbone": "deit_base", "image": 128, "patch": 8, "extend": 32, "tokens": 256},
    )
    for fields in nothing:
        assert pd.isna(found(**fields)), fields


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_report_fits_a_terminal_and_writes_the_same_numbers(tmp_path, capsys, name):
    runs, planned = done(tmp_path, name)
    paths = report(runs, name, planned, tmp_path / "analysis")
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80, max(said.splitlines(), key=len)
    stem = name.replace(".", "_")
    of_heads = name.endswith("figure2")
    assert [path.name for path in paths] == [
        f"{stem}.csv",
        *[f"{stem}_gaps.csv"] * of_heads,
        f"{stem}.png",
        f"{stem}.pdf",
    ]
    csv = pd.read_csv(paths[0])
    assert sorted(csv["run_id"]) == sorted(run.run_id for run in planned)
    assert paths[-2].read_bytes().startswith(b"\x89PNG")
    assert ("paper" in said) == ("." not in name)
    rows = [line.split() for line in said.splitlines() if line.strip()]
    printed = len(planned) // 2 * (1 + (name == "figure2")) if of_heads else len(planned)
    assert sum(row[0] in set(csv["backbone"]) and row[1][:1].isdigit() for row in rows) == printed  # not folded


def test_a_study_shows_the_headline_metric_of_its_task(tmp_path, capsys):
    runs, planned = done(tmp_path, "shapes.table5", backbone="deit_nano")
    table = study_table(runs.frame, planned)
    assert list(table.columns[-3:]) == ["test_loss", "top1", "paper_top1"]
    report(runs, "shapes.table5", planned, tmp_path / "analysis")
    said = capsys.readouterr().out
    assert ("top-1" in said, "mIoU" in said) == (True, False)
    runs, planned = done(tmp_path / "2", "shapes.figure2")
    assert list(study_table(runs.frame, planned).columns[-3:]) == ["test_loss", "miou", "paper_miou"]


def test_runs_that_failed_or_wait_are_left_out_with_a_word(tmp_path, capsys):
    runs = resolve("shapes.table5", [], {})
    save(tmp_path, runs[0], 1.0)
    save(tmp_path, runs[1], None)
    ids = planned_runs(runs)
    report(load(tmp_path), "shapes.table5", ids, tmp_path / "out")
    said = " ".join(capsys.readouterr().out.split())
    assert f"excluded, failed: {ids[1].run_id} (loss is nan)" in said
    assert f"excluded, not finished: {ids[2].run_id}" in said
    assert len(pd.read_csv(tmp_path / "out" / "shapes_table5.csv")) == 1
    assert report(load(tmp_path), "shapes.table5", ids[2:], tmp_path / "none") == []
    assert "none of 8 runs has finished" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_table_5_is_drawn_as_two_lines_a_backbone_from_the_same_run(tmp_path):
    runs, planned = done(tmp_path, "shapes.table5")
    drawn = lines(figure(study_table(runs.frame, planned), "table5", "shapes, 16 px"))
    assert set(drawn) == {f"{b}_nano, by {way}" for b in ("deit", "adventurer") for way in ("scaling", "extending")}
    for backbone in ("deit_nano", "adventurer_nano"):
        scaled, extended = drawn[f"{backbone}, by scaling"], drawn[f"{backbone}, by extending"]
        assert scaled[0] == extended[0]
        assert scaled[2] < scaled[1] < scaled[0]
        assert extended == pytest.approx([scaled[0]] * 3)


def test_figure_4_is_drawn_against_the_image_and_figure_3_against_flops(tmp_path):
    runs, planned = done(tmp_path / "4", "shapes.figure4")
    drawn = figure(study_table(runs.frame, planned), "figure4", "shapes")
    assert {len(line) for line in lines(drawn).values()} == {3}
    assert {name.split(", ")[1] for name in lines(drawn)} == {"16 tokens", "64 tokens"}
    assert drawn.axes[0].get_xticks().tolist() == [16, 32, 64]
    runs, planned = done(tmp_path / "3", "shapes.figure3")
    table = study_table(runs.frame, planned)
    drawn = figure(table, "figure3", "shapes, 16 px")
    assert len(drawn.axes) == 2  # a panel a family
    assert {name: len(line) for name, line in lines(drawn).items()}["adventurer_pico"] == 4
    assert {text.get_text() for text in drawn.axes[0].texts} == {"p16", "p8", "p4", "p2"}
    for axes, family in zip(drawn.axes, ("deit", "adventurer"), strict=True):
        pico = next(line for line in axes.lines if line.get_marker() == "None")
        its = table[table["backbone"] == f"{family}_pico"].sort_values("flops_per_image")
        assert list(pico.get_xdata()) == its["flops_per_image"].tolist()


def test_spending_more_compares_the_next_size_with_the_next_patch(tmp_path):
    runs, planned = done(tmp_path, "shapes.figure3")
    spent = spending(study_table(runs.frame, planned))
    # pico at 16, 8, 4 to nano; nano at 16, 8 to micro; of both families.
    assert len(spent) == 2 * (3 + 2)
    assert spent["better [nats]"].str.startswith("finer by").all()  # the fabricated loss falls with tokens alone


def test_seeds_are_rows_of_the_table_and_one_line_of_the_figure(tmp_path):
    runs = [run for seed in (0, 1) for run in resolve("shapes.table5", [], {"seed": seed, "backbone": "deit_nano"})]
    for run in runs:
        save(tmp_path, run, 1.0 + 0.2 * run.seed)
    table = study_table(load(tmp_path).frame, planned_runs(runs))
    assert len(table) == 10
    assert table["seed"].tolist() == [0, 1] * 5
    drawn = lines(figure(table, "table5", "shapes, 16 px"))
    assert drawn["deit_nano, by scaling"] == pytest.approx([1.1, 1.1, 1.1])


def test_a_study_is_trained_reported_and_had_the_next_time(call, tmp_path):
    words = ["shapes.table5", "--epochs", "1", "--train-images", "64", "--test-images", "32", "--results", tmp_path]
    first = call("experiments/sweep.py", *words)
    assert first.returncode == 0, first.stdout + first.stderr
    table = pd.read_csv(tmp_path / "analysis" / "shapes_table5.csv")
    assert len(table) == 10
    scaled, extended = (table[table["extend"] == e].set_index(["backbone", "patch"]) for e in (0, 8))
    base = scaled.xs(8, level="patch")["parameters"]
    assert (extended["parameters"].groupby("backbone").nunique() == 1).all()
    assert extended.xs(2, level="patch")["parameters"].equals(base[extended.xs(2, level="patch").index])
    assert not (tmp_path / "analysis" / "law.png").exists()  # no law: two ways of a study are no series of patches
    again = call("experiments/sweep.py", *words, "--patch", "8,2")
    assert again.stdout.count("have ") == 6
    assert len(pd.read_csv(tmp_path / "analysis" / "shapes_table5.csv")) == 6


def test_a_recipe_beside_a_study_has_its_law_as_well(call, tmp_path):
    for patch in (8, 4, 2):
        save(tmp_path, resolve_recipe("shapes.deit_nano", patch, {})[0], 0.2 + 0.1 * patch)
    for run in resolve("shapes.table5", [], {"backbone": "deit_nano"}):
        if run.model.embed_patch_size:
            save(tmp_path, run, 1.0)
    words = ["shapes.deit_nano,shapes.table5", "--patch", "8,4,2", "--backbone", "deit_nano", "--results", tmp_path]
    both = call("experiments/sweep.py", *words)
    assert both.returncode == 0, both.stdout + both.stderr
    names = {path.name for path in (tmp_path / "analysis").iterdir()}
    assert names > {"law.png", "law.pdf", "laws.csv", "report.md", "shapes_table5.csv", "shapes_table5.png"}


# figure2: one head against another


def scored(results, name, score, seeds=(0,), **given) -> tuple[RunSet, list[StudyRun]]:
    """A study's runs, each with what score says of it: its loss [nats] and mIoU [%], or None: it has no record."""
    ids = []
    for run in [run for seed in seeds for run in resolve(name, [], {**given, "seed": seed})]:
        ids += planned_runs([run])
        if (values := score(run)) is not None:
            save(results, run, *values)
    return load(results), ids


def vanishing(run) -> tuple[float, float]:
    """UperNet is ahead by 0.01 nats and 0.1 points a pixel of the patch."""
    ahead = run.model.patch_size * (run.task.head.kind == "upernet")
    return 1.0 - 0.01 * ahead, 40.0 + 0.1 * ahead


def test_figure_2_has_both_heads_at_every_patch_of_table_2():
    runs = resolve("figure2", [], {})
    assert {(r.model.backbone, r.model.patch_size, r.task.head.kind) for r in runs} == set(
        product(("adventurer_tiny", "adventurer_base"), (16, 8, 4, 2), SEGMENTATION_HEADS)
    )
    assert len(runs) == 16
    assert last_stages(runs) == runs
    for before, after in zip(runs[::2], runs[1::2], strict=True):  # the two heads differ in nothing but the head
        assert {**to_flat(before), "head": ""} == {**to_flat(after), "head": ""}
    published = load_published("table2_ade20k")
    for row in published.itertuples():
        assert f"{row.miou}" in STUDIES["figure2"].__doc__


def test_the_run_of_another_task_that_a_study_starts_from_is_no_run_of_it_and_stays_as_it_is():
    given = {"epochs": 3, "max_steps": None, "data_root": "elsewhere", "seed": 2, "img_size": 256, "lr": 1e-4}
    plain, changed = resolve("figure2", [], {}), resolve("figure2", [], given)
    assert {r.task.kind for r in changed} == {"segment"}
    assert {(r.schedule.epochs, r.data.data_root or "", r.seed, r.model.img_size) for r in changed} == {
        (3, "elsewhere", 2, 256)
    }
    assert [(r.predecessor or None) for r in changed] == [(r.predecessor or None) for r in plain]
    before = changed[0].predecessor
    assert (before.task.kind, before.data.dataset, before.seed) == ("classify", "imagenet", 0)
    for run, again in (
        (r, resolve_recipe(f"ade20k.{r.model.backbone}", r.model.patch_size, {**given, "head": r.task.head.kind}))
        for r in changed
    ):
        assert [run] == again  # the study has the very runs that the recipe has


@pytest.mark.parametrize(("given", "source"), [({"initial_checkpoint": "w.pth"}, "w.pth"), ({"init": "scratch"}, None)])
def test_weights_replace_the_start_of_another_task(given, source):
    runs = resolve("figure2", [16], given)
    assert {(r.predecessor, r.init.source) for r in runs} == {(None, source)}
    assert len(runs) == 4
    assert resolve("shapes.figure2", [], {"init": "scratch"}) == resolve("shapes.figure2", [], {})


def test_a_head_is_chosen_among_those_of_the_study():
    assert {r.task.head.kind for r in resolve("shapes.figure2", [], {"head": "upernet"})} == {"upernet"}
    assert [r.model.patch_size for r in resolve("camvid.figure2", [], {"head": "linear"})] == [16, 8, 4]
    with pytest.raises(ConfigError, match="no run of head unet; there is: linear, upernet"):
        resolve("figure2", [], {"head": "unet"})
    with pytest.raises(ConfigError, match="no stage 'finetune' in study figure2; its stages: none"):
        resolve("figure2", [], {"stage": "finetune"})


def test_a_gap_is_positive_where_upernet_is_better(tmp_path):
    runs, ids = scored(tmp_path, "shapes.figure2", vanishing)
    found = gaps(study_table(runs.frame, ids), ids)
    assert found["patch"].tolist() == [16, 8, 4, 2]
    assert found["gap_loss"].tolist() == pytest.approx([0.16, 0.08, 0.04, 0.02])
    assert found["gap_miou"].tolist() == pytest.approx([1.6, 0.8, 0.4, 0.2])
    assert found["miou_linear"].tolist() == [40.0] * 4
    assert found["gap_paper"].isna().all()


def test_the_gaps_of_table_2_stand_beside_the_runs_that_they_are_of(tmp_path, capsys):
    runs, ids = scored(tmp_path, "figure2", vanishing)
    table = study_table(runs.frame, ids)
    found = gaps(table, ids).set_index(["backbone", "patch"])
    assert list(found.index) == list(product(("adventurer_tiny", "adventurer_base"), (16, 8, 4, 2)))
    assert found["paper_linear"].tolist() == [40.0, 41.6, 42.1, 42.5, 44.0, 45.5, 46.3, 46.8]
    assert found["paper_upernet"].dropna().to_dict() == {("adventurer_tiny", 16): 41.3, ("adventurer_base", 16): 45.7}
    assert found["gap_paper"].dropna().tolist() == pytest.approx([1.3, 1.7])
    paths = report(runs, "figure2", ids, tmp_path / "out")
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["adventurer_tiny", "16", "40.0", "41.6", "1.6", "40.0", "41.3", "1.3"] in said
    assert ["adventurer_base", "2", "40.0", "40.2", "0.2", "46.8", "-", "-"] in said
    assert pd.read_csv(paths[1])["gap_paper"].dropna().tolist() == pytest.approx([1.3, 1.7])


def test_table_2_is_not_beside_what_the_paper_did_not_do():
    run = resolve("figure2", [16], {"head": "upernet"})[0]

    def found(**fields) -> float:
        return published_miou(pd.Series({**to_flat(run), **fields}))

    assert found() == 41.3
    assert found(start="", weights="w.pth") == 41.3
    assert found(head="linear", patch=2, backbone="adventurer_base") == 46.8
    nothing = (
        {"patch": 8},
        {"start": ""},  # from scratch
        {"image": 256},
        {"extend": 16},
        {"data": "camvid"},
        {"backbone": "deit_tiny"},
        {"backbone": "timm:vit"},
    )
    for fields in nothing:
        assert pd.isna(found(**fields)), fields


def test_seeds_are_averaged_and_their_spread_is_stated(tmp_path, capsys):
    runs, ids = scored(
        tmp_path, "shapes.figure2", lambda r: (vanishing(r)[0] + 0.1 * r.seed, vanishing(r)[1] + r.seed), (0, 1, 2)
    )
    table = study_table(runs.frame, ids)
    found = gaps(table, ids)
    assert (found["seeds_linear"].tolist(), found["miou_linear"].tolist()) == ([3] * 4, pytest.approx([41.0] * 4))
    assert found["gap_miou"].tolist() == pytest.approx([1.6, 0.8, 0.4, 0.2])
    said = spread_sentence(table)
    for head in SEGMENTATION_HEADS:
        assert f"adventurer_nano {head} 0.1000 nats, 1.0 points of mIoU (3 seeds, 8 degrees of freedom)" in said
    report(runs, "shapes.figure2", ids, tmp_path / "out")
    printed = capsys.readouterr().out
    assert max(map(len, printed.replace(str(tmp_path), "").splitlines())) <= 80
    assert "seed-to-seed spread: adventurer_nano linear 0.1000 nats" in " ".join(printed.split())
    assert ["adventurer_nano", "16", "3", "1.1000", "0.9400", "0.1600", "41.0", "42.6", "1.6"] in [
        line.split() for line in printed.splitlines()
    ]


@pytest.mark.parametrize(
    ("missing", "row"),
    [
        (lambda r: r.model.patch_size == 8, ["8", "-", "-", "-", "-", "-", "-"]),
        (
            lambda r: r.model.patch_size == 8 and r.task.head.kind == "linear",
            ["8", "-", "0.9200", "-", "-", "40.8", "-"],
        ),
        (lambda r: r.task.head.kind == "upernet", ["8", "1.0000", "-", "-", "40.0", "-", "-"]),
        (lambda r: r.model.patch_size != 8, ["8", "1.0000", "0.9200", "0.0800", "40.0", "40.8", "0.8"]),
        (
            lambda r: (r.model.patch_size, r.task.head.kind) != (8, "linear"),
            ["8", "1.0000", "-", "-", "40.0", "-", "-"],
        ),
    ],
)
def test_what_is_missing_is_shown_as_missing(tmp_path, capsys, missing, row):
    runs, ids = scored(tmp_path, "shapes.figure2", lambda r: None if missing(r) else vanishing(r))
    paths = report(runs, "shapes.figure2", ids, tmp_path / "out")
    said = capsys.readouterr().out
    assert ["adventurer_nano", *row] in [line.split() for line in said.splitlines()]
    assert said.count("excluded, not finished") == 8 - len(runs.frame)
    assert len(pd.read_csv(paths[1])) == 4


def test_runs_without_the_metric_and_failed_ones_do_no_harm(tmp_path, capsys):
    runs = resolve("shapes.figure2", [16, 8], {})
    for run in runs[:3]:
        save_run(tmp_path, run, 1.0, metrics={})
    save(tmp_path, runs[3], None)
    ids = planned_runs(runs)
    assert len(report(load(tmp_path), "shapes.figure2", ids, tmp_path / "out")) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert f"excluded, failed: {ids[3].run_id} (loss is nan)" in said
    assert "adventurer_nano 16 1.0000 1.0000 0.0000 - - -" in said
    assert report(load(tmp_path), "shapes.figure2", ids[3:], tmp_path / "none") == []


def test_the_figure_of_the_gap_has_both_heads_the_gap_and_what_is_published(tmp_path):
    def drawn_from(runs, ids):
        table = study_table(runs.frame, ids)
        drawn = gap_figure(table, gaps(table, ids), "miou", "mIoU", "a title")
        above, below = drawn.axes
        means = {line.get_label(): line.get_ydata() for line in above.lines if line.get_linestyle() != "None"}
        hollow = [line for line in above.lines if line.get_markerfacecolor() == "none"]
        return above, below, means, {tuple(line.get_xdata()[np.isfinite(line.get_ydata())]) for line in hollow}

    above, below, means, hollow = drawn_from(*scored(tmp_path / "1", "figure2", vanishing))
    names = {f"adventurer_{size} {head}" for size in ("tiny", "base") for head in SEGMENTATION_HEADS}
    assert {text.get_text() for text in above.texts} == set(means) == names
    assert {text.get_text() for text in below.texts} == {"adventurer_tiny", "adventurer_base"}
    assert hollow == {(16, 8, 4, 2), (16,)}
    assert above.get_xlim()[0] > above.get_xlim()[1]
    assert [text.get_text() for text in above.figure.legends[0].get_texts()] == ["hollow: published, Table 2"]
    styles = {(line.get_linestyle(), line.get_label().split()[-1]) for line in above.lines if line.get_label() in names}
    assert len(styles) == 2  # the heads differ in more than colour
    heights = sorted(text.get_position()[1] for text in below.texts)
    assert np.diff(heights).min() > 0.1 * np.ptp(below.get_ylim())

    runs, ids = scored(
        tmp_path / "2", "shapes.figure2", lambda r: None if r.model.patch_size == 8 else vanishing(r), (0, 1)
    )
    above, below, means, hollow = drawn_from(runs, ids)
    assert {text.get_text() for text in above.texts} == set(means) == set(SEGMENTATION_HEADS)
    assert np.isnan(means["linear"][1])  # broken where it is missing, not drawn across
    assert not above.figure.legends
    assert hollow == {()}
    seeds = [line for line in above.lines if line.get_linestyle() == "None" and line.get_markerfacecolor() != "none"]
    assert [len(line.get_xdata()) for line in seeds] == [6, 6]

    only = scored(tmp_path / "3", "shapes.figure2", vanishing, head="linear")
    below = drawn_from(*only)[1]
    assert [text.get_text() for text in below.texts] == ["no patch size has both heads"]


def test_the_small_figure_2_is_trained_and_reported(call, tmp_path):
    words = ["shapes.figure2", "--patch", "16", "--epochs", "1", "--train-images", "64", "--test-images", "32"]
    first = call("experiments/sweep.py", *words, "--results", tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    found = pd.read_csv(tmp_path / "analysis" / "shapes_figure2_gaps.csv")
    assert found[["patch", "seeds_linear", "seeds_upernet"]].to_numpy().tolist() == [[16, 1, 1]]
    assert found["gap_miou"].notna().all()
    assert "gap" in first.stdout
