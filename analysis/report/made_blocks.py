"""Made blocks: generated parts of a Markdown file, between `<!-- made: NAME -->` and `<!-- end -->`.

A block is up to date where its words equal those of the code's output and its numbers agree to within one unit of the
last printed digit: the last bits differ between machines.
"""

import re
from collections.abc import Callable, Mapping

Make = Callable[[], list[str]]  # the lines of a block
BLOCK = re.compile(r"(<!-- made: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?")


def names_in(text: str) -> list[str]:
    """The names of a text's blocks, in order."""
    return [found["name"] for found in BLOCK.finditer(text)]


def filled(text: str, made: Mapping[str, Make]) -> str:
    """The text with the blocks regenerated that have a function in `made`."""

    def anew(found: re.Match[str]) -> str:
        if found["name"] not in made:
            return found[0]
        return f"{found[1]}{body(made[found['name']])}{found[4]}"

    return BLOCK.sub(anew, text)


def stale(text: str, made: Mapping[str, Make]) -> list[str]:
    """Blocks that are out of date, each with its first differing line and the generated one. Blocks without a function
    in `made` are skipped."""
    found = []
    for block in BLOCK.finditer(text):
        if block["name"] not in made:
            continue
        have, want = block["body"].splitlines(), body(made[block["name"]]).splitlines()
        off = [(h, w) for h, w in zip(have, want, strict=False) if not alike(h, w)]
        if off or len(have) != len(want):
            first = f"{off[0][0]!r}, made {off[0][1]!r}" if off else f"{len(have)} lines, made {len(want)}"
            found.append(f"{block['name']}: {first}")
    return found


def body(make: Make) -> str:
    return "".join(f"{line}\n" for line in make())


def alike(one: str, other: str) -> bool:
    """Whether two lines agree: words except for blanks, numbers to a unit of the last printed digit."""
    words = [" ".join(NUMBER.sub(" # ", line).split()) for line in (one, other)]
    mine, theirs = NUMBER.findall(one), NUMBER.findall(other)
    return words[0] == words[1] and all(_close(a, b) for a, b in zip(mine, theirs, strict=True))


def _close(a: str, b: str) -> bool:
    return abs(_value(a) - _value(b)) <= 1.01 * max(_unit(a), _unit(b))


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def _unit(text: str) -> float:
    """One unit of the last printed digit."""
    mantissa, _, power = text.replace(",", "").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(power or 0) - decimals)
