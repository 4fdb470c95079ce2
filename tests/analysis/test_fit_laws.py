"""fit_laws.py from the command line, on small results folders."""

import csv
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import fit_laws
from analysis.fit_laws import main
from analysis.fitting import laws
from analysis.fitting.model import one_variable
from analysis.paper import figures
from analysis.records.run_set import load
from analysis.report.law_report import law_input, report
from scaling.config.edit import make_config
from scaling.config.experiment import ExperimentConfig
from scaling.errors import ConfigError
from scaling.runs.config_file import write_config
from scaling.runs.record import RECORD, RunRecord

REPOSITORY = Path(__file__).resolve().parents[2]
STEMS = ["law", "law_tokens", "law_flops", "frontier", "frontier_seconds"]
FILES = sorted(["laws.csv", "report.md", *(f"{stem}.{ending}" for stem in STEMS for ending in ("png", "pdf"))])


def metrics(config: ExperimentConfig, test_loss: float) -> dict[str, float]:
    """What a run of the recipe has in its record [%]."""
    share = 100 * float(np.exp(-test_loss))
    if config.task.kind == "segment":
        return {"miou": share, "mean_accuracy": 60.0, "pixel_accuracy": 90.0, "iou_sky": 50.0}
    return {"top1": share, "top5": 95.0}


def save(results: Path, config: ExperimentConfig, test_loss: float | None) -> Path:
    """Write the folder of a finished run, or of a failed one where test_loss is None."""
    folder = results / config.run_id
    folder.mkdir(parents=True)
    write_config(config, folder)
    RunRecord(
        run_id=config.run_id,
        group=config.group,
        config=config.to_dict(),
        status="failed" if test_loss is None else "finished",
        test_loss=test_loss,
        metrics={} if test_loss is None else metrics(config, test_loss),
        tokens=(config.model.img_size // config.model.patch_size) ** 2,
        parameters=200_000,
        flops_per_image=4e5 * (config.model.img_size // config.model.patch_size) ** 2,
        peak_memory=500_000_000,
        images_per_second=1000.0 * config.model.patch_size,
        wall_time=100.0 / config.model.patch_size,
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
                save(results, make_config(backbone=backbone, patch_size=patch, seed=seed, num_classes=12), loss)
    return results


@pytest.fixture
def undrawn(monkeypatch, unsaved):
    """Without the figures and the paper's tables, which take most of the time."""
    monkeypatch.setattr("analysis.report.law_files._own_figures", lambda frame, forms: {})
    monkeypatch.setattr("analysis.report.law_files._paper_files", lambda runs, published: {})


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The script as a user starts it, from some folder."""
    script = [sys.executable, str(REPOSITORY / "analysis" / "fit_laws.py"), *map(str, arguments)]
    return subprocess.run(script, cwd=cwd, capture_output=True, text=True)


def table(printed: str) -> list[list[str]]:
    """The rows of the table of laws, as words, without those of naive rules."""
    lines = printed.split("-" * 80 + "\n")[1].split("\n\n")[0].splitlines()
    return [line.split() for line in lines if " naive " not in line]


def test_a_results_folder_gives_one_table_a_csv_a_report_and_plots(tmp_path, monkeypatch, capsys):
    sweep(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    said, wrong = capsys.readouterr()
    assert wrong == ""
    out = tmp_path / "results" / "analysis"
    assert sorted(path.name for path in out.iterdir()) == FILES
    for name in FILES:
        stem, _, ending = name.partition(".")
        assert f"{stem}." in said
        assert ending in said
    assert max(len(line) for line in said.splitlines()) <= 80
    rows = table(said)
    assert [row[:2] for row in rows[::2]] == [["adventurer_nano", "power"], ["deit_nano", "power"]]
    assert [row[0] for row in rows[1::2]] == ["shifted", "shifted"]
    assert rows[0][2] == "-"  # a power law has no floor
    assert "\ndeit_nano: test loss = 0." in said
    assert "what is above the floor, 0.3" in said
    assert re.search(r"\ndeit_nano: 1 vs 2 px untested, -\d+ \(one seed; add --seeds 0,1,2\)\n", said)
    with open(out / "laws.csv") as f:
        rows = list(csv.DictReader(f))
    over_patch = [row for row in rows if row["x"] == "patch"]
    assert [(row["backbone"], row["form"]) for row in over_patch] == [
        (backbone, form) for backbone in ("adventurer_nano", "deit_nano") for form in ("power", "shifted")
    ]
    assert {row["x"] for row in rows} == {"patch", "tokens", "flops_per_image", "device_hours"}
    shifted = over_patch[1]
    assert float(shifted["L_inf_low"]) <= 0.4 <= float(shifted["L_inf_high"])
    assert (shifted["patches"], shifted["n"], shifted["converged"]) == ("5", "5", "True")
    assert over_patch[0]["L_inf"] == ""
    in_tokens = next(
        row for row in rows if (row["x"], row["form"], row["backbone"]) == ("tokens", "power", "deit_nano")
    )
    in_patch = next(row for row in rows if (row["x"], row["form"], row["backbone"]) == ("patch", "power", "deit_nano"))
    assert float(in_tokens["alpha"]) == pytest.approx(-float(in_patch["alpha"]) / 2, rel=1e-4)
    assert (out / "law.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "frontier.pdf").read_bytes().startswith(b"%PDF")
    report_md = (out / "report.md").read_text()
    assert "## adventurer_nano" in report_md
    assert "of log L; least squares" in report_md


def test_what_is_not_identified_has_no_value_in_any_file(tmp_path, undrawn):
    """Two points short of a floor: L = 0.3 p^0.4 with 2 % of noise."""
    rng = np.random.default_rng(3)
    for patch in (16, 8, 4, 2, 1):
        save(tmp_path / "results", make_config(patch_size=patch), 0.3 * patch**0.4 * float(np.exp(0.02 * rng.normal())))
    assert main(["--results", str(tmp_path / "results")]) == 0
    with open(tmp_path / "results" / "analysis" / "laws.csv") as f:
        shifted = next(row for row in csv.DictReader(f) if row["form"] == "shifted")
    assert (shifted["L_inf"], shifted["L_inf_identified"]) == ("", "False")
    assert float(shifted["L_inf_low"]) == 0
    assert float(shifted["L_inf_high"]) > 0
    assert "not identified, [0, " in (tmp_path / "results" / "analysis" / "report.md").read_text()


def test_out_and_form_are_obeyed(tmp_path, undrawn):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    assert main(["--results", str(results), "--out", str(tmp_path / "a" / "b"), "--form", "power,bounded"]) == 0
    with open(tmp_path / "a" / "b" / "laws.csv") as f:
        assert [row["form"] for row in csv.DictReader(f) if row["x"] == "patch"] == ["power", "bounded"]
    assert not (results / "analysis").exists()


def test_the_same_runs_give_the_same_files(tmp_path, capsys, undrawn):
    """Numbers and words, each fitted anew; figures: test_law_figures.py."""
    results = sweep(tmp_path / "results", patches=(16, 8, 4, 1), backbones=("deit_nano",))
    for name in ("one", "two"):
        laws._law.cache_clear()
        report(law_input(load(results)), tmp_path / name, ["power"])
    for name in ("laws.csv", "report.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--form", "cubic"], "unknown form 'cubic'; there is: bounded, broken, m4, power, shifted"),
        (["--form", ","], "--form names no law"),
        (["--mixed", "maybe"], "unknown --mixed 'maybe'; choose from: refuse, together, apart"),
        (["--wild"], "unrecognized arguments: --wild; --help lists the options"),
        (["--results"], "argument --results: expected one argument; --help"),
    ],
)
def test_a_wrong_option_is_one_line_and_status_2(tmp_path, capsys, arguments, says):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    assert main(["--results", str(results), *arguments]) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.startswith("fit_laws: ")
    assert message.count("\n") == 1
    assert not (results / "analysis").exists()


@pytest.mark.parametrize("what", ["missing", "empty", "a file", "nothing finished"])
def test_a_folder_without_results_is_one_line_and_status_2(tmp_path, capsys, what):
    folder = tmp_path / "there"
    if what == "empty":
        folder.mkdir()
    elif what == "a file":
        folder.write_text("")
    elif what == "nothing finished":
        save(folder, make_config(patch_size=4), None)
    before = sorted(tmp_path.rglob("*"))
    assert main(["--results", str(folder), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("fit_laws: ")
    assert message.count("\n") == 1
    assert "make sweep" in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_one_line_and_status_2(tmp_path, capsys, undrawn):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    (tmp_path / "taken").write_text("a file")
    assert main(["--results", str(results), "--out", str(tmp_path / "taken")]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"fit_laws: cannot write to {tmp_path / 'taken'}")
    assert message.count("\n") == 1


def test_runs_that_are_left_out_are_named_with_the_reason(tmp_path, capsys, undrawn):
    results = sweep(tmp_path / "results", patches=(16, 8, 4), backbones=("deit_nano",))
    failed = save(results, make_config(patch_size=2), None)
    running = results / make_config(patch_size=1).run_id
    running.mkdir()
    write_config(make_config(patch_size=1), running)
    torn = save(results, make_config(patch_size=1, seed=1), 0.7)
    (torn / RECORD).write_text("{")
    assert main(["--results", str(results)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"excluded, failed: {failed.name}" in printed
    assert "loss is nan" in printed
    assert f"excluded, not finished: {running.name}" in printed
    assert "excluded, corrupt: " in printed
    assert torn.name in printed
    assert "excluded: 1 corrupt record" in printed
    assert "deit_nano: no shifted law; 3 points of 3 patch sizes; the shifted law needs 4" in printed


def test_groups_of_two_patch_sizes_alone_are_one_line_and_status_2(tmp_path, capsys):
    results = sweep(tmp_path / "results", patches=(4, 2), backbones=("deit_nano",))
    assert main(["--results", str(results)]) == 2
    printed = capsys.readouterr()
    assert printed.err == (
        "fit_laws: no law can be fitted: deit_nano has 2 patch sizes; a law needs 3: repeat its sweep command "
        "with --patch 16,4,2 to train the missing ones\n"
    )
    assert printed.out == ""
    assert not (results / "analysis").exists()


def test_a_sweep_of_two_patch_sizes_is_reported_without_a_law(tmp_path, capsys, unsaved):
    results = sweep(tmp_path / "results", patches=(4, 2), backbones=("deit_nano",))
    report(law_input(load(results)), tmp_path / "out")
    assert "deit_nano: no law; 2 patch sizes finished, a law needs 3 or more" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_a_group_with_two_patch_sizes_is_left_out_beside_one_with_five(tmp_path, capsys, undrawn):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    sweep(results, patches=(4, 2), backbones=("adventurer_nano",))
    assert main(["--results", str(results)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("adventurer_nano: no law; 2 patch sizes finished") == 1
    assert {row[0] for row in table(printed)} == {"deit_nano", "shifted"}


def mixed_crops(results: Path) -> Path:
    """What the released code does: 0.875 of the test image at patch 16, all of it below."""
    for patch in (16, 8, 4, 2, 1):
        save(results, make_config(patch_size=patch, crop_pct=0.875 if patch == 16 else 1.0), 0.4 + 0.3 * patch**0.6)
    return results


def test_mixed_crops_are_refused_in_one_line(tmp_path, capsys):
    results = mixed_crops(tmp_path / "results")
    assert main(["--results", str(results)]) == 2
    message = capsys.readouterr().err
    assert "refused, its runs mix crop 0.875 (patch 16) and 1 (patch 8, 4, 2, 1)" in message
    assert "--mixed together" in message
    assert message.count("\n") == 1
    assert not (results / "analysis").exists()


def test_mixed_crops_are_fitted_together_or_apart_where_that_is_asked_for(tmp_path, capsys, undrawn):
    results = mixed_crops(tmp_path / "results")
    assert main(["--results", str(results), "--mixed", "together", "--form", "shifted"]) == 0
    assert "0.40 [0.40, 0.40]" in capsys.readouterr().out.replace("0.400 [0.400, 0.400]", "0.40 [0.40, 0.40]")
    with open(results / "analysis" / "laws.csv") as f:
        assert next(csv.DictReader(f))["n"] == "5"
    assert main(["--results", str(results), "--mixed", "apart", "--form", "power"]) == 0
    with open(results / "analysis" / "laws.csv") as f:
        assert next(csv.DictReader(f))["n"] == "4"


def test_another_group_is_fitted_beside_one_of_mixed_data_versions(tmp_path, capsys, undrawn):
    results = sweep(tmp_path / "results", backbones=("deit_nano",))
    for patch in (16, 8, 4, 2):
        save(
            results,
            make_config(backbone="adventurer_nano", patch_size=patch, data_version=1 + (patch < 8)),
            0.3 * patch**0.6,
        )
    assert main(["--results", str(results)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "refused, its runs mix data_version 1 (patch 16, 8) and 2 (patch 4, 2)" in said
    assert "deit_nano power - 0." in said


def test_groups_of_several_tasks_go_through_one_report(tmp_path, capsys, undrawn):
    results = sweep(tmp_path / "results", backbones=("adventurer_nano",))
    for head, floor in (("linear", 0.2), ("upernet", 0.1)):
        for patch in (16, 8, 4, 2):
            config = make_config(
                task="segment",
                backbone="adventurer_nano",
                img_size=32,
                patch_size=patch,
                num_classes=13,
                max_objects=4,
                head=head,
            )
            save(results, config, floor + 0.3 * patch**0.6)
    assert main(["--results", str(results)]) == 0
    said = capsys.readouterr().out.replace(str(tmp_path), "")
    assert max(map(len, said.splitlines())) <= 80
    for name in ("adventurer_nano classify", "adventurer_nano segment linear", "adventurer_nano segment upernet"):
        assert re.search(rf"\n{name}: \d+ vs \d+ px ", said)  # its seeds
    assert [row[0] for row in table(said)][::2] == ["adventurer_nano"] * 3
    with open(results / "analysis" / "laws.csv") as f:
        rows = [row for row in csv.DictReader(f) if row["x"] == "patch"]
    assert {(row["task"], row["head"]) for row in rows} == {
        ("classify", "linear"),
        ("segment", "linear"),
        ("segment", "upernet"),
    }
    assert len(rows) == 6


def test_the_paper_is_fitted_and_drawn_where_there_are_no_runs(tmp_path, monkeypatch, capsys, unsaved, unbanded):
    """Of Figure 1 a panel; all of it, with its bands: test_paper_figures.py."""
    for name in ("figure1", "figure1_honest"):
        whole = getattr(figures, name)
        monkeypatch.setattr(figures, name, lambda frame, whole=whole: whole(frame[frame["panel"] == "c"]))
    monkeypatch.chdir(tmp_path)
    assert main(["--published", "--out", "paper"]) == 0
    said, wrong = capsys.readouterr()
    assert wrong == ""
    assert max(len(line) for line in said.splitlines()) <= 80
    rows = {tuple(row[:3]): row for row in table(said)}
    assert rows["c", "Adventurer-B", "224"][3:5] == ["power", "-"]
    assert "shifted 0.628 [0.606, 0.640]" in said
    assert "shifted at most 0.30" in said  # panel d does not identify a floor
    assert sorted(path.name for path in tmp_path.iterdir()) == ["paper"]
    names = {str(path.relative_to(tmp_path / "paper")) for path in (tmp_path / "paper").rglob("*.*")}
    tables = [f"table{n}" for n in range(1, 8)] + [f"figure{n}" for n in range(1, 5)]
    assert {f"tables/{name}.{ending}" for name in tables for ending in ("md", "tex", "csv")} < names
    drawn = ["figure1", "figure1_honest", "figure2", "figure3", "figure4"]
    assert {f"figures/{name}.{ending}" for name in drawn for ending in ("png", "pdf")} < names
    laws = pd.read_csv(tmp_path / "paper" / "laws.csv")
    assert set(laws["source"]) == {"Figure 1", "Tables 1, 4", "Table 2", "Table 3"}
    assert laws["converged"].all()
    missed = laws[(laws["source"] == "Tables 1, 4") & (laws["form"] == "shifted") & (laws["held_out_x"] == 1)]
    assert len(missed) >= 9
    assert (missed["held_out_predicted"] - missed["held_out_measured"]).abs().max() < 0.3


def test_published_does_not_hide_that_named_results_are_missing(tmp_path, capsys):
    assert main(["--published", "--results", str(tmp_path / "none"), "--form", "power"]) == 2
    assert "no results folder" in capsys.readouterr().err


def test_report_refuses_a_frame_without_a_finished_run(tmp_path):
    save(tmp_path / "results", make_config(patch_size=4), None)
    with pytest.raises(ConfigError, match="none of 1 run has finished"):
        report(law_input(load(tmp_path / "results")), tmp_path / "out")
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
    for option in ("--results DIR", "--out DIR", "--form FORMS", "--published", "--mixed HOW"):
        assert option in done.stdout


def test_a_record_survives_the_trip_into_a_frame(tmp_path):
    folder = save(tmp_path, make_config(patch_size=4, seed=2), 1.25)
    row = load(tmp_path).frame.iloc[0]
    for name, value in asdict(RunRecord.load(folder)).items():
        if isinstance(value, int | float | str) and name not in ("curve",):
            assert row[name] == value


def test_the_console_script_exits_with_the_status_of_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["patch-laws", "--form", "cubic"])
    with pytest.raises(SystemExit) as stopped:
        fit_laws.program()
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(form in message for form in one_variable())
