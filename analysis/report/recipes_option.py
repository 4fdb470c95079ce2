"""The option --recipes of programs that read runs: it loads the plug-in that these were made with."""

import argparse
from collections.abc import Sequence

from scaling.config.plugin_files import load_plugin


class _Load(argparse.Action):
    """Loads the plug-in as soon as the option is read. Not a type: argparse would hide what is wrong with it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, load_plugin(str(values)).source)


def add_recipes(parser: argparse.ArgumentParser) -> None:
    """Add the option. Reading it raises ConfigError where the plug-in cannot be loaded."""
    text = "plug-in that the runs were made with, or that adds a law: FILE.py, or the name of an installed one"
    parser.add_argument("--recipes", action=_Load, metavar="FILE", help=text)
