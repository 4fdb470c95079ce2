"""Section of the runs that did not finish: their state, why, and the last lines of their logs."""

from analysis.page.content import Content
from analysis.page.section import Section, text
from analysis.report.output import counted


def section(content: Content) -> Section:
    """Runs that failed or were cut short, those that run or wait, and records that cannot be used."""
    unread = {one.folder: one.reason for one in content.runs.corrupt}
    damaged = [f"<li><strong>not read</strong>: {text(reason)}</li>" for reason in unread.values()]
    title = "Runs that did not finish"
    if not (content.others or unread):
        return Section("not-finished", title, "<p>Every run of this folder finished.</p>")
    items = []
    for name, one in content.others.items():
        if name in unread:
            continue
        log = f"<pre>{text(chr(10).join(one.log))}</pre>" if one.log else ""
        why = f"<p>{text(one.text)}</p>" if one.text else ""
        items.append(f"<li><strong>{text(one.state)}</strong> <code>{text(name)}</code>{why}{log}</li>")
    lead = f"<p>{counted(len(items) + len(damaged), 'run')}; the same command retries those without a record.</p>"
    return Section("not-finished", title, f'{lead}<ul class="runs">{"".join([*items, *damaged])}</ul>')
