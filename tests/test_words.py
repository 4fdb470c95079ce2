"""Texts that users read (pages, help, errors, docstrings, comments, labels) are in plain technical English."""

import ast
import io
import json
import re
import tokenize

import pytest

from tests.conftest import ROOT

BANNED = {  # private words: what to write instead
    r"says?|said|saying": "states, is, prints, reports",
    r"tells?|told|telling": "shows, states, reports, distinguishes",
    r"judged|judges": "evaluated, reported",
    r"roads?": "path, implementation",
    r"house": "package, repository",
    r"doors?": "interface, entry point",
    r"manieth": "index",
    r"sittings?": "segment, session",
    r"valleys?": "minimum",
    r"for ever|seldom|whence|anew": "forever, rarely, from where, again",
    r"one's own": "own, your own",
    r"goes on": "continues, resumes",
    r"cut[- ]off|outlasts?": "interrupted, survives",
    r"mend(s|ed)?": "fix, repair",
    r"at the (least|most)(?! \w+ squares| squares)": "at least, at most",
    r"an? \w+ an? (run|row|image|patch|line|class|token|file|group|seed|step|epoch|backbone|panel|task|figure)": "per",
}
PRIVATE = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in BANNED), re.IGNORECASE)
ALLOWED = {  # names of data and of older formats, by file
    "docs/config.md": {"judged"},
    "experiments/recipes/camvid.py": {"road"},
    "scaling/config/flat.py": {"judged"},
    "scaling/config/legacy.py": {"judged"},
}
NAMED = re.compile(r"\b(?:scaling|experiments|analysis|tests|docs)/(?:[a-z_0-9]+/)*[a-z_0-9]+\.(?:py|md|csv|png)\b")
CODE = ("scaling", "experiments", "analysis", "notebooks")


def python_texts(source):
    """(line, text) of all strings, docstrings included, and of all comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def notebook_texts(source):
    """(number of the cell, text) of all Markdown cells, and of the strings and comments of all code cells."""
    for number, cell in enumerate(json.loads(source)["cells"]):
        text = "".join(line for line in cell["source"] if not line.startswith("%"))
        texts = [text] if cell["cell_type"] == "markdown" else [text for _, text in python_texts(text)]
        yield from ((number, text) for text in texts)


def texts_of(path):
    source = path.read_text()
    if path.suffix == ".py":
        return python_texts(source)
    if path.suffix == ".ipynb":
        return notebook_texts(source)
    return enumerate(source.splitlines(), 1)


def files():
    """All files with texts for users."""
    code = [path for top in CODE for ending in ("py", "ipynb", "md") for path in (ROOT / top).rglob(f"*.{ending}")]
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    return sorted({*code, *pages, ROOT / "Makefile", ROOT / "pyproject.toml"})


def private_words(path):
    """ "file:line: word in its surroundings" for every private word of a file."""
    name = path.relative_to(ROOT).as_posix()
    for line, text in texts_of(path):
        for found in PRIVATE.finditer(text):
            if found[0].lower() not in ALLOWED.get(name, ()):
                around = " ".join(text[max(0, found.start() - 30) : found.end() + 30].split())
                yield f"{name}:{line}: {found[0]!r} in {around!r}"


def test_texts_for_users_have_no_private_words():
    found = [word for path in files() for word in private_words(path)]
    assert not found, "\n".join([f"{len(found)} private words", *found])


def test_files_that_texts_name_exist():
    wrong = []
    for path in files():
        for line, text in texts_of(path):
            wrong += [f"{path.name}:{line}: {found}" for found in NAMED.findall(text) if not (ROOT / found).exists()]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("what the recipe says", "says"),
        ("a folder a run", "a folder a run"),
        ("The table Said so", "Said"),
        ("hours that are told", "told"),
        ("one folder per run; a run is a row of a table", None),
        ("an abroad roadmap of doorways; essays", None),
        ("at least one", None),
    ],
)
def test_a_private_word_is_seen_and_an_ordinary_one_is_not(text, word):
    found = PRIVATE.search(text)
    assert (found and found[0]) == word


def test_strings_docstrings_and_comments_are_read_and_names_are_not():
    source = 'def said():\n    """Docs."""\n    return f"a {said} b"  # why\n'
    assert sorted(text for _, text in python_texts(source)) == [" b", "# why", "Docs.", "a "]
