"""Which files are images, by their names: one rule for class folders, tars, shards and segmentation folders.

An image has one of ENDINGS, in upper or lower case. Hidden files and folders, whose names begin with a dot (._1.jpg of
macOS, .ipynb_checkpoints), are ignored. Everything left out is counted and reported.
"""

import os
from collections import Counter
from pathlib import Path

# The raster formats that Pillow itself decodes, from Image.registered_extensions(). Written out, so that a folder is
# the same data set with any version of Pillow. The format of a file is determined by its content (decoding.py).
_ALL = """
    .jpg .jpeg .png .webp .tif .tiff .bmp .gif .apng .avif .avifs .blp .bw .cur .dcx .dds .dib .flc .fli .ftc .ftu .gbr
    .icb .icns .ico .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpf .jpx .mpo .msp .pbm .pcd .pcx .pgm .pnm .ppm .psd .pxr .qoi
    .ras .rgb .rgba .sgi .tga .vda .vst .xbm .xpm
"""
ENDINGS = tuple(_ALL.split())
LOOKED_FOR = ", ".join(ENDINGS[:8]) + " and Pillow's other formats"


class LeftOut:
    """Counts of files that are not used: by ending, and hidden images."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.hidden = 0

    def takes(self, path: str, endings: tuple[str, ...] = ENDINGS) -> bool:
        """Whether the file is used. path: with slashes between folders."""
        if "/." not in f"/{path}":  # nearly always, and a third of the time that splitext takes
            dot = path.rfind(".")
            ending = path[dot:].lower() if dot > path.rfind("/") else ""
        else:
            ending = os.path.splitext(path)[1].lower()
            if any(part.startswith(".") and part.strip(".") for part in path.split("/")):
                self.hidden += ending in endings
                return False
        if ending not in endings:
            self.endings[ending or "without ending"] += 1
        return ending in endings

    def lines(self, where: object) -> list[str]:
        """A message for the user if anything was left out of `where`."""
        parts = [f"{n} {ending}" for ending, n in self.endings.most_common()]
        parts += [f"{self.hidden} hidden"] if self.hidden else []
        return [f"{where}: files left out: {', '.join(parts)}"] if parts else []


def files_below(folder: Path, endings: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Names below a folder of the files with one of the endings, and lines on what was left out: other files, counted,
    and each link that was not followed, as it leads to a folder that was visited, or that the folder lies in. Links
    come after what is there itself."""
    found: list[str] = []
    lines: list[str] = []
    left_out = LeftOut()
    real = Path(os.path.realpath(folder))
    visited = {(s.st_dev, s.st_ino) for s in map(os.stat, real.parents)}
    folders = [""]
    links: list[str] = []
    while folders or links:
        if not folders:
            links.sort(reverse=True)
        below = folders.pop() if folders else links.pop()
        where = f"{folder}/{below}"
        inode = os.stat(where)
        if (inode.st_dev, inode.st_ino) in visited:
            lines.append(f"link {where.rstrip('/')} is not followed: {os.path.realpath(where)} is visited without it")
            continue
        visited.add((inode.st_dev, inode.st_ino))
        with os.scandir(where) as entries:
            for entry in entries:
                name = f"{below}{entry.name}"
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(f"{name}/")
                elif not (entry.is_file() or entry.is_symlink()):  # reading a pipe would block
                    left_out.endings["no regular files"] += 1
                elif left_out.takes(name, endings):
                    found.append(name)
    return found, lines + left_out.lines(folder)
