"""Plug-ins: a Python file of the user's, or a module of an installed package, that adds recipes, backbones, data sets,
heads or tasks when it is imported.

One plug-in is loaded per process, and only where the user names it: a record keeps its place and the fingerprint of its
content, and neither is ever executed. No torch, unless the plug-in imports it.
"""

import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from scaling.errors import ConfigError, PluginNeededError, first_line

if TYPE_CHECKING:
    from scaling.config.plugin import PluginConfig

GROUP = "patch_scaling.plugins"  # of the entry points of packages
PREFIX = "patch_plugin_"  # of the module that a file becomes, in sys.modules
P = ParamSpec("P")
T = TypeVar("T")


class Plugin(NamedTuple):
    """A plug-in that is loaded."""

    name: str  # first part of the names of its recipes: that of the file without .py, or that of the entry point
    source: str  # absolute path of the file or the package's folder, or the name of the entry point
    digest: str  # fingerprint of the content, 16 hex digits
    module: ModuleType


class _Code(NamedTuple):
    """What a plug-in consists of, before it is imported. files: what is hashed, the one that is executed first."""

    name: str
    source: str
    module: str
    files: list[Path]


_loaded: list[Plugin] = []


def loaded() -> Plugin | None:
    """The plug-in of this process."""
    return _loaded[0] if _loaded else None


def load_plugin(text: str) -> Plugin:
    """Import a plug-in: a file, a folder with __init__.py, or the name of an entry point. Raises ConfigError where
    there is none, where it raises, and where another one, or another content, is loaded in this process."""
    code = _find(text)
    try:
        contents = [path.read_bytes() for path in code.files]
    except OSError as e:
        raise ConfigError(f"--recipes {text} cannot be read ({e.strerror}: {e.filename})") from e
    digest = _digest(code.files, contents)
    if _loaded:
        before = _loaded[0]
        if (before.source, before.digest) == (code.source, digest):
            return before
        what = "is loaded in this process" if before.source != code.source else "has changed since it was loaded"
        raise ConfigError(f"--recipes {text}: {before.source} {what}; start a new process for another plug-in")
    plugin = Plugin(code.name, code.source, digest, _imported(code, contents[0]))
    _loaded.append(plugin)
    return plugin


def load_for_job(values: dict[str, object]) -> None:
    """Load the plug-in of a configuration that the command which named it hands to this process. Raises ConfigError
    where it has changed since then."""
    part = values.get("plugin")
    source, digest = (part.get("recipes"), part.get("recipes_digest")) if isinstance(part, dict) else (None, None)
    if source is not None and load_plugin(str(source)).digest != digest:
        raise ConfigError(f"{source} has changed since this run was handed over; start the command again")


def is_loaded(plugin: "PluginConfig") -> bool:
    """Whether a run's plug-in is that of this process, by its content."""
    return bool(_loaded) and _loaded[0].digest == plugin.recipes_digest


def check_loaded(plugin: "PluginConfig", run: str) -> None:
    """Raise ConfigError unless the plug-in that a run was made with, if any, is loaded. run: its ID."""
    if plugin.recipes_digest is None or is_loaded(plugin):
        return
    if not _loaded:
        raise PluginNeededError(f"{run}: {needed(str(plugin.recipes))}")
    here = _loaded[0]
    raise ConfigError(
        f"{run} was made with {plugin.recipes} of content {plugin.recipes_digest}, and that of {here.source} is "
        f"{here.digest}: restore the former, or start its recipe by name, as another run"
    )


def needed(source: str) -> str:
    """What to do with a run or a file that was made with a plug-in which is not loaded."""
    return (
        f"made with the plug-in {source}: add --recipes {_shown(source)} (in Python load_plugin), as code is executed "
        "only where it is named"
    )


def _shown(source: str) -> str:
    """A path as short as it can be named from here; one that is gone as it was."""
    try:
        near = os.path.relpath(source)
    except ValueError:  # on another drive
        return source
    return near if os.path.exists(source) and not near.startswith("..") else source


def _find(text: str) -> _Code:
    path = Path(text).expanduser()
    if path.suffix == ".py" or os.sep in text:
        folder = path.is_dir()
        main = path / "__init__.py" if folder else path
        if not main.is_file():
            raise ConfigError(f"--recipes {text}: no such file" + (", as there is no __init__.py" if folder else ""))
        path = path.resolve()
        name = path.name if folder else path.stem
        if not name.isidentifier():
            raise ConfigError(f"--recipes {text}: {name} cannot be the first part of a recipe's name; rename the file")
        return _Code(name, str(path), PREFIX + name, _files(main.resolve()))
    found = {one.name: one for one in importlib.metadata.entry_points(group=GROUP)}
    if text not in found:
        names = ", ".join(sorted(found)) or "none"
        raise ConfigError(f"--recipes {text} is neither FILE.py nor an installed plug-in; installed: {names}")
    module = found[text].module
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(f"--recipes {text}: its package has no module {module}; install it again")
    return _Code(text, text, module, _files(Path(spec.origin)))


def _files(main: Path) -> list[Path]:
    """The file that is executed first; of a package then all others in its folder."""
    others = sorted(main.parent.rglob("*.py")) if main.name == "__init__.py" else []
    return [main, *(path for path in others if path != main)]


def _digest(files: Sequence[Path], contents: Sequence[bytes]) -> str:
    """Of the contents, and of a package also of the names: a file alone may be renamed."""
    hashed = hashlib.blake2b(digest_size=8)
    for path, content in zip(files, contents, strict=True):
        name = "" if path == files[0] else path.relative_to(files[0].parent).as_posix()
        hashed.update(f"{name} {len(content)} ".encode() + content)
    return hashed.hexdigest()


def _imported(code: _Code, content: bytes) -> ModuleType:
    """The module, executed from the very bytes that were hashed: a cached compilation may be of others."""
    main = code.files[0]
    places = [str(main.parent)] if main.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(code.module, main, submodule_search_locations=places)
    assert spec is not None  # of a .py file there is always one
    module = importlib.util.module_from_spec(spec)
    sys.modules[code.module] = module
    try:
        exec(compile(content, str(main), "exec"), module.__dict__)
    except (Exception, SystemExit) as e:
        del sys.modules[code.module]
        raise ConfigError(_why(e, str(main), code.files)) from e
    return module


def guarded(function: Callable[P, T], plugin: Plugin) -> Callable[P, T]:
    """A function of a plug-in that raises ConfigError, with the line, for whatever goes wrong in it."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except ConfigError:
            raise
        except Exception as e:
            raise ConfigError(_why(e, plugin.source, [Path(function.__code__.co_filename)])) from e

    return call


def _why(e: BaseException, source: str, files: Sequence[Path]) -> str:
    """What a plug-in raised, in a line with its source and line."""
    what = first_line(e) if isinstance(e, ConfigError) else f"{type(e).__name__}: {first_line(e)}"
    return f"--recipes {_shown(source)}{_line(e, files)}: {what}"


def _line(e: BaseException, files: Sequence[Path]) -> str:
    """ ", line 3" for the last line of a plug-in that an exception went through."""
    if isinstance(e, SyntaxError) and e.lineno:
        return f", line {e.lineno}"
    ours = {str(path) for path in files}
    lines = [frame.lineno for frame in traceback.extract_tb(e.__traceback__) if frame.filename in ours]
    return f", line {lines[-1]}" if lines else ""
