"""docs/claims.md: the ledger as one page, first short tables by topic, then studies, then every claim in full."""

import math
from collections.abc import Iterator, Sequence

from analysis.claims.ledger import TOPICS, Assessed, Claim, Ledger, Study, assess, load
from analysis.claims.verdict import Estimate, Verdict, decide

HEAD = """# Claims of the source texts

Four texts make claims on patch sizes. This page has a row for each claim, or for each part of one that is decided by
itself, with its verdict: **supported**, **contradicted**, **undecided**, **not run** (with the study that would decide
it), or **not testable** here. `make claims` writes it from the claims in `analysis/claims/*.yaml`, the cost model, and
the numbers in `analysis/measured`.

How a verdict comes about:

- A claim predicts values in a range. An estimate supports it if its 95 % interval, widened by a margin, lies in this
  range, and contradicts it if the widened interval lies outside. Otherwise, or without an interval, it is undecided.
- A claim with several estimates has a verdict only if all of them have it. Each interval is by itself: no correction
  is made for the number of claims.
- Arithmetic has no error: its estimates are exact, and tests assert them.
- Rules and expectations of studies that are not run were written before any run. Shipped measurements are older than
  this ledger: their rule (a paired difference, its interval and margin) is that of the studies, but which measurement
  addresses which claim was chosen with the numbers known.
- Where a study of shapes was measured on CIFAR-10 too, that has a verdict of its own, by the same rule. The table of
  counts has the first one.
- A verdict holds for its scope alone: models of 0.1 M parameters on small images are no ImageNet.
"""


def claims_page() -> str:
    """The page of the shipped ledger. Raises ConfigError for a damaged ledger."""
    ledger = load()
    return page(ledger, [assess(claim) for claim in ledger.claims])


def page(ledger: Ledger, rows: Sequence[Assessed]) -> str:
    """The page of a ledger as Markdown. rows: its claims, assessed."""
    by_topic = {topic: [row for row in rows if row.claim.topic == topic] for topic in TOPICS}
    lines = [HEAD, *_counts(ledger, rows), ""]
    for source in ledger.sources:
        lines.append(f"- **{source.id}**: {source.title}. {source.note}")
    lines += ["", "## By topic", "", "Claims have the letter of their source; details are [below](#details)."]
    for topic, its in by_topic.items():
        lines += ["", f"### {_title(topic)}", "", *_short(its)]
    lines += ["", "## Studies", "", *_studies(ledger.studies), "## Details"]
    for topic, its in by_topic.items():
        lines += ["", f"### {_title(topic)} in full", ""]
        lines += [line for row in its for line in _full(row)]
    return "\n".join(lines).rstrip() + "\n"


def counts(rows: Sequence[Assessed]) -> dict[Verdict, int]:
    """Number of claims by verdict."""
    return {verdict: sum(row.verdict == verdict for row in rows) for verdict in Verdict}


def _counts(ledger: Ledger, rows: Sequence[Assessed]) -> Iterator[str]:
    yield from _table_head(["source", "claims", *(verdict.value for verdict in Verdict)], numbers=1 + len(Verdict))
    parts = {f"{source.id}": [row for row in rows if row.claim.source == source.id] for source in ledger.sources}
    for name, its in {**parts, "all": rows}.items():
        yield f"| {name} | {len(its)} | {' | '.join(str(number) for number in counts(its).values())} |"


def _short(rows: Sequence[Assessed]) -> Iterator[str]:
    """A row per claim: statement, verdict and, in a few words, why."""
    yield from _table_head(["claim", "statement", "verdict", "estimate, or study that decides it"])
    for row in rows:
        claim = row.claim
        there = f"; on CIFAR-10 {row.on_cifar10.verdict.value}" if row.on_cifar10 else ""
        yield f"| {claim.id} | {claim.claim} | {row.verdict.value}{there} | {_why(row)} |"


def _table_head(names: Sequence[str], numbers: int = 0) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"| {' | '.join(['---'] * (len(names) - numbers) + ['---:'] * numbers)} |"


def _why(row: Assessed) -> str:
    claim = row.claim
    if row.estimates:
        return f"{in_short(row.estimates, _unit(claim))}; expected: {claim.expectation}"
    if claim.reason:
        return claim.reason
    return f"study {claim.study.id}"


def in_short(estimates: Sequence[Estimate], unit: str = "") -> str:
    """One estimate with its interval; of several the smallest and the largest. estimates: one or more."""
    if len(estimates) == 1:
        return f"{estimates[0].what}: {with_interval(estimates[0], unit)}"
    values = [estimate.value for estimate in estimates if not math.isnan(estimate.value)]
    low, high = (number(end(values, default=math.nan)) for end in (min, max))
    each = f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
    without = " without interval" if math.isnan(estimates[0].low) else ""
    return f"{each} in {len(estimates)} estimates{without}"


def with_interval(estimate: Estimate, unit: str = "") -> str:
    """The number, and its interval where it has one that is no single number."""
    value = number(estimate.value)
    if math.isnan(estimate.low):
        return f"{value}{unit}, no interval"
    if estimate.low == estimate.high:
        return f"{value}{unit}"
    return f"{value} [{number(estimate.low)}, {number(estimate.high)}]{unit}"


def number(value: float) -> str:
    """Three significant digits; whole numbers whole; nan, where no seed has a number, in words."""
    if math.isnan(value):
        return "no number"
    if value == round(value):
        return f"{value + 0.0:,.0f}"  # -0.0 is 0
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1e-4 else f"{value:.1e}"


def predicted(claim: Claim) -> str:
    """The values that a claim predicts, and the margin."""
    if claim.claimed is None:
        return "-"
    low, high = claim.claimed
    if low == high:
        text = number(low)
    elif math.isinf(low):
        text = f"at most {number(high)}"
    elif math.isinf(high):
        text = f"at least {number(low)}"
    else:
        text = f"{number(low)} to {number(high)}"
    return text + (f", margin {number(claim.margin)}" if claim.margin else "")


def _unit(claim: Claim) -> str:
    return f" {claim.unit}" if claim.unit else ""


def _title(topic: str) -> str:
    return topic[0].upper() + topic[1:]


def _studies(studies: Sequence[Study]) -> Iterator[str]:
    """A paragraph per study."""
    for study in studies:
        yield f"**{study.id}**: {study.question}"
        yield ""
        yield f"- Rule: {study.rule}."
        yield f"- Scope: {study.scope}."
        if study.command:
            yield f"- {_command(study.command)}"
        yield ""


def _command(command: str) -> str:
    return f"Command: `{command}`"


def _full(row: Assessed) -> Iterator[str]:
    """A claim with everything that the ledger has of it: an item, with one below for each estimate."""
    claim = row.claim
    where = claim.lines if claim.lines[0].isalpha() else f"line{'' if claim.lines.isdigit() else 's'} {claim.lines}"
    parts = [f"**{claim.id}** ({where}; {_kind(claim)}): **{row.verdict.value}**."]
    if claim.reason:
        parts.append(f"{claim.reason[0].upper()}{claim.reason[1:]}.")
    else:
        parts.append(f"Expected if it holds: {claim.expectation}.")
    items = []
    if claim.claimed is not None:
        parts.append(f"Predicted: {predicted(claim)}{_unit(claim)}.")
        items += [f"  - {text}" for text in _each(claim, row.estimates)]
        if row.on_cifar10:
            items.append(f"  - On CIFAR-10: **{row.on_cifar10.verdict.value}**")
            items += [f"    - {text}" for text in _each(claim, row.on_cifar10.estimates)]
    if claim.rule != claim.study.rule:
        parts.append(f"Rule: {claim.rule}.")
    if claim.scope != claim.study.scope:
        parts.append(f"Scope: {claim.scope}.")
    parts += [claim.note] if claim.note else []
    parts += ["The expectation was written before the runs."] if claim.planned else []
    if claim.command and claim.command != claim.study.command:
        parts.append(_command(claim.command))
    yield f"- {' '.join(parts)}"
    yield from items


def _each(claim: Claim, estimates: Sequence[Estimate]) -> Iterator[str]:
    """A line per estimate; of several with what each one decides."""
    assert claim.claimed is not None
    for estimate in estimates:
        its = f", {decide(estimate, claim.claimed, claim.margin).value}" if len(estimates) > 1 else ""
        yield f"{estimate.what}: {with_interval(estimate, _unit(claim))}{its}"


def _kind(claim: Claim) -> str:
    return f"study {claim.study.id}" if claim.kind == "study" else claim.kind
