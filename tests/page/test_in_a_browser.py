"""The report page in a headless Chromium: it works without errors and without a network, every control does what its
label states, and it is legible in both themes and at 360 px."""

import json

import numpy as np
import pytest

from analysis.fitting.laws import fit
from analysis.records.run_set import load
from tests.page.folders import finished, page_of, unfinished

LAW = "#laws .plot"
PATIENCE = 300_000  # for a machine that is busy with other work [ms]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "results"
    finished(folder)
    unfinished(folder, "loss is nan", "the last line\n")
    return folder


@pytest.fixture(scope="module")
def file(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.report.checklist._draws", lambda law: {})
        path = results / "index.html"
        path.write_text(page_of(results))
    return path.as_uri()


@pytest.fixture(scope="module")
def page(browser, file):
    """The page at the width of a desk, shared by tests that leave it as it was or do not mind; errors and requests are
    collected in its attributes `wrong` and `asked`."""
    opened = browser.new_context(viewport={"width": 1100, "height": 800}, color_scheme="light").new_page()
    opened.set_default_timeout(PATIENCE)
    opened.wrong, opened.asked = [], []
    opened.on("console", lambda message: opened.wrong.append(message.text))
    opened.on("pageerror", lambda error: opened.wrong.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(file)
    for plot in opened.query_selector_all(".plot"):
        plot.scroll_into_view_if_needed()
        opened.wait_for_function("plot => plot.querySelector('svg.main-svg')", arg=plot)
    return opened


def choose(page, section, **chosen):
    for name, value in chosen.items():
        page.select_option(f"#{section} [name={name}]", value)


def traces(page, plot):
    """What a plot shows: its traces, and the types of its axes."""
    return json.loads(
        page.eval_on_selector(
            plot,
            "e => JSON.stringify({traces: e.data.map(t => ({name: t.name, x: [...t.x], y: [...t.y], mode: t.mode})),"
            " x: e._fullLayout.xaxis.type, y: e._fullLayout.yaxis.type, title: e._fullLayout.xaxis.title.text})",
        )
    )


def lines(page, form):
    return [its for its in traces(page, LAW)["traces"] if its["name"] == f"law {form}"]


def test_nothing_fails_and_nothing_is_asked_for(page, file):
    assert page.wrong == []
    assert [url for url in page.asked if not url.startswith(("data:", "blob:"))] == [file]
    for plot in page.query_selector_all(".plot"):
        assert len(plot.get_attribute("aria-label")) > 40
    assert page.query_selector_all(".note:not(noscript .note)") == []


def test_the_choice_of_a_law_changes_the_curve(page, results):
    choose(page, "laws", group="0", axis="patch")
    frame = load(results).finished
    name = page.eval_on_selector("#laws [name=group]", "e => e.selectedOptions[0].textContent")
    its = frame[frame["backbone"] == name]
    for form in ("power", "shifted"):
        choose(page, "laws", form=form)
        (line,) = lines(page, form)
        assert line["y"] == pytest.approx(list(fit(its["patch"], its["test_loss"], form).predict(line["x"])), rel=1e-3)
        assert page.inner_text("#laws tbody th") == f"{name}, {form}"
        assert "R2" in page.inner_text("#laws tbody td")
    choose(page, "laws", form="all")
    assert (len(lines(page, "power")), len(lines(page, "shifted"))) == (1, 1)
    choose(page, "laws", form="none")
    assert lines(page, "power") == lines(page, "shifted") == []
    choose(page, "laws", form="shifted", group="all")
    assert len(lines(page, "shifted")) == 2


def test_the_choice_of_an_axis_changes_the_data_and_its_scale(page):
    choose(page, "laws", group="0", form="power", axis="tokens")
    shown = traces(page, LAW)
    points = next(its for its in shown["traces"] if its["mode"] == "markers")
    assert sorted(points["x"]) == [1, 4, 16, 64, 256]
    assert shown["title"] == "tokens [tokens]"
    for axis, column in (("flops_per_image", "FLOPs"), ("device_hours", "device-hours")):
        choose(page, "laws", axis=axis)
        assert column in traces(page, LAW)["title"]
    choose(page, "laws", axis="patch", xscale="linear", yscale="linear")
    assert (traces(page, LAW)["x"], traces(page, LAW)["y"]) == ("linear", "linear")
    choose(page, "laws", xscale="log", yscale="log")
    assert (traces(page, LAW)["x"], traces(page, LAW)["y"]) == ("log", "log")


def test_pointing_at_a_run_shows_its_identifier(page, results):
    page.eval_on_selector(LAW, "e => e.scrollIntoView({block: 'center', behavior: 'instant'})")
    choose(page, "laws", group="0", axis="patch")
    page.hover("#laws .plot .scatterlayer .point", force=True)
    page.wait_for_selector("#laws .plot .hovertext")
    text = page.eval_on_selector("#laws .plot .hovertext", "e => e.textContent")
    assert any(run in text for run in load(results).finished["run_id"])
    assert "seed 0" in text
    assert "top-1" in text


def test_curves_are_chosen_by_recipe_loss_and_axis(page):
    plot = "#curves .plot"
    choose(page, "curves", recipe="deit_nano", loss="train", axis="steps")
    steps = traces(page, plot)["traces"]
    assert [its["name"] for its in steps] == [f"patch {patch} px" for patch in (16, 8, 4, 2, 1)]
    assert steps[0]["x"] == [*range(1, 41), None]
    choose(page, "curves", axis="images")
    images = traces(page, plot)["traces"][0]["x"]
    assert images[0] > 1
    assert images[-2] == 40 * images[0]
    choose(page, "curves", recipe="all", loss="test", axis="steps")
    assert traces(page, plot)["traces"][0]["x"] == [10, 20, 30, 40, None] * 2
    choose(page, "curves", xscale="log", yscale="linear")
    assert (traces(page, plot)["x"], traces(page, plot)["y"]) == ("log", "linear")


def test_the_paper_s_figures_are_chosen_by_panel(page):
    titles = page.eval_on_selector("#paper [name=figure]", "e => [...e.options].map(o => o.textContent)")
    assert [title[:8] for title in titles] == [f"Figure {number}" for number in (1, 2, 3, 4)]
    for number in range(4):
        choose(page, "paper", figure=str(number))
        panels = page.eval_on_selector("#paper [name=panel]", "e => e.options.length")
        choose(page, "paper", panel=str(panels - 1))
        assert all("published" in its["name"] for its in traces(page, "#paper .plot")["traces"])
        assert titles[number] in page.inner_text("#paper figcaption")


def column(page, name):
    heads = [head.inner_text().split("\n")[0].strip() for head in page.query_selector_all("#runs thead th")]
    cells = page.query_selector_all(f"#runs tbody tr:not([hidden]) > :nth-child({heads.index(name) + 1})")
    return [cell.inner_text() for cell in cells]


def test_the_table_sorts_by_every_column_from_the_keyboard(page):
    values = [float(text) for text in column(page, "test loss [nats]") if text not in ("\N{EN DASH}", "")]
    page.focus("#runs thead th:nth-child(6) button")
    for direction, ordered in (("ascending", sorted(values)), ("descending", sorted(values, reverse=True))):
        page.keyboard.press("Enter")
        found = column(page, "test loss [nats]")
        assert [float(text) for text in found[: len(values)]] == ordered
        assert set(found[len(values) :]) == {"\N{EN DASH}", ""}  # what has no number is last, either way
        assert page.get_attribute("#runs thead th:nth-child(6)", "aria-sort") == direction
    for place in range(1, page.eval_on_selector_all("#runs thead th", "e => e.length") + 1):
        page.click(f"#runs thead th:nth-child({place}) button")
        assert page.eval_on_selector_all("#runs thead th[aria-sort=ascending]", "e => e.map(h => h.cellIndex + 1)") == [
            place
        ]


def test_the_table_is_filtered_by_words_and_status(page):
    page.fill("#runs [name=words]", "deit_nano P4-")
    assert len(column(page, "run")) == 1
    assert page.inner_text("#runs [role=status]") == "1 of 12 runs"
    page.fill("#runs [name=words]", "")
    choose(page, "runs", status="failed")
    assert column(page, "status") == ["failed"]
    choose(page, "runs", status="")
    assert len(column(page, "run")) == 12


def test_every_control_has_a_label_a_place_in_the_order_of_tabs_and_a_visible_focus(page):
    controls = page.query_selector_all("button:visible, select:visible, input:visible, summary:visible, .scroll")
    assert len(controls) > 30
    for control in controls:
        assert control.evaluate("e => e.tabIndex") == 0
        named = "e => e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent.trim()"
        assert control.evaluate(named)
    page.focus("#theme")
    page.keyboard.press("Tab")
    for _ in range(12):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement);"
            " return [s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        )
        assert outline[0] != "none"
        assert outline[1] >= 2


CONTRASTS = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const paper = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] > 0) return c; } };
  const found = {};
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    if (!text || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(e.tagName) || !e.checkVisibility()) continue;
    const svg = e.closest("svg");
    const ink = rgb(svg ? getComputedStyle(e).fill : getComputedStyle(e).color).slice(0, 3);
    found[JSON.stringify([ink, paper(svg ? svg.closest("section") : e).slice(0, 3)])] = text.slice(0, 40);
  }
  for (const e of document.querySelectorAll("[placeholder]"))
    found[JSON.stringify([rgb(getComputedStyle(e, "::placeholder").color).slice(0, 3), paper(e).slice(0, 3)])] = "hint";
  return Object.entries(found);
}"""


def contrast(one, other):
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(rgb):
        c = np.array(rgb) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_texts_have_contrast_in_both_themes_and_the_choice_of_theme_is_kept(page):
    for theme in ("light", "dark"):
        assert page.get_attribute("html", "data-theme") == theme
        pairs = page.evaluate(CONTRASTS)
        assert len(pairs) >= 4
        for colours, text in pairs:
            assert contrast(*json.loads(colours)) >= 4.5, (theme, colours, text)
        page.click("#theme")
    page.click("#theme")
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("#theme")


def test_a_dark_page_is_printed_light_with_all_of_its_plots_and_details(page):
    page.click("#theme")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.get_attribute("html", "data-theme") == "light"
    assert page.eval_on_selector_all("details:not([open])", "e => e.length") == 0
    assert page.eval_on_selector_all(".plot:not(.drawn)", "e => e.length") == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("#theme")


def test_the_page_fits_360_px_and_works_where_a_browser_keeps_nothing(browser, file):
    narrow = browser.new_context(viewport={"width": 360, "height": 740}, reduced_motion="reduce").new_page()
    narrow.set_default_timeout(PATIENCE)
    narrow.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('not here'); }})")
    narrow.goto(file)
    for plot in narrow.query_selector_all(".plot"):
        plot.scroll_into_view_if_needed()
        narrow.wait_for_function("plot => plot.querySelector('svg.main-svg')", arg=plot)
    narrow.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    assert narrow.evaluate("document.scrollingElement.scrollWidth") <= 360
    theme = narrow.get_attribute("html", "data-theme")
    narrow.click("#theme")
    assert narrow.get_attribute("html", "data-theme") != theme
    ends = "texts => texts.map(text => text.getBoundingClientRect().right)"
    assert max(narrow.eval_on_selector_all(f"{LAW} text", ends)) <= 361
