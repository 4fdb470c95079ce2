"""Numbers of studies as text: a spread over seeds, and a change of the loss with its interval."""

from collections.abc import Iterable

import pandas as pd


def spread(values: pd.Series, decimals: int) -> str:
    """Mean and standard deviation over seeds as text."""
    error = f" ± {values.std():.{decimals}f}" if len(values) > 1 else ""
    return f"{values.mean():.{decimals}f}{error}"


def change_text(ends: Iterable[object], verdict: object) -> str:
    """A change of the loss and its two ends [1] in percent; without the ends where it is untested."""
    middle, low, high = (f"{100 * float(str(value)):+.1f}" for value in ends)
    return middle if verdict == "untested" else f"{middle} [{low}, {high}]"
