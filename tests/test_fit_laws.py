"""fit_laws.py from the command line, on small results folders."""

import csv
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.fit_laws import main, report, seed_sentence
from analysis.runs import finished, load, seed_study
from scaling.recipe import BadInput, Recipe
from scaling.record import RECIPE, RECORD, RunRecord

REPOSITORY = Path(__file__).resolve().parents[1]
FILES = ["law.pdf", "law.png", "laws.csv"]


def metrics(recipe: Recipe, test_loss: float) -> dict[str, float]:
    """What a run of the recipe has in its record [%]."""
    share = 100 * float(np.exp(-test_loss))
    if recipe.task == "segment":
        return {"miou": share, "mean_accuracy": 60.0, "pixel_accuracy": 90.0, "iou_sky": 50.0}
    return {"top1": share, "top5": 95.0}


def save(results: Path, recipe: Recipe, test_loss: float | None) -> Path:
    """Write the folder of a finished run, or of a failed one where test_loss is None."""
    folder = results / recipe.run_id
    folder.mkdir(parents=True)
    (folder / RECIPE).write_text(recipe.canonical_json())
    RunRecord(
        run_id=recipe.run_id,
        group=recipe.group,
        recipe=recipe.to_dict(),
        status="failed" if test_loss is None else "finished",
        test_loss=test_loss,
        metrics={} if test_loss is None else metrics(recipe, test_loss),
        tokens=(recipe.image // recipe.patch) ** 2,
        parameters=200_000,
        flops_per_image=4e5 * (recipe.image // recipe.patch) ** 2,
        peak_memory=500_000_000,
        images_per_second=1000.0 * recipe.patch,
        wall_time=100.0 / recipe.patch,
        failure={"reason": "loss is nan"} if test_loss is None else {},
    ).save(folder)
    return folder


def sweep(results: Path, seeds=(0,), patches=(16, 8, 4, 2, 1), backbones=("deit_nano", "adventurer_nano")) -> Path:
    """A finished sweep whose losses follow 0.4 + 0.3 p^0.6 with 1 % of noise."""
    rng = np.random.default_rng(0)
    for backbone in backbones:
        for patch in patches:
            for seed in seeds:
                loss = (0.4 + 0.3 * patch**0.6) * float(np.exp(0.01 * rng.normal()))
                save(results, Recipe(backbone=backbone, patch=patch, seed=seed), loss)
    return results


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The script as a user starts it, from some folder."""
    script = [sys.executable, str(REPOSITORY / "analysis" / "fit_laws.py"), *map(str, arguments)]
    return subprocess.run(script, cwd=cwd, capture_output=True, text=True)


def test_a_results_folder_gives_tables_laws_a_csv_and_a_plot(tmp_path):
    results = sweep(tmp_path / "results")
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    out = Path("results") / "analysis"
    assert sorted(path.name for path in (tmp_path / out).iterdir()) == FILES
    for name in FILES:
        assert f"wrote {out / name}" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    for word in ("deit_nano", "adventurer_nano", "tokens", "params", "FLOPs", "top-1", "memory", "L_inf in ["):
        assert word in done.stdout
    assert "seed-to-seed spread: not\n    measured, one seed a patch; add --seeds 0,1,2" in done.stdout
    with open(tmp_path / out / "laws.csv") as f:
        rows = list(csv.DictReader(f))
    assert [(row["backbone"], row["form"]) for row in rows] == [
        (backbone, form) for backbone in ("adventurer_nano", "deit_nano") for form in ("power", "shifted")
    ]
    shifted = rows[1]
    assert float(shifted["L_inf_low"]) <= 0.4 <= float(shifted["L_inf_high"])
    assert (shifted["patches"], shifted["n"], shifted["converged"]) == ("5", "5", "True")
    assert rows[0]["L_inf"] == ""
    assert (results / "analysis" / "law.png").read_bytes().startswith(b"\x89PNG")


def test_out_and_form_are_obeyed(tmp_path):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    assert main(["--results", str(results), "--out", str(tmp_path / "a" / "b"), "--form", "power"]) == 0
    with open(tmp_path / "a" / "b" / "laws.csv") as f:
        assert [row["form"] for row in csv.DictReader(f)] == ["power"]
    assert not (results / "analysis").exists()


def test_the_same_runs_give_the_same_files(tmp_path, capsys):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    for name in ("one", "two"):
        report(load(results), tmp_path / name)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("what", ["missing", "empty", "a file", "nothing finished"])
def test_a_folder_without_results_is_one_line_and_status_2(tmp_path, what):
    folder = tmp_path / "there"
    if what == "empty":
        folder.mkdir()
    elif what == "a file":
        folder.write_text("")
    elif what == "nothing finished":
        save(folder, Recipe(patch=4), None)
    before = sorted(tmp_path.rglob("*"))
    done = run("--results", folder, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fit_laws: ")
    assert done.stderr.count("\n") == 1
    assert "make sweep" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_one_line_and_status_2(tmp_path, capsys):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    (tmp_path / "taken").write_text("a file")
    assert main(["--results", str(results), "--out", str(tmp_path / "taken")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"fit_laws: cannot write to {tmp_path / 'taken'}")
    assert message.count("\n") == 1


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path, capsys):
    results = sweep(tmp_path / "results", patches=(16, 8, 4), backbones=("deit_nano",))
    failed = save(results, Recipe(patch=2), None)
    running = results / Recipe(patch=1).run_id
    running.mkdir()
    (running / RECIPE).write_text(Recipe(patch=1).canonical_json())
    torn = save(results, Recipe(patch=1, seed=1), 0.7)
    (torn / RECORD).write_text("{")
    assert main(["--results", str(results)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"left out, failed: {failed.name}" in printed
    assert "loss is nan" in printed
    assert f"left out, not finished: {running.name}" in printed
    assert "left out, corrupt: " in printed
    assert torn.name in printed
    assert "not fitted: 3 points, 3 parameters" in printed


def test_a_group_with_two_patch_sizes_has_no_law_and_says_why(tmp_path, capsys):
    results = sweep(tmp_path / "results", patches=(4, 2), backbones=("deit_nano",))
    assert main(["--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "deit_nano: no law; 2 patch sizes finished, a law needs 3 or more" in printed
    with open(results / "analysis" / "laws.csv") as f:
        assert "L_inf_low" in f.readline()
        assert f.read() == ""


def test_groups_of_several_tasks_go_through_one_report(tmp_path, capsys):
    results = sweep(tmp_path / "results", backbones=("adventurer_nano",))
    for head, floor in (("linear", 0.2), ("upernet", 0.1)):
        for patch in (16, 8, 4, 2):
            recipe = Recipe(
                task="segment", backbone="adventurer_nano", image=32, patch=patch, classes=13, objects=4, head=head
            )
            save(results, recipe, floor + 0.3 * patch**0.6)
    assert main(["--results", str(results)]) == 0
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80
    heads = [line for line in said.splitlines() if line.split()[:2] == ["patch", "params"]]
    assert ["top-1" in line for line in heads] == [True, False, False]
    assert ["mIoU" in line for line in heads] == [False, True, True]
    for name in ("adventurer_nano classify", "adventurer_nano segment linear", "adventurer_nano segment upernet"):
        assert f"\n  {name}\n    power    L = " in said  # its laws
        assert f"\n  {name}: patch " in said  # its seeds
    with open(results / "analysis" / "laws.csv") as f:
        rows = list(csv.DictReader(f))
    assert {(row["task"], row["head"]) for row in rows} == {
        ("classify", "linear"),
        ("segment", "linear"),
        ("segment", "upernet"),
    }
    assert len(rows) == 6


def test_a_segmentation_sweep_alone_shows_miou_and_no_top_1(tmp_path, capsys):
    for patch in (16, 8, 4):
        recipe = Recipe(task="segment", backbone="adventurer_nano", image=32, patch=patch, classes=13)
        save(tmp_path, recipe, 0.2 + 0.3 * patch**0.6)
    assert main(["--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert ("mIoU" in said, "top-1" in said) == (True, False)
    assert said.startswith("adventurer_nano   (segment-shapes-")


def test_seeds_give_the_spread_and_the_verdict_on_the_smallest_patch(tmp_path):
    frame = finished(load(sweep(tmp_path / "results", seeds=(0, 1, 2), backbones=("deit_nano",))))
    sentence = seed_sentence(frame)
    assert sentence.startswith("patch 1 vs 2: -0.1")
    assert "(3 seeds, 4 degrees of freedom): better by more than the spread" in sentence
    worse = frame.assign(test_loss=frame["test_loss"].where(frame["patch"] > 1, 2.0 + 0.01 * frame["seed"]))
    assert seed_sentence(worse).endswith("worse by more than the spread")
    close = frame[frame["patch"] <= 2].copy()
    close["test_loss"] = 1.0 + 0.1 * close["seed"] + 0.01 * (close["patch"] == 1)
    assert "patch 1 vs 2: +0.0100 nats" in seed_sentence(close)
    assert seed_sentence(close).endswith("worse by no more than the spread")
    assert seed_sentence(close[close["patch"] == 1]).startswith("seed-to-seed spread 0.1000")


def test_published_panels_are_fitted_where_there_are_no_runs(tmp_path):
    done = run("--published", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "b Adventurer-Base 128     0.909      0.987" in done.stdout
    assert "0.00 to 0.84?    0.78" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_published_does_not_hide_that_named_results_are_missing(tmp_path, capsys):
    assert main(["--published", "--results", str(tmp_path / "none"), "--form", "power"]) == 2
    printed = capsys.readouterr()
    assert "R2" in printed.out
    assert "alpha" not in printed.out.split("power:")[0]
    assert "no results folder" in printed.err


def test_report_refuses_a_frame_without_a_finished_run(tmp_path):
    save(tmp_path / "results", Recipe(patch=4), None)
    with pytest.raises(BadInput, match="none of 1 run has finished"):
        report(load(tmp_path / "results"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_neither_the_analysis_nor_its_help_imports_torch(tmp_path):
    names = sorted(path.stem for path in (REPOSITORY / "analysis").glob("*.py") if path.stem != "__init__")
    imports = "; ".join(f"import analysis.{name}" for name in names)
    check = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {imports}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False")
    script = str(REPOSITORY / "analysis" / "fit_laws.py")
    check = (
        "import runpy, sys\n"
        f"sys.argv = [{script!r}, '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as e:\n    print(e.code, [m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip().endswith("0 []"), done.stderr


def test_the_command_line_is_frozen():
    done = run("--help", cwd=REPOSITORY)
    assert done.returncode == 0
    for option in ("--results DIR", "--out DIR", "--form {power,shifted,both}", "--published"):
        assert option in done.stdout


def test_a_record_survives_the_trip_into_a_frame(tmp_path):
    folder = save(tmp_path, Recipe(patch=4, seed=2), 1.25)
    row = load(tmp_path).iloc[0]
    for name, value in asdict(RunRecord.load(folder)).items():
        if isinstance(value, int | float | str) and name not in ("curve",):
            assert row[name] == value


def test_single_seeds_are_held_against_the_shipped_seed_study_of_the_very_same_recipe(tmp_path, monkeypatch):
    frame = load(sweep(tmp_path / "results", backbones=("deit_nano",)))
    rows = [
        [frame["group"][0], "deit_nano", p, s, 1.0 + 0.01 * s, "2026-01-02", "a box"] for p in (2, 1) for s in range(3)
    ]
    columns = ["group", "backbone", "patch", "seed", "test_loss", "measured", "machine"]
    study = pd.DataFrame(rows, columns=columns)
    monkeypatch.setattr(pd, "read_csv", lambda path: study)
    said = seed_sentence(frame)
    assert "seed-to-seed spread 0.0100 (3 seeds, 4 degrees of freedom; measured 2026-01-02, a box)" in said
    monkeypatch.setattr(pd, "read_csv", lambda path: study.assign(group="another"))
    assert "not measured" in seed_sentence(frame)


def test_the_shipped_seed_study_is_of_the_recipes_that_are_shipped():
    from experiments.cli import resolve

    for name in ("shapes.deit_nano", "shapes.adventurer_nano"):
        study = seed_study(resolve(name, 1, {})[0].group)
        assert study.groupby("patch")["seed"].nunique().loc[[1, 2]].min() >= 3
        assert study["test_loss"].between(0.01, 2.6).all()
