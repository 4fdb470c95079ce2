"""Class names in a file of a segmentation data set: classes.txt, one name per line, or ADE20K's table."""

from pathlib import Path

from scaling.errors import ConfigError

NAME_FILES = ("classes.txt", "objectInfo150.txt")


def names_beside(root: Path) -> tuple[Path | None, tuple[str, ...]]:
    """The file in root that lists the classes, and the names by class index; None where there is none. Raises
    ConfigError for a file that cannot be read as such a list."""
    path = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
    if path is None:
        return None, ()
    try:
        lines = [line for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path} cannot be read as a list of class names ({e})") from e
    if path.name == NAME_FILES[0]:
        return path, tuple(line.strip() for line in lines)
    table = [[cell.strip() for cell in line.split("\t")] for line in lines]
    if not table or "Name" not in table[0]:
        raise ConfigError(f"{path} has no column Name in its first line (columns are separated by tabs)")
    column = table[0].index("Name")
    return path, tuple(row[column].split(",")[0] for row in table[1:] if column < len(row))
