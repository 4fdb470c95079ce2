"""The plug-in that a command line names, and its recipes. A recipe is a public function whose first argument is
`patch`."""

import inspect
from types import ModuleType

from experiments.stages import Function
from scaling.config.fields import check_name
from scaling.config.plugin_files import Plugin, load_plugin
from scaling.errors import ConfigError


def recipes_in(module: ModuleType, name: str) -> dict[str, Function]:
    """The recipes of a module by their names on the command line, which begin with `name`."""
    return {
        f"{name}.{own}": function
        for own, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not own.startswith("_") and _takes_patch(function)
    }


def _takes_patch(function: Function) -> bool:
    return next(iter(inspect.signature(function).parameters), "") == "patch"


def load_named(text: str) -> tuple[Plugin, str]:
    """The plug-in of --recipes TEXT, and its recipe that the text names, as my_recipes.py:NAME; "" where it names none.
    Raises ConfigError."""
    source, colon, name = text.rpartition(":")
    plugin = load_plugin(source if colon else text)
    if not colon:
        return plugin, ""
    known = [one.partition(".")[2] for one in recipes_in(plugin.module, plugin.name)]
    if not known:
        raise ConfigError(f"--recipes {text}: the file has no recipe, a public function whose first argument is patch")
    check_name("recipe", name, known)
    return plugin, f"{plugin.name}.{name}"
