"""search.py: the best fields at every patch size by Optuna, by the loss on held-out images."""

import math
import sys
from contextlib import suppress

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import api, search, sweep
from experiments.cli.varied_fields import Range, ranges
from experiments.launch.outcome import recorded
from scaling.errors import ConfigError
from scaling.runs.identity import folder_of
from scaling.runs.record import RunRecord

FIELDS = ["--vary", "lr=1e-4..1e-2", "--vary", "weight_decay=0,0.05,0.3"]
WORDS = ["shapes.deit_nano", "--seeds", "0,1", *FIELDS]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def held_out(run) -> float:
    """Lowest at a learning rate of 1e-3 at patch 8, 2e-3 at patch 4, and so on, and without weight decay."""
    best = 8e-3 / run.model.patch_size
    return 0.5 + math.log(run.optim.lr / best) ** 2 + run.optim.weight_decay + run.seed / 100


class Trained:
    """In the place of train_all: runs end at once, with losses of a function. rounds: what was trained, by round.
    stop: the number of a round that is interrupted."""

    def __init__(self, stop=math.inf, diverges=lambda run: False):
        self.rounds, self.stop, self.diverges = [], stop, diverges
        self.planned = []  # by round: whether the time of each run was known

    def __call__(self, runs, results, settings, console, expected, launcher):
        if len(self.rounds) == self.stop:
            raise KeyboardInterrupt
        self.rounds.append([run for run in runs if recorded(folder_of(run, results)) is None])
        self.planned.append({run.run_id: expected.get(run.run_id, 0) > 0 for run in self.rounds[-1]})
        for run in self.rounds[-1]:
            self.record(run, results)
        return {run.run_id: recorded(folder_of(run, results)) for run in runs}

    def record(self, run, results):
        failed, loss = self.diverges(run), held_out(run)
        made = RunRecord(
            run_id=run.run_id,
            group=run.group,
            config=run.to_dict(),
            status="failed" if failed else "finished",
            test_loss=None if failed else 100 - loss,  # test images would choose the worst trial
            metrics={} if failed else {"val_loss": loss},
            tokens=4,
            parameters=1,
            flops_per_image=1.0,
            peak_memory=1,
            images_per_second=100.0,
            wall_time=1.0,
            failure={"reason": "training loss is nan", "step": 3, "lr": 0.01} if failed else {},
        )
        folder = results / run.run_id
        folder.mkdir(parents=True)
        made.save(folder)


@pytest.fixture
def searched(monkeypatch, tmp_path):
    """searched("--patch", "8", name="r") -> status, table of trials, Trained."""

    def of(*words, name="r", trained=None):
        trained = trained or Trained()
        monkeypatch.setattr(search, "train_all", trained)
        status = search.main([*WORDS, *words, "--results", str(tmp_path / name)])
        return status, pd.read_csv(tmp_path / name / "analysis/search.csv"), trained

    return of


def test_each_patch_size_has_a_best_trial_by_held_out_loss_alone(searched, capsys, tmp_path):
    status, table, trained = searched("--patch", "8,4,2")
    assert status == 0
    assert [len(its) for its in trained.rounds] == [24] * 5  # four trials of three patch sizes, two seeds
    assert table.groupby("patch")["trial"].apply(list).tolist() == [list(range(20))] * 3
    said = capsys.readouterr().out
    assert max(map(len, said.replace(str(tmp_path), "").splitlines())) <= 80
    for patch, its in table.groupby("patch"):
        best = its.loc[its["val_loss"].idxmin()]
        assert best["test_loss"] == its["test_loss"].max()
        assert best["lr"] == pytest.approx(8e-3 / patch, rel=0.5)
        assert best["weight_decay"] < 0.3
        assert f"{best['lr']:.4g}" in said


def test_the_first_trial_has_the_values_of_the_recipe_and_every_run_holds_out_images(searched):
    _, table, trained = searched("--patch", "8", "--trials", "2")
    own = api.recipe("shapes.deit_nano", patch=8)
    assert tuple(table.loc[0, ["lr", "weight_decay"]]) == (own.optim.lr, own.optim.weight_decay)
    assert {run.data.val_split for run in trained.rounds[0]} == {0.1}
    _, _, trained = searched("--patch", "8", "--trials", "1", "--val-split", "0.2")
    assert {run.data.val_split for run in trained.rounds[0]} == {0.2}


def test_an_interrupted_search_continues_as_if_it_had_not_been(searched, tmp_path):
    words = ["--patch", "8,4", "--trials", "14", "--seeds", "0"]
    _, whole, trained = searched(*words, name="whole")
    cut = Trained(stop=2)
    with pytest.raises(KeyboardInterrupt):
        searched(*words, name="cut", trained=cut)
    assert not (tmp_path / "cut/analysis").exists()
    _, again, rest = searched(*words, name="cut")
    pd.testing.assert_frame_equal(again, whole)
    assert [len(its) for its in rest.rounds] == [0, 0, 8, 4]
    ids = [[[run.run_id for run in its] for its in rounds] for rounds in (trained.rounds, cut.rounds + rest.rounds[2:])]
    assert ids[0] == ids[1]


def test_more_trials_continue_a_search(searched):
    _, few, _ = searched("--patch", "8", "--trials", "8")
    _, many, trained = searched("--patch", "8", "--trials", "12")
    pd.testing.assert_frame_equal(many.iloc[:8], few)
    assert sum(map(len, trained.rounds)) == 2 * 4


def test_a_trial_that_diverges_has_no_value_and_the_others_count(searched):
    diverges = Trained(diverges=lambda run: run.optim.lr > 2e-3 and run.seed == 1)
    status, table, _ = searched("--patch", "8", trained=diverges)
    failed = table["failure"].notna()
    assert status == 0
    assert 0 < failed.sum() < 20
    assert (table["lr"] > 2e-3).equals(failed)
    assert table.loc[failed, "val_loss"].isna().all()
    assert "training loss is nan" in table.loc[failed, "failure"].iloc[0]


def test_a_patch_size_without_a_value_makes_the_status_1(searched, capsys):
    status, table, _ = searched("--patch", "8,4", trained=Trained(diverges=lambda run: run.model.patch_size == 4))
    assert status == 1
    assert table.loc[table["patch"] == 4, "val_loss"].isna().all()
    printed = capsys.readouterr().out.split("best trials")[1]
    assert printed.count("shapes.deit_nano") == 1


def test_values_that_a_recipe_cannot_have_are_a_failed_trial(searched):
    status, table, _ = searched("--patch", "8", "--vary", "img_size=16..24", "--trials", "8")
    bad = table["img_size"] % 8 != 0
    assert status == 0
    assert bad.any()
    assert table.loc[bad, "failure"].str.contains("patch 8").all()
    assert table.loc[~bad, "failure"].isna().all()


def test_a_recipe_that_draws_its_patches_is_searched_once(searched):
    _, table, _ = searched("--patch", "8,4", "--step-shapes", "random_patch", "--patch-embed", "flexible")
    assert set(table["patch"]) == {4}


def test_all_trials_above_the_limit_are_refused_before_a_run_begins(monkeypatch, tmp_path):
    monkeypatch.setattr(search, "train_all", None)
    words = [*WORDS, "--patch", "8", "--results", str(tmp_path / "r")]
    with pytest.raises(ConfigError, match=r"above the limit of 0\.01 h"):
        search.main([*words, "--limit", "0.01"])
    assert not list((tmp_path / "r").glob("*-s0-*"))


def test_the_limit_holds_for_trials_that_are_added_to_a_search(searched, tmp_path):
    searched("--patch", "8", "--trials", "8")
    with pytest.raises(ConfigError, match=r"above the limit of 1e-09 h"):
        searched("--patch", "8", "--trials", "12", "--limit", "1e-9")
    assert len(list((tmp_path / "r").glob("*-s0-*"))) == 8


def test_the_limit_is_for_all_trials_and_asked_once(searched, capsys):
    with pytest.raises(ConfigError) as caught:
        searched("--patch", "8", "--trials", "8", "--limit", "1e-9", name="eight")
    with pytest.raises(ConfigError) as four:
        searched("--patch", "8", "--trials", "4", "--limit", "1e-9", name="four")
    minutes = [float(str(e.value).split()[3]) for e in (caught, four)]
    assert minutes[0] == pytest.approx(2 * minutes[1], rel=0.02)
    assert "with 8 runs that follow: " in capsys.readouterr().out


def test_the_time_of_every_run_is_known_to_the_sweep_of_its_round(searched):
    _, _, trained = searched("--patch", "8,4", "--trials", "8")
    assert [len(its) for its in trained.planned] == [16, 16]
    assert all(all(its.values()) for its in trained.planned)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "a search needs fields"),
        ("--vary val_split=0.1..0.2", "a search needs fields"),
        ("--vary lr=1e-4..1e-2 --val-split 0", "a --val-split above 0"),
        ("--vary lr=1e-4..1e-2 --trials 0", "--trials 0 must be 1 or more"),
        ("--vary lr=1e-4..1e-2 --lr 1", "lr is set twice"),
        ("--vary lr=1e-2..1e-4", "is not FIELD=LOW..HIGH"),
        ("--vary lr=1e-4..1e-2..1", "is not FIELD=LOW..HIGH"),
        ("--vary lr=..1e-2", "is not FIELD=LOW..HIGH"),
        ("--vary lr=1e-4..x", "--lr x is not a number"),
        ("--vary epochs=1..2.5", "--epochs 2.5 is not a whole number"),
        ("--vary max_grad_norm=none..1", "is not FIELD=LOW..HIGH"),
        ("--vary lr=-2..-1", "lr -2.0 must be above 0"),
        ("--vary lr=1e-4..1e-2 --vary weight_decay=-1,-2", "weight_decay -1.0 must"),
        ("--vary img_size=12..20", "patch 8"),
    ],
)
def test_what_cannot_be_searched_is_a_line_and_nothing_is_written(words, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        search.main(["shapes.deit_nano", "--patch", "8", *words.split(), "--results", str(tmp_path / "r")])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_a_sweep_hands_a_search_over(monkeypatch):
    handed = []
    monkeypatch.setattr(search, "main", lambda argv: handed.append(argv) or 0)
    assert sweep.main(["shapes.deit_nano", "--search", "optuna", "--trials", "8", *FIELDS]) == 0
    assert handed == [["shapes.deit_nano", "--trials", "8", *FIELDS]]
    with pytest.raises(ConfigError, match="--search takes optuna"):
        sweep.main(["shapes.deit_nano", "--search", "grid", *FIELDS])


def test_a_study_is_not_searched_and_a_range_not_swept():
    with pytest.raises(ConfigError, match=r"recipe 'shapes\.table5'"):
        search.main(["shapes.table5", *FIELDS])
    with pytest.raises(ConfigError, match=r"is a range, for search\.py"):
        sweep.arguments(["shapes.deit_nano", "--vary", "lr=1e-4..1e-2"])


def test_a_schedule_with_dots_is_a_value_of_a_sweep():
    runs, _ = sweep.arguments(["shapes.flexi_deit_nano", "--patch", "2", "--vary", "patch_schedule=8..2,4..2"])
    assert len(runs) == 2


def test_without_the_package_a_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna.trial", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[search\]'"):
        search.main(WORDS)


@given(NUMBERS, NUMBERS)
def test_any_two_numbers_are_a_range_or_refused_in_a_line(low, high):
    text = f"lr={low!r}..{high!r}"
    if not -1e300 < low < high < 1e300:
        with pytest.raises(ConfigError, match=r"LOW\.\.HIGH"):
            ranges([text], ())
        return
    found = ranges([text], ())["lr"]
    assert isinstance(found, Range)
    assert tuple(found) == (low, high)
    assert found.log == (low > 0 and high >= 10 * low)
    assert low in found
    assert high in found


@given(st.text(alphabet="0123456789.e-+, naif", max_size=12))
def test_any_text_is_values_a_range_or_refused(text):
    with suppress(ConfigError):
        found = ranges([f"lr={text}"], ())["lr"]
        assert found.low < found.high if isinstance(found, Range) else all(type(one) is float for one in found)


def test_runs_are_trained_and_read(call, tmp_path):
    """The whole of it, with runs of a second."""
    small = ["--num-train", "64", "--num-val", "16", "--global-batch-size", "16", "--epochs", "1", "--threads", "1"]
    words = ["shapes.deit_nano", "--patch", "16", *FIELDS, "--trials", "2", *small, "--results", tmp_path]
    done = call("experiments/search.py", *words)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "analysis/search.csv")
    losses = [RunRecord.load(folder).metrics["val_loss"] for folder in tmp_path.glob("*-s0-*")]
    assert sorted(table["val_loss"]) == pytest.approx(sorted(losses))
    again = call("experiments/search.py", *words)
    assert again.stdout.count("have deit_nano") == 2
