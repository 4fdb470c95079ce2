"""Print functions: a fit and its parameters as text, after lmfit's module of that name."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.fitting.result import Fit

PARAMETER = 20  # width of a parameter in a table [characters]
PAGE = 98  # characters of a line, without its indent, that fit a page or a notebook


def fit_summary(law: "Fit", x: str = "p", y: str = "L") -> str:
    """The law, and a line with its intervals. x, y: letters to use. A parameter that is not identified is printed as a
    letter in the law, and its interval below."""
    x1, x2, x3 = ("x1", "x2", "x3") if law.form == "general" else ("N", "p", "I")
    letters = {"x": x, "x1": x1, "x2": x2, "x3": x3}
    values = {name: f"{v:.4g}" if law.identified.get(name, True) else name for name, v in law.parameters.items()}
    text = f"{y} = {law.problem.shape.text.format(**letters, **values)}   (R2 {law.r2:.4f}, n {law.n})"
    if not law.converged:
        text += "   DID NOT CONVERGE"
    remarks = "".join(f"\n  {remark.format(x=x)}" for remark in law.remarks)
    intervals = intervals_text(law)
    if len(intervals) > PAGE:  # a line for each parameter
        intervals = intervals.replace("; ", ";\n  ")
    return f"{text}\n  {intervals}{remarks}"


def intervals_text(law: "Fit") -> str:
    """The intervals in one line, or why there are none."""
    if law.why_no_intervals:
        return f"no intervals, nothing identified: {law.why_no_intervals}"
    known = law.identified
    parts = [
        f"{name} {interval_text(*ends)}{'' if known[name] else ', not identified'}"
        for name, ends in law.intervals.items()
    ]
    return (", " if all(known.values()) else "; ").join(parts)


def interval_text(low: float, high: float, digits: str = ".4g") -> str:
    """An interval as text, with words where it has no end."""
    if math.isinf(high) and math.isinf(low):
        return "no end on either side"
    if math.isinf(high):
        return f"from {low:{digits}}, no upper end"
    return f"to {high:{digits}}, no lower end" if math.isinf(low) else f"in [{low:{digits}}, {high:{digits}}]"


def p_text(p: float) -> str:
    """A p value, such as "0.02" or "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def parameter_text(law: "Fit", name: str, room: int = PARAMETER) -> str:
    """A parameter with its interval; where it is not identified "at most", "at least" or "not identified"; "-" where
    the law has no such parameter, "no interval" where it has none. room: the preferred maximal length [characters]."""
    if name not in law.intervals:
        return "-"
    ends = law.intervals[name]
    if math.isnan(ends[0]):
        return "no interval"
    finite = [abs(end) for end in ends if math.isfinite(end)]
    if not any(finite):
        return "not identified"
    size = (ends[1] - ends[0]) / 2 if len(finite) == 2 else max(finite)
    largest = max(finite)
    power = math.floor(math.log10(largest)) if largest and not 1e-3 <= largest < 1e5 else 0
    decimals = 3 - math.floor(math.log10(largest)) if largest else 3
    decimals = max(0, min(decimals, -math.floor(math.log10(size / 3)) if size > 0 else decimals) + power)
    text = _interval(law, name, decimals, power)
    while len(text) > room and decimals > 0:
        decimals -= 1
        text = _interval(law, name, decimals, power)
    return text


def _interval(law: "Fit", name: str, decimals: int, power: int) -> str:
    """The text of a parameter, in units of 10^power."""

    def number(value: float) -> str:  # a value that rounds to 0 keeps one digit, so that its sign is visible
        value *= 10.0**-power
        return f"{value:.{decimals}f}" if round(value, decimals) else f"{value:.1g}"

    (low, high), unit = law.intervals[name], f" e{power}" if power else ""
    if math.isinf(high):
        return f"at least {number(low)}{unit}"
    if math.isinf(low) or (low == 0 and not law.identified[name]):
        return f"at most {number(high)}{unit}"
    ends = f"[{number(low)}, {number(high)}]{unit}"
    return f"{number(law.parameters[name])} {ends}" if law.identified[name] else f"{ends} bound"
