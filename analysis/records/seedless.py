"""What the recipes of many runs have in common with those that differ in the seed alone, found once for each of them:
of ten thousand runs, a few hundred recipes."""

import json
from collections.abc import Callable, Sequence

from analysis.records.run_frame import recipe_columns
from scaling.config.experiment import ExperimentConfig


class Seedless:
    """The recipes of some runs."""

    def __init__(self, recipes: Sequence[tuple[ExperimentConfig, dict[str, object]]]) -> None:
        """recipes: each with its dictionary (ExperimentConfig.to_dict)."""
        self.recipes = [recipe for recipe, _ in recipes]
        self._names = {id(recipe): json.dumps({**values, "seed": 0}) for recipe, values in recipes}
        self._first = {self._names[id(recipe)]: recipe for recipe in self.recipes}
        self._fields: dict[str, dict[str, object]] = {}

    def keys(self, keys_of: Callable[[Sequence[ExperimentConfig]], Sequence[str]]) -> list[str]:
        """A key of each recipe. keys_of: the keys of some, the same for recipes that differ in the seed alone."""
        found = dict(zip(self._first, keys_of(list(self._first.values())), strict=True))
        return [found[self._names[id(recipe)]] for recipe in self.recipes]

    def fields(self, recipe: ExperimentConfig) -> dict[str, object]:
        """Its columns; the seed may be another's."""
        name = self._names[id(recipe)]
        if name not in self._fields:
            self._fields[name] = recipe_columns(recipe)
        return self._fields[name]
