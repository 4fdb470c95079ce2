"""Execute the notebooks beside this file and keep their outputs in them: python notebooks/execute.py [NAME ...]

Without times, and without what sliders leave behind (ids that are new every time, half a megabyte of state): a second
execution leaves the same bytes.
"""

import sys
from pathlib import Path

import nbclient
import nbformat

HERE = Path(__file__).parent
VIEW = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    for path in sorted(HERE.glob("*.ipynb")) if not sys.argv[1:] else [HERE / name for name in sys.argv[1:]]:
        book = nbclient.execute(nbformat.read(path, 4), cwd=str(HERE), record_timing=False)
        book.metadata.pop("widgets", None)
        for output in (output for cell in book.cells for output in cell.get("outputs", [])):
            output.get("data", {}).pop(VIEW, None)
        nbformat.write(book, path)
        print(f"executed {path.name}")


if __name__ == "__main__":
    main()
