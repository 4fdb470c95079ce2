"""Section of the checklist: what was fitted, and how (analysis/report/checklist.py), from Markdown to HTML."""

import re

from markdown_it import MarkdownIt

from analysis.page.content import Content
from analysis.page.section import Section, text

DEEPER = {"h1": "h3", "h2": "h3", "h3": "h4"}  # below the heading of the section


def section(content: Content) -> Section:
    """The checklist, each of its parts folded."""
    title = "Checklist of the fits"
    if not content.checklist:
        return Section("checklist", title, "<p>No run has finished, so nothing was fitted.</p>")
    first, *parts = re.split(r"^## ", content.checklist, flags=re.MULTILINE)
    lead = "\n".join(line for line in first.splitlines() if not line.startswith("# "))
    folded = (part.partition("\n") for part in parts)
    details = (f"<details><summary>{text(head)}</summary>{html_of(body)}</details>" for head, _, body in folded)
    return Section("checklist", title, html_of(lead) + "".join(details))


def html_of(markdown: str) -> str:
    """Markdown with tables as HTML; HTML in it is escaped."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        token.tag = DEEPER.get(token.tag, token.tag)
        if token.type == "th_open":
            token.attrSet("scope", "col")
    html = parser.renderer.render(tokens, parser.options, {})
    return html.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>').replace(
        "</table>", "</table></div>"
    )
