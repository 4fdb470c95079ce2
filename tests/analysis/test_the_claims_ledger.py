"""The ledger: complete rows, verdicts of measured claims by hand, one page, bad input in one line."""

import dataclasses
import math
import re
import shutil

import numpy as np
import pytest
import yaml
from scipy import stats

from analysis.claims import __main__ as program
from analysis.claims.estimates import ESTIMATES, ON_CIFAR10
from analysis.claims.ledger import FOLDER, KINDS, TOPICS, assess, load
from analysis.claims.measured import measured
from analysis.claims.page import counts, in_short, number, page
from analysis.claims.verdict import Estimate, Verdict, exact

LEDGER = load()
CLAIMS = {claim.id: claim for claim in LEDGER.claims}


@pytest.fixture(scope="module")
def rows():
    return [assess(claim) for claim in LEDGER.claims]


def test_every_claim_of_both_texts_has_a_row():
    """49 and 42 claims, some of them in parts; and those of the two papers."""
    numbers = {re.match(r"[A-Z]\d+", name)[0] for name in CLAIMS}
    assert {f"A{n}" for n in range(1, 50)} | {f"B{n}" for n in range(1, 43)} <= numbers
    assert {name[0] for name in numbers} == {"A", "B", "F", "N"}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_row_is_complete(name):
    claim = CLAIMS[name]
    for field in ("lines", "claim", "expectation", "rule", "scope"):
        assert getattr(claim, field), field
    assert claim.kind in KINDS
    assert claim.topic in TOPICS
    verdict = assess(claim).verdict if claim.claimed is None else None
    assert verdict in (None, Verdict.NOT_RUN, Verdict.NOT_TESTABLE)
    assert (verdict == Verdict.NOT_TESTABLE) == bool(claim.reason)
    assert verdict != Verdict.NOT_RUN or claim.command
    assert not re.search(r"[|\n]", claim.claim + claim.expectation)  # cells of a table


def test_every_estimate_and_every_study_is_used():
    assert {claim.estimate for claim in CLAIMS.values()} - {""} == set(ESTIMATES)
    assert {claim.study.id for claim in CLAIMS.values()} == {study.id for study in LEDGER.studies}


def test_parts_of_a_claim_begin_at_a_and_have_no_gap():
    parts = {}
    for name in CLAIMS:
        number, part = re.fullmatch(r"([A-Z]\d+)([a-z]?)", name).groups()
        parts.setdefault(number, []).append(part)
    for number, its in parts.items():
        assert its in ([""], [chr(ord("a") + n) for n in range(len(its))]), number


def test_a_measured_difference_is_the_paired_t_interval():
    runs = measured("cifar10_full")
    its = runs[runs["backbone"] == "deit_nano"].pivot_table(index="seed", columns="patch", values="test_loss")
    off = (its[8] - its[16]).to_numpy()
    low, high = stats.t.interval(0.95, len(off) - 1, off.mean(), stats.sem(off))
    found = next(one for one in ESTIMATES["halvings_cifar10"]() if one.what == "CIFAR-10, DeiT-nano, 16 to 8 px")
    assert found[1:] == pytest.approx((off.mean(), low, high))


def test_the_prediction_of_patch_1_is_a_line_through_the_logarithms():
    runs = measured("thread_settings")
    its = runs[(runs["threads"] == 1) & (runs["backbone"] == "deit_nano")]
    errors = []
    for _, of_seed in its.groupby("seed"):
        loss = of_seed.set_index("patch")["test_loss"]
        x, y = np.log([16, 8, 4, 2]), np.log(loss[[16, 8, 4, 2]].to_numpy())
        at_1 = stats.linregress(x, y).intercept
        errors.append(100 * (math.exp(at_1) / loss[1] - 1))
    found = ESTIMATES["predicted_patch_1"]()[0]
    assert found.value == pytest.approx(np.mean(errors))
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, 4) * stats.sem(errors))


def test_summaries_of_seeds_become_intervals():
    """+0.060 (0.008) of three seeds."""
    found = ESTIMATES["extrapolated_positions"]()[0]
    half = stats.t.ppf(0.975, 2) * 0.008 / math.sqrt(3)
    assert found[1:] == pytest.approx((0.060, 0.060 - half, 0.060 + half))


def test_mean_and_spread_of_segmentation_give_welch_s_interval():
    found = ESTIMATES["segmentation_8"]()[0]
    theirs = stats.ttest_ind_from_stats(64.7, 0.1, 3, 48.5, 0.6, 3, equal_var=False)
    assert found.value == pytest.approx(16.2)
    reach = stats.t.ppf(0.975, (0.1**2 + 0.6**2) ** 2 / ((0.1**4 + 0.6**4) / 2)) * 16.2 / theirs.statistic
    assert (found.high - found.low) / 2 == pytest.approx(reach)


def test_single_runs_and_medians_without_spread_decide_nothing():
    for name in ("A45c", "A34b", "A32", "B29c", "N1"):
        row = assess(CLAIMS[name])
        assert all(math.isnan(one.low) for one in row.estimates)
        assert row.verdict == Verdict.UNDECIDED


def test_what_shipped_measurements_decide():
    decided = {
        name: assess(CLAIMS[name]).verdict
        for name in ("A18", "A19b", "A20", "A41a", "A41b", "A45b", "F8b", "F9a", "N4a", "N4b")
    }
    assert decided == {
        "A18": Verdict.UNDECIDED,
        "A19b": Verdict.CONTRADICTED,
        "A20": Verdict.SUPPORTED,
        "A41a": Verdict.SUPPORTED,
        "A41b": Verdict.UNDECIDED,
        "A45b": Verdict.SUPPORTED,
        "F8b": Verdict.UNDECIDED,
        "F9a": Verdict.UNDECIDED,
        "N4a": Verdict.SUPPORTED,
        "N4b": Verdict.SUPPORTED,
    }


def test_what_the_same_study_found_on_cifar10_has_a_verdict_of_its_own(rows, monkeypatch):
    claim = CLAIMS["A45b"]
    assert assess(claim).on_cifar10 is None
    inside, outside = claim.claimed.low + 2 * claim.margin, claim.claimed.low - 2 * claim.margin
    monkeypatch.setitem(ESTIMATES, claim.estimate, lambda: [exact("on shapes", inside)])
    monkeypatch.setitem(ON_CIFAR10, claim.estimate, lambda: [exact("one", outside), exact("two", outside)])
    row = assess(claim)
    assert (row.verdict, row.on_cifar10.verdict) == (Verdict.SUPPORTED, Verdict.CONTRADICTED)
    text = page(LEDGER, [row if one.claim is claim else one for one in rows])
    assert f"| A45b | {claim.claim} | supported; on CIFAR-10 contradicted |" in text
    below = text[text.index("- **A45b**") :].splitlines()[1:4]
    assert below[1].startswith("  - On CIFAR-10: **contradicted**")
    assert below[2].startswith("    - one: ")
    assert below[2].endswith(", contradicted")
    assert counts([row])[Verdict.SUPPORTED] == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (16384, "16,384"), (4.449, "4.45"), (-588, "-588"), (1e-9, "1.0e-09"), (1234.5, "1,234")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_several_estimates_are_shown_by_their_ends():
    assert in_short([exact("a", 1), exact("b", 1)], " px") == "1 px in 2 estimates"
    assert in_short([exact("a", 1), exact("b", 3)]) == "1 to 3 in 2 estimates"
    assert in_short([Estimate("a", 2, math.nan, math.nan)], " %") == "a: 2 %, no interval"
    assert in_short([Estimate("a", 2, 1, 3)], " %") == "a: 2 [1, 3] %"
    unknown = Estimate("b", math.nan, math.nan, math.nan)
    assert in_short([unknown], " %") == "b: no number %, no interval"
    assert in_short([exact("a", 1), unknown, exact("a", 3)]) == "1 to 3 in 3 estimates"


def test_a_claim_whose_expectation_was_written_before_the_runs_has_a_sentence_for_it(rows):
    claim = dataclasses.replace(CLAIMS["A18"], planned=True)
    (row,) = [row for row in rows if row.claim.id == "A18"]
    sentence = "The expectation was written before the runs."
    planned = [dataclasses.replace(one, claim=claim) if one is row else one for one in rows]
    assert page(LEDGER, planned).count(sentence) == page(LEDGER, rows).count(sentence) + 1


def test_the_page_has_every_claim_twice_and_every_table_row_has_its_cells(rows):
    text = page(LEDGER, rows)
    for name in CLAIMS:
        assert len(re.findall(rf"^\| {name} \|", text, re.MULTILINE)) == 1
        assert len(re.findall(rf"^- \*\*{name}\*\* \(", text, re.MULTILINE)) == 1
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (5, 8), line


def test_the_command_writes_the_page_and_prints_a_summary_of_80_columns(tmp_path, capsys, rows, monkeypatch):
    monkeypatch.setattr(program, "assess", {row.claim: row for row in rows}.__getitem__)
    assert program.main(["--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / program.PAGE).read_text() == page(LEDGER, rows)
    assert f"{len(CLAIMS)} claims of 4 sources" in printed
    assert all(len(line) <= 80 for line in printed.splitlines()[:-1])
    listed = re.findall(r"\b[ABFN]\d+[a-z]?\b", printed)
    assert sorted(listed) == sorted(CLAIMS)
    assert program.main(["--out", str(tmp_path), "--check"]) == 0
    (tmp_path / program.PAGE).write_text("older\n")
    assert program.main(["--out", str(tmp_path), "--check"]) == 1
    assert (tmp_path / program.PAGE).read_text() == "older\n"


def rewritten(folder, file, change):
    """The ledger with other rows in a file."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    rows = yaml.safe_load((folder / file).read_text())
    (folder / file).write_text(yaml.safe_dump(change(rows) or rows))


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("navit.yaml", lambda rows: rows[0].pop("expectation") and None, "expectation is missing"),
        ("navit.yaml", lambda rows: rows[0].update(verdict="supported"), "no field is called verdict"),
        ("navit.yaml", lambda rows: rows[0].update(study="E99"), "no study is called E99"),
        ("navit.yaml", lambda rows: rows[0].update(estimate="luck"), "no estimate is called luck"),
        ("navit.yaml", lambda rows: rows[0].update(claimed=[2, 1]), "write [low, high]"),
        ("navit.yaml", lambda rows: rows[0].update(claimed=[math.nan, 1]), "write [low, high]"),
        ("navit.yaml", lambda rows: rows[0].pop("claimed") and None, "estimate and claimed go together"),
        ("navit.yaml", lambda rows: rows[0].update(margin=-1), "margin is negative"),
        ("navit.yaml", lambda rows: rows[0].update(margin="0.02"), "margin is '0.02', not float"),
        ("navit.yaml", lambda rows: rows[0].update(kind="guess"), "kind is guess; choose from"),
        ("navit.yaml", lambda rows: rows[0].update(topic="luck"), "topic is luck; choose from"),
        ("navit.yaml", lambda rows: rows[0].update(claim=""), "claim is empty"),
        ("navit.yaml", lambda rows: rows[0].update(id="A1"), "the id is not like N12"),
        ("navit.yaml", lambda rows: rows[1].update(id="N1"), "claim N1 is there twice"),
        ("navit.yaml", lambda rows: rows[0].update(reason="none"), "a study has either"),
        ("navit.yaml", lambda rows: rows[1].update(kind="not testable"), "has reason and neither"),
        ("navit.yaml", lambda rows: {"rows": rows}, "is not a list of mappings"),
        ("studies.yaml", lambda rows: rows[0].pop("rule") and None, "rule is missing"),
        ("sources.yaml", lambda rows: rows[0].update(file="gone.yaml"), "cannot read"),
    ],
)
def test_a_damaged_ledger_is_refused_in_one_line_and_writes_nothing(tmp_path, capsys, file, change, words):
    rewritten(tmp_path / "ledger", file, change)
    assert program.main(["--ledger", str(tmp_path / "ledger"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_yaml_and_a_wrong_option_are_refused_in_one_line(tmp_path, capsys):
    rewritten(tmp_path / "ledger", "navit.yaml", lambda rows: rows)
    (tmp_path / "ledger" / "navit.yaml").write_text("- {id: N1, claim: [\n")
    for words in (["--ledger", str(tmp_path / "ledger"), "--out", str(tmp_path)], ["--verdict", "good"]):
        assert program.main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1
