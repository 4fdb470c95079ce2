"""README.md and docs/: links lead somewhere, files, modules, options and commands that they name exist."""

import ast
import itertools
import re
import shlex
from pathlib import Path

import pytest

from experiments import (
    benchmark,
    class_shares,
    docs,
    export,
    gpu_report,
    plan,
    predict,
    report,
    run,
    search,
    sweep,
    website,
)
from tests.coco_folder import write_folder
from tests.conftest import ROOT
from tests.experiments.test_a_folder_of_ones_own_has_recipes import labelled
from tests.pictures import write_classes

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`]+)`")
PROGRAMS = {"run.py": run, "sweep.py": sweep, "plan.py": plan}
OF_OTHERS = {  # options of pip, sbatch, tensorboard and mlflow
    *("--no-build-isolation", "--array", "--gpus", "--cpus-per-task", "--signal", "--requeue"),
    *("--logdir", "--backend-store-uri"),
}
OF_PLUGINS = {"--gamma"}  # of an example in docs/extending.md


def pages():
    return {**docs.texts(), **{name: (ROOT / name).read_text() for name in docs.PAGES if name.endswith(".md")}}


def code_of(text):
    """(language, code) of all fenced blocks, and of all inline code with no language."""
    prose = FENCE.sub("", text)
    return [*FENCE.findall(text), *(("", " ".join(code.split())) for code in INLINE.findall(prose))]


def commands():
    """Every command line of a shell in any page."""
    found = {}
    for name, text in pages().items():
        for language, code in code_of(text):
            for line in code.splitlines() if not language else []:
                if line.startswith(("make ", "python ", "srun .venv", ".venv/bin/python ")) and "…" not in line:
                    words = shlex.split(line.removeprefix("srun ").split(" # ")[0], comments=True)
                    found.setdefault(shlex.join(words), name)
    return found


def heading_names(text):
    """The anchors that GitHub gives to the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"`", "", head)).strip().lower().replace(" ", "-") for head in heads}


def test_every_link_leads_to_a_file_and_to_a_heading_of_it():
    wrong = []
    for name, text in pages().items():
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text)):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            if not file.exists() or (anchor and anchor not in heading_names(file.read_text())):
                wrong.append(f"{name}: {target}")
    assert not wrong


def test_every_page_is_linked_from_another():
    linked = set()
    for name, text in pages().items():
        linked |= {
            ((ROOT / name).parent / target.partition("#")[0]).resolve()
            for target in re.findall(r"\]\(([^)\s]+)\)", text)
        }
    assert {ROOT / name for name in pages()} - linked == {ROOT / "README.md"}


def test_every_package_is_described():
    text = (ROOT / "docs" / "design.md").read_text()
    packages = [
        path.parent for top in ("scaling", "experiments", "analysis") for path in (ROOT / top).rglob("__init__.py")
    ]
    for package in packages:
        name = package.relative_to(ROOT).as_posix()
        assert "/" not in name or f"`{name}`" in text or f"`{package.name}`" in text, name


def test_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


PATH = re.compile(r"(scaling|experiments|analysis|notebooks|tests|docs)/[\w./{},-]*")


def exists(path):
    """Whether a path of the repository, or every one of "a/{b,c}.py", exists; of "a/NAME.py" the folder."""
    parts = [part.split(",") for part in re.split(r"[{}]", re.sub(r"\b[A-Z]+\.py$", "", path))]
    return all((ROOT / "".join(one)).exists() for one in itertools.product(*parts))


def test_every_file_that_is_named_exists():
    wrong = []
    for name, text in pages().items():
        for _, code in code_of(text):
            if PATH.fullmatch(code) and not exists(code):
                wrong.append(f"{name}: {code}")
    assert not wrong


OURS = ("scaling", "experiments", "analysis")


def module_of(dotted):
    """The file of the longest beginning of a dotted name that is a module or a package, and what is left."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                return file, parts[end:]
    return None, parts


def has(file, name):
    """Whether a module defines or imports a name, read from the source."""
    words = rf"^(def|class|async def) {name}\b|^{name}\b.*=|\bimport\b.*\b{name}\b|^ +{name},$"
    return bool(re.search(words, file.read_text(), re.MULTILINE)) or (file.parent / f"{name}.py").exists()


def test_every_module_and_name_in_it_exists():
    names = {}
    for page, text in pages().items():
        for language, code in code_of(text):
            if language == "python":
                for node in ast.walk(ast.parse(code)):
                    if isinstance(node, ast.ImportFrom) and str(node.module).startswith(OURS):
                        names |= {f"{node.module}.{alias.name}": page for alias in node.names}
            elif re.fullmatch(r"(scaling|experiments|analysis)(\.\w+)+", code):
                names[code] = page
    assert len(names) > 5
    for dotted, page in names.items():
        file, rest = module_of(dotted)
        assert file, f"{page}: {dotted}"
        assert not rest or has(file, rest[0]), f"{page}: {dotted}"


def test_the_example_of_laws_runs(capsys):
    (code,) = [code for language, code in FENCE.findall(pages()["docs/laws.md"]) if language == "python"]
    exec(code, {})
    assert "L_inf" in capsys.readouterr().out


def test_every_console_script_that_is_named_is_installed():
    scripts = set(re.findall(r"^(patch-\w+) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    named = {code for text in pages().values() for _, code in code_of(text) if re.fullmatch(r"patch-\w+", code)}
    assert named
    assert named <= scripts


def listed_options(capsys):
    """All option strings that the programs list."""
    from analysis import batch_statistics, fit_laws, gradients, representations, sharpness

    found = set()
    for main, words in (
        (run.main, ["--help-all"]),
        (sweep.main, ["--help-all"]),
        (search.main, ["--help-all"]),
        (plan.main, ["--help-all"]),
        (plan.main, ["--budget", "1", "--help"]),
        (plan.main, ["--recommend", "--help"]),
        (website.main, ["--help"]),
        (fit_laws.main, ["--help"]),
        (representations.main, ["--help"]),
        (sharpness.main, ["--help"]),
        (gradients.main, ["--help"]),
        (batch_statistics.main, ["--help"]),
        (class_shares.main, ["--help"]),
        (docs.main, ["--help"]),
        (predict.main, ["--help"]),
        (export.main, ["--help"]),
        (report.main, ["--help"]),
        (gpu_report.main, ["--help"]),
    ):
        with pytest.raises(SystemExit):
            main(words)
        found |= set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    return found


def test_every_option_that_is_named_is_listed_by_a_program(capsys):
    known = listed_options(capsys) | OF_OTHERS | OF_PLUGINS | {"--help-all"}
    wrong = set()
    for name, text in docs.texts().items():
        wrong |= {f"{name}: {option}" for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text) if option not in known}
    assert not wrong


@pytest.fixture
def own(tmp_path) -> dict[str, Path]:
    """A folder of own images for each task, by the recipe's name."""
    write_classes(tmp_path / "pets", ("ant", "bee", "cat"), train=15, test=5)
    scenes, boxes = labelled(tmp_path / "scenes"), write_folder(tmp_path / "boxes")
    return {"folder.seg_nano": scenes, "folder.det_nano": boxes}


def test_every_command_is_accepted(own, tmp_path, capsys):
    """Of a program its recipe is resolved and its options read; nothing is trained."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    variables = dict(re.findall(r"^([A-Z]+) +\?= *(.*)$", makefile, re.MULTILINE))
    tried = 0
    for command, page in commands().items():
        words = shlex.split(command)
        if words[0] == "make":
            names = [word for word in words[1:] if "=" not in word]
            given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
            assert set(names) <= targets, f"{page}: {command}"
            assert set(given) <= set(variables), f"{page}: {command}"
            values = {**variables, **given}
            script = {"sweep": "sweep.py", "plan": "plan.py"}.get(names[0])
            rest = [values["RECIPE"], *(["--patch", given["PATCH"]] if "PATCH" in given else [])]
            rest += shlex.split(values["ARGS"])
        else:
            assert (ROOT / words[1]).exists() or words[1] in ("-m", "-c"), f"{page}: {command}"
            script, rest = Path(words[1]).name, words[2:]
        if script == "benchmark.py":
            assert set(rest) <= {*benchmark.QUICK, *benchmark.SLOW, "--help"}, f"{page}: {command}"
        of_limits = any(word.startswith(("--budget", "--recommend")) for word in rest)  # no configuration
        if script not in PROGRAMS or of_limits:
            continue
        folder = str(own.get(rest[0], tmp_path / "pets"))
        at_hand = {"DIR": folder, "S": "0", "T": "1", "M": "8"}
        rest = [at_hand.get(word, word) for word in rest if word not in ("--help", "--dry-run")]
        if not rest:
            continue
        PROGRAMS[script].main([*rest, "--print-config"])
        tried += 1
        assert capsys.readouterr().out, f"{page}: {command}"
    assert tried > 15
