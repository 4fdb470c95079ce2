"""Training loss along a run in equal parts, whose largest rise shows how unstable training is."""

import numpy as np
import pandas as pd

WINDOWS = 32


def by_window(curve: pd.DataFrame) -> pd.Series:
    """Mean training loss of each window, by the share of the run at its end. curve: of read_curve."""
    trained = curve[curve["train_loss"].notna()]
    ends = np.ceil(trained["step"] / curve["step"].max() * WINDOWS) / WINDOWS
    return trained["train_loss"].groupby(ends).mean()
