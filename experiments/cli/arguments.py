"""The command line that run.py and sweep.py share: recipes by name, any field of a configuration as an option or from
YAML.

Bad input is one line on stderr and exit status 2. Nothing here imports torch: --help answers at once.
"""

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from analysis.report.output import until_closed
from experiments.cli.field_help import help_lines
from experiments.cli.options import (
    Overrides,
    Texts,
    as_path,
    nested_yaml,
    overrides,
    read_file,
    runtime_config,
    spellings,
    take,
)
from experiments.cli.plugin_recipes import load_named
from experiments.cli.resolve import by_module
from experiments.cli.wrong_options import NO_RECIPE, of_argparse, unknown_option
from scaling.config.experiment import ExperimentConfig
from scaling.config.plugin_files import loaded, needed
from scaling.config.runtime import RuntimeConfig
from scaling.engine.loggers import check_loggers
from scaling.errors import ConfigError

RECIPES = {"recipes": "recipes", "plugin.recipes": "recipes"}  # names of the option that names a plug-in


class Parser(argparse.ArgumentParser):
    """argparse's for a program's own options, with an option for each field of a configuration.

    also: lines of --help below the names of recipes. leave_out: names of fields that the program has its own options
    for. without_recipe: names of options that need no recipe."""

    def __init__(self, program: str, about: str, also: str, leave_out: Sequence[str] = ()) -> None:
        super().__init__(
            prog=f"python experiments/{program}",
            usage=f"python experiments/{program} RECIPE [OPTIONS]",
            description=textwrap.fill(about, 80),
            allow_abbrev=False,
            add_help=False,
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, 2, 26, 80),
        )
        self.leave_out, self.also = tuple(leave_out), also
        self.every = False
        self.without_recipe: Sequence[str] = ()
        self.add_argument("recipe", nargs="?", help=argparse.SUPPRESS)
        self.add_argument("-h", "--help", action="store_true", help="show the usual options and exit")
        self.add_argument("--help-all", action="store_true", help="show all options and exit")
        self.add_argument(
            "--config", action="append", default=[], metavar="FILE", help="YAML file with any of the options"
        )
        self.add_argument("--results", default="results", metavar="DIR", help="folder with one folder per run")
        self.add_argument(
            "--print-config", action="store_true", help="print the resolved configuration as YAML and exit"
        )
        self.add_argument("--print-recipe", dest="print_config", action="store_true", help=argparse.SUPPRESS)

    def format_help(self) -> str:
        names = [f"  {module}: {', '.join(its)}" for module, its in by_module().items()]
        recipes = ["recipes:", *(line for text in names for line in _wrapped(text)), *filter(None, [self.also])]
        more = [] if self.every else ["", "--help-all lists all options."]
        head = super().format_help().rstrip()
        return "\n".join([head, *help_lines(self.leave_out, self.every), "", *recipes, *more, ""])

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        recipe = ""
        if (plugin := take(args, RECIPES)[1].get("recipes")) is not None:
            _, recipe = load_named(str(plugin[1]))  # before other options are read: it may add some
        names = spellings(self.leave_out)
        rest, command = take(args, names)
        found, _ = self.parse_known_args(rest)
        if found.help or found.help_all:
            self.every = found.help_all
            self.print_help()
            self.exit()
        file: Texts = {}
        front: list[str] = []
        before = None
        for path in found.config:
            held = read_file(path, names)
            front += self._words(held.program)
            file |= held.fields
            before = held.before or before
        found = super().parse_args([*front, *rest])
        if recipe and found.recipe:
            raise ConfigError(
                f"--recipes names the recipe {recipe}, and the command {found.recipe}; leave one of them out"
            )
        found.recipe = recipe or found.recipe or self._recipe
        if not found.recipe and not any(getattr(found, name) for name in self.without_recipe):
            raise ConfigError(NO_RECIPE)
        found.results = as_path(found.results)
        found.texts, found.before = (command, file), before
        found.runtime = runtime_config(command, file)
        return found

    _recipe = ""

    def _words(self, program: dict[str, object]) -> list[str]:
        """The options of the program itself that a file has, as words of a command line."""
        own = {name.lstrip("-").replace("-", "_"): action for name, action in self._option_string_actions.items()}
        words = []
        for key, value in program.items():
            name = key.replace("-", "_")
            if name == "recipe":
                self._recipe = str(value)
            elif name not in own:
                raise ConfigError(unknown_option(key, [*own, *spellings(self.leave_out)]))
            elif own[name].nargs == 0:
                words += [f"--{name.replace('_', '-')}"] if value else []
            else:
                text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
                words.append(f"--{name.replace('_', '-')}={text}")
        return words

    def error(self, message: str) -> NoReturn:
        own = [name.lstrip("-").replace("-", "_") for name in self._option_string_actions]
        raise ConfigError(of_argparse(message, [*own, *spellings(self.leave_out)]))


def parser(program: str, about: str, also: str = "", leave_out: Sequence[str] = ()) -> Parser:
    """A parser with the options that both programs have. also: lines of --help below the names of recipes."""
    return Parser(program, about, also, leave_out)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 80, subsequent_indent="    ", break_on_hyphens=False)


def fields(args: argparse.Namespace) -> Overrides:
    """The fields of an experiment that the user set, on the command line or in files. Raises ConfigError."""
    found = overrides(*args.texts)
    for name in ("initial_checkpoint", "teacher"):
        if path := found.given.get(name):
            found.given[name] = os.path.expanduser(str(path))
    if (recipes := found.given.pop("recipes", None)) is not None:
        plugin = loaded()
        if plugin is None:  # a file names it; nothing is executed that the command line does not name
            raise ConfigError(f"the file of --config was {needed(str(recipes))}")
        found.given.update(recipes=plugin.source, recipes_digest=plugin.digest)
    return found


def runtime(args: argparse.Namespace) -> RuntimeConfig:
    """How the machine is used. Raises ConfigError."""
    check_loggers(args.runtime.logger)  # before torch is imported or data are read
    return args.runtime


def numbers(text: str, what: str) -> list[int]:
    """Whole numbers from "16,8,4". Raises ConfigError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        found = [int(part) for part in parts]
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f"{what} {text!r} is not a list of whole numbers such as 16,8,4")
    return list(dict.fromkeys(found))


def print_configs(configs: Sequence[ExperimentConfig]) -> None:
    """Print configurations as YAML, as --config reads them."""
    print("\n---\n".join(nested_yaml(config) for config in configs))


def check_writable(results: Path) -> None:
    """Raise ConfigError unless a folder `results` is there, or can be made, and can be written; makes nothing."""
    try:
        existing = next(p for p in (results, *results.absolute().parents) if p.exists())
    except OSError as e:  # such as a name that is too long
        raise ConfigError(f"results folder {str(results)[:80]}: {e.strerror}; name another: --results") from e
    if not existing.is_dir():
        raise ConfigError(f"results folder {results}: {existing} is a file; name another: --results")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"results folder {results}: {existing} cannot be written; name another: --results")


def guarded(main: Callable[[], int]) -> NoReturn:
    """Run a program's main and exit with its status; bad input is one line on stderr and status 2, and a pipe that is
    no longer read, as by `head`, ends it without a message."""
    try:
        sys.exit(until_closed(main))
    except ConfigError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped; the same command resumes the run", file=sys.stderr)
        sys.exit(130)
