"""One section of the report page in a browser, on a page of its own."""

import contextlib
import shutil

import pytest

from analysis.page.section import as_json, part

CHROMIUM = shutil.which("chromium")
PAGE = """{
  choices(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value, false, value === chosen)));
  },
  rows(body, rows) {
    body.innerHTML = rows.map((cells) => `<tr>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("");
  },
}"""  # what the sections use of page.js


@contextlib.contextmanager
def chromium():
    """A headless browser; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def alone(browser, section, width=360):
    """The section at a width [px]. Fails at the end where the console had an error."""
    opened, errors = browser.new_page(viewport={"width": width, "height": 800}), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.set_content(
        f'<html lang="en"><head><title>t</title><style>{part("page.css")}</style></head><body>'
        f'<section id="{section.id}">{section.html}</section><script>((root, data, page) => {{{section.script}}})'
        f"(document.getElementById('{section.id}'), {as_json(section.data)}, {PAGE});</script></body></html>"
    )
    yield opened
    opened.close()
    assert errors == []


def evaluated(browser, expression, argument=None):
    """The value of a JavaScript function on an empty page."""
    opened = browser.new_page()
    opened.set_content("<html></html>")
    value = opened.evaluate(expression, argument)
    opened.close()
    return value


def unnamed_controls(opened):
    """Controls without a label or an accessible name."""
    return opened.evaluate(
        "[...document.querySelectorAll('input, select')]"
        ".filter((one) => !one.labels.length && !one.getAttribute('aria-label')).map((one) => one.outerHTML)"
    )
