"""Writes the golden files anew: python -m tests.golden.take. Only for a change that is meant to change numbers."""

import json

from tests.golden import ids


def main() -> None:
    ids.EXPECTED.write_text(json.dumps(ids.taken(), indent=0) + "\n")


if __name__ == "__main__":
    main()
