"""Images named on a command line: files, and folders with all images below them. No torch."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scaling.data.files.file_listing import ENDINGS, LOOKED_FOR, files_below
from scaling.errors import ConfigError


class ImageFiles(NamedTuple):
    """names: of the files, below their folder, all different. lines: what was left out of folders."""

    paths: list[Path]
    names: list[str]
    lines: list[str]


def image_files(given: Sequence[str]) -> ImageFiles:
    """The files that are named, whatever their endings, and all images below the folders that are, by name. Raises
    ConfigError for what is not there, a folder without images, and two files of one name."""
    found = ImageFiles([], [], [])
    for text in given:
        path = Path(text).expanduser()
        if path.is_dir():
            names, lines = files_below(path, ENDINGS)
            if not names:
                raise ConfigError(f"{path}: no images in this folder (looked for {LOOKED_FOR})")
            found.paths.extend(path / name for name in sorted(names))
            found.names.extend(sorted(names))
            found.lines.extend(lines)
        elif path.exists():
            found.paths.append(path)
            found.names.append(path.name)
        else:
            raise ConfigError(f"{path}: no such image or folder")
    name, times = Counter(found.names).most_common(1)[0]
    if times > 1:
        raise ConfigError(f"{times} images are called {name}: name the folder that all of them are in")
    return found
