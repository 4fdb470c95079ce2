"""The report page: one HTML file with all of its styles, scripts, data and pictures. It loads nothing, and its security
policy forbids that it does: a reader opens it from a disk, or from a message."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from analysis.page import (
    calculators,
    checklist_section,
    curves,
    decisions,
    laws,
    machines,
    not_finished,
    paper,
    pictures,
    run_table,
)
from analysis.page.content import Content
from analysis.page.section import Section, as_json, part, text
from analysis.report.output import counted

FILE = "index.html"
FOLDER = "report"  # of a results folder
SECTIONS: tuple[Callable[[Content], Section], ...] = (
    laws.section,
    curves.section,
    run_table.section,
    pictures.section,
    paper.section,
    not_finished.section,
    machines.section,
    checklist_section.section,
    calculators.section,
    decisions.section,
)


def page(content: Content) -> str:
    """The page as text."""
    from plotly.offline import get_plotlyjs

    sections = [make(content) for make in SECTIONS]
    data = {section.id: section.data for section in sections}
    plotly, script = (code.replace("</script", "<\\/script") for code in (get_plotlyjs(), _script(sections)))
    return Template(part("page.html")).substitute(
        title=text(f"Patch-size runs: {content.results}"),
        about=text(_about(content)),
        policy=" ".join(f"'sha256-{_digest(one)}'" for one in (plotly, script)),
        style=part("page.css"),
        contents="\n".join(f'<li><a href="#{one.id}">{text(one.title)}</a></li>' for one in sections),
        sections="\n".join(_html(section) for section in sections),
        data=as_json(data),
        plotly=plotly,
        script=script,
    )


def path_of(results: Path) -> Path:
    """Where the page of a results folder is written."""
    return results / FOLDER / FILE


def _html(section: Section) -> str:
    return (
        f'<section id="{section.id}" aria-labelledby="{section.id}-title">'
        f'<h2 id="{section.id}-title">{text(section.title)}</h2>\n{section.html}\n</section>'
    )


def _script(sections: Sequence[Section]) -> str:
    """page.js and a call for each section that has a script. A section that fails leaves the others as they are."""
    calls = [
        f'page.run("{section.id}", (root, data, page) => {{\n{section.script}\n}});'
        for section in sections
        if section.script
    ]
    return "\n".join(['"use strict";', part("page.js"), *calls])


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _about(content: Content) -> str:
    """How many runs there are, and when they were made."""
    frame = content.runs.frame
    states = frame["status"].value_counts()
    numbers = [f"{states.get(state, 0)} {state}" for state in ("finished", "failed") if states.get(state, 0)]
    others = len(set(content.others) - set(frame["run_id"]))
    numbers += [f"{others} without a record"] if others else []
    ended = sorted(str(time)[:10] for time in frame["ended"] if time)
    when = f"; ended {ended[0]} to {ended[-1]}" if ended else ""
    return f"{counted(len(frame) + others, 'run')}: {', '.join(numbers)}{when}"
