"""The report page without a browser: what is in it, and that it loads nothing and runs no text of a run."""

import base64
import hashlib
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from analysis.fitting.laws import fit
from analysis.page import curves, pictures
from analysis.page.checklist_section import html_of
from analysis.page.page import SECTIONS
from analysis.page.section import as_json
from analysis.records.run_set import load
from experiments import report, sweep
from experiments.launch.outcome import Outcome
from experiments.sweep_status import not_finished
from scaling.config.edit import make_config
from scaling.errors import ConfigError
from scaling.runs.record import PREDICTIONS
from tests.analysis.test_fit_laws import save
from tests.page.folders import Parsed, finished, page_of, unfinished

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"
pytestmark = pytest.mark.usefixtures("unsaved")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page") / "results"
    finished(folder)
    unfinished(folder, f"loss is nan {EVIL}", f"first\n{EVIL}\nlast words\n")
    return folder


@pytest.fixture(scope="module")
def html(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.checklist._draws", lambda law: {})
        return page_of(results)


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_the_page_has_every_section_and_every_run(html, results):
    page = Parsed(html)
    ids = [attributes["id"] for tag, attributes in page.elements if tag == "section"]
    own = ["laws", "curves", "runs", "pictures", "paper", "not-finished", "machines", "checklist"]
    assert ids == [*own, "calculators", "decisions"]
    assert len(ids) == len(SECTIONS)
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links == ["#main", *(f"#{its}" for its in ids)]
    rows = page.within("th")
    for folder in results.iterdir():
        assert folder.name in rows
    assert "last words" in html
    assert "deit_nano" in page.within("summary")  # of the checklist
    assert "the same command resumes it" in page.within("p")


def test_points_and_curves_of_laws_are_those_of_the_fits(html, results):
    frame = load(results).finished
    (panel,) = data_of(html)["laws"]["panels"]
    for group in panel["groups"]:
        its = frame[frame["run_id"].isin(group["run"])].set_index("run_id").loc[group["run"]]
        assert group["y"] == pytest.approx(list(its["test_loss"]), rel=1e-4)
        assert group["x"]["tokens"] == list(its["tokens"])
        assert {(law["x"], law["form"]) for law in group["laws"]} == {
            (x, form) for x in ("patch", "tokens", "flops_per_image", "device_hours") for form in ("power", "shifted")
        }
        for law in group["laws"]:
            if law["x"] in ("patch", "tokens"):
                expected = fit(its[law["x"]], its["test_loss"], law["form"])
                assert law["line"] == pytest.approx(list(expected.predict(law["places"])), rel=1e-3)
                band = law.get("band") or law["bars"]
                low, high = expected.band(band["x"])
                assert band["low"] == pytest.approx(list(low), rel=2e-3)
                assert band["high"] == pytest.approx(list(high), rel=2e-3)


def test_curves_are_those_of_the_files_and_end_with_the_reported_loss(html, results):
    frame = load(results).finished.set_index("run_id")
    runs = data_of(html)["curves"]["runs"]
    assert len(runs) == len(frame)
    for run in runs:
        steps, losses = run["train"]
        assert (len(steps), steps[0], steps[-1]) == (40, 1, 40)
        assert losses[-1] < losses[0]
        assert run["test"][0] == [10, 20, 30, 40]
        assert run["test"][1][-1] == pytest.approx(frame.loc[run["run"], "test_loss"], rel=1e-4)
        assert 40 * run["flops"] == pytest.approx(
            3 * 40 * frame.loc[run["run"], "batch"] * frame.loc[run["run"], "flops_per_image"]
        )


def test_long_curves_are_thinned_and_the_oldest_runs_left_out(tmp_path, monkeypatch):
    finished(tmp_path, backbones=("deit_nano",), patches=(16, 8, 4), rows=1000)
    monkeypatch.setattr(curves, "MOST_RUNS", 2)
    html = page_of(tmp_path)
    runs = data_of(html)["curves"]["runs"]
    assert "Of 3 runs the 2 that ended last are drawn." in html
    assert [run["train"][0][-1] for run in runs] == [1000, 1000]
    assert all(150 < len(run["train"][0]) <= 201 for run in runs)


def test_the_page_loads_nothing_and_its_scripts_are_those_of_its_policy(html):
    page = Parsed(html)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    assert "@import" not in "".join(page.within("style"))
    assert "url(" not in "".join(page.within("style"))
    (policy,) = (its["content"] for tag, its in page.elements if its.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    scripts = [text for text in page.within("script") if not text.startswith("{")]
    assert len(scripts) == 2
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy


def test_texts_of_runs_are_texts(html):
    page = Parsed(html)
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert [tag for tag, _ in page.elements].count("img") == 0
    assert any("<script>alert(1)</script>" in text for text in page.within("pre"))
    assert any("<img src=x" in text for text in page.within("p"))


def test_a_recipe_named_like_a_script_is_a_text_everywhere(tmp_path):
    """Names of data sets, heads and backbones are free texts in records of other code."""
    for patch in (16, 8, 4, 2):
        save(tmp_path, make_config(patch_size=patch, num_classes=12), 0.4 + 0.3 * patch**0.6)
    for path in tmp_path.glob("*/record.json"):
        record = json.loads(path.read_text())
        record["machine"] = {EVIL: EVIL}
        record["versions"] = {"torch": EVIL}
        path.write_text(json.dumps(record))
    page = Parsed(page_of(tmp_path))
    assert [tag for tag, _ in page.elements].count("script") == 3
    assert any(EVIL in text for text in page.within("td"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def null_where_not_finite(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: null_where_not_finite(its) for key, its in value.items()}
    return [null_where_not_finite(its) for its in value] if isinstance(value, list) else value


@given(JSON)
def test_data_come_back_as_they_were_and_cannot_end_a_script(value):
    text = as_json(value)
    assert "<" not in text
    assert json.loads(text) == null_where_not_finite(value)


def test_html_in_markdown_is_text_and_tables_have_scopes():
    html = html_of(f"## head\n\n{EVIL}\n\n| a | b |\n| --- | --- |\n| <b>1</b> | 2 |\n")
    page = Parsed(html)
    assert {tag for tag, _ in page.elements} == {"h3", "p", "div", "table", "thead", "tbody", "tr", "th", "td"}
    assert [its["scope"] for tag, its in page.elements if tag == "th"] == ["col", "col"]


def test_pictures_are_few_scaled_down_and_described(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (600, 1600, 3), dtype=np.uint8))
    for seed in (0, 1):
        folder = save(tmp_path, make_config(task="segment", dataset="shapes", seed=seed), 1.0)
        (folder / PREDICTIONS).mkdir()
        for number in range(3):
            noise.save(folder / PREDICTIONS / f"{number:03}.png")
    monkeypatch.setattr(pictures, "MOST", 3)
    html = page_of(tmp_path)
    images = [its for tag, its in Parsed(html).elements if tag == "img"]
    assert len(images) == 3  # two of the first run, one of the second
    for image in images:
        assert (image["width"], image["height"]) == ("800", "300")
        assert "prediction of segment-shapes-" in image["alt"]
        assert len(image["src"]) < 300_000
    assert "3 further pictures" in html


def test_without_pictures_the_page_names_the_command_that_makes_some(tmp_path):
    save(tmp_path, make_config(task="segment", dataset="shapes"), 1.0)
    assert "--save-predictions 4" in page_of(tmp_path)


def test_a_page_of_300_runs_is_below_12_mb(tmp_path, unbanded):
    backbones = ("deit_nano", "deit_pico", "adventurer_nano", "adventurer_pico")
    finished(tmp_path, backbones, seeds=range(15), rows=200)
    html = page_of(tmp_path, forms=("power",))
    assert len(data_of(html)["curves"]["runs"]) == 300
    assert len(html.encode()) < 12e6


def test_the_program_writes_the_page_and_prints_where(results, tmp_path, capsys):
    out = tmp_path / "deep" / "page.html"
    assert report.main(["--results", str(results), "--out", str(out), "--form", "power"]) == 0
    assert capsys.readouterr().out.split() == ["report:", str(out)]
    assert out.read_text().startswith("<!doctype html>")
    assert data_of(out.read_text())["laws"]["forms"] == ["power"]
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--results", "EMPTY"], "holds no run"),
        (["--results", "MISSING"], "no results folder"),
        (["--results", "FULL", "--form", "cubic"], "unknown form 'cubic'"),
        (["--results", "FULL", "--out", "EMPTY"], "is a folder; name a file in it"),
        (["--result"], "expected one argument"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(results, tmp_path, words, why):
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "MISSING": tmp_path / "missing", "FULL": results}
    with pytest.raises(ConfigError, match=why) as caught:
        report.main([str(places.get(word, word)) for word in words])
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_folder_in_which_nothing_finished_has_a_page_of_its_failures(tmp_path):
    failed, stopped = unfinished(tmp_path, "loss is nan", "some words\n")
    assert {name: one.state for name, one in not_finished(tmp_path, ()).items()} == {
        failed.name: "failed",
        stopped.name: "stopped",
    }
    html = page_of(tmp_path)
    assert "No run has finished, so there is nothing to fit a law to." in html
    assert "loss is nan at step 12" in html


def test_a_damaged_record_is_one_run_and_no_folder_of_the_machine_is_named(tmp_path, capsys):
    results = tmp_path / "own"
    finished(results, ("deit_nano",), patches=(16, 8, 4), rows=20)
    damaged, picture, *_ = sorted(results.glob("*-s0-*"))
    (damaged / "record.json").write_text("{")
    (picture / "predictions").mkdir()
    (picture / "predictions" / "0.png").write_text("no picture")
    assert report.main(["--results", str(results), "--form", "power"]) == 0
    html = (results / "report" / "index.html").read_text()
    assert "<p>1 run; the same command" in html
    assert f"{damaged.name}/record.json is no run record" in html
    assert str(tmp_path) not in html


def test_a_sweep_ends_with_the_page_of_its_folder(tmp_path, capsys, monkeypatch):
    """All of its runs are done; the checklist of the page is the one that was just written."""
    for name in ("_own_figures", "_paper_files"):
        monkeypatch.setattr(f"analysis.report.law_files.{name}", lambda *_: {})
    made = []
    monkeypatch.setattr("analysis.page.content.checklist", lambda laws: made.append(laws))
    words = ["shapes.deit_nano", "--patch", "16,8,4", "--results", str(tmp_path)]
    for run in sweep.arguments(words)[0]:
        save(tmp_path, run, 0.4 + 0.3 * run.model.patch_size**0.6)
    assert sweep.main(words) == 0
    assert f"report: {tmp_path / 'report' / 'index.html'}" in " ".join(capsys.readouterr().out.split())
    assert not made
    assert "The checklist of arXiv 2502.18969" in (tmp_path / "report" / "index.html").read_text()


def test_a_sweep_whose_runs_all_failed_ends_with_a_page_of_the_failures(tmp_path, capsys, monkeypatch):
    (folder, _) = unfinished(tmp_path, "loss is nan", "Loss rose.\n")
    outcome = Outcome(1, "loss is nan")
    monkeypatch.setattr(sweep, "train_all", lambda runs, *_: {run.run_id: outcome for run in runs})
    assert sweep.main(["shapes.deit_nano", "--patch", "8", "--results", str(tmp_path)]) == 1
    assert "report: " in " ".join(capsys.readouterr().out.split())
    html = (tmp_path / "report" / "index.html").read_text()
    assert folder.name in html
    assert "Loss rose." in html


def test_a_sweep_none_of_whose_runs_began_ends_with_their_status_and_without_a_page(tmp_path, capsys, monkeypatch):
    """As where all of its jobs are cancelled while they wait."""
    outcome = Outcome(1, "cancelled")
    monkeypatch.setattr(sweep, "train_all", lambda runs, *_: {run.run_id: outcome for run in runs})
    assert sweep.main(["shapes.deit_nano", "--patch", "8", "--results", str(tmp_path)]) == 1
    assert "cancelled" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
