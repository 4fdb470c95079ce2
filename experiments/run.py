"""One run: python experiments/run.py shapes.deit_nano --patch 4 [--epochs 1] [--results DIR] [any field]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from experiments import cli
from experiments.child import run_quietly
from experiments.console import Console
from scaling.recipe import BadInput, Recipe


def arguments(argv: list[str]) -> tuple[Recipe, cli.Namespace]:
    """The resolved recipe and all options. Raises BadInput."""
    p = cli.parser("run.py", "Train, evaluate and record one run.", "what to train: " + ", ".join(cli.recipes()))
    cli.add_fields(p)
    args = p.parse_args(argv)
    given = cli.overrides(args)
    return cli.resolve(args.recipe, given.get("patch", 16), given), args


def main(argv: list[str] | None = None) -> int:
    recipe, args = arguments(sys.argv[1:] if argv is None else argv)
    if args.print_recipe:
        print(cli.as_yaml(recipe))
        return 0
    settings, results = cli.settings(args), Path(args.results)
    cli.check_writable(results)
    with Console() as console:
        console.begin(recipe.run_id)
        outcome = run_quietly(recipe, results, settings, lambda event: console.show(recipe.run_id, event))
        if outcome.status == 2:
            raise BadInput(outcome.text)
        console.finish(recipe.run_id, outcome.status, outcome.text)
    return outcome.status


if __name__ == "__main__":
    cli.guarded(main)
