"""Laws from records.

    from analysis import fit, load
    laws = fit(load("results"))  # name of a group -> its law

Importing this package imports neither pandas nor scipy; the functions do, when they are called.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.fitting.result import Fit
    from analysis.records.run_set import RunSet


def load(results: str | Path) -> "RunSet":
    """The runs of a results folder: `.frame` has a row per run, `.evaluations` a row per evaluation
    (analysis/records/run_set.py). Raises ConfigError."""
    from analysis.records.run_set import load as load_runs

    return load_runs(results)


def fit(runs: "RunSet", form: str = "power") -> "dict[str, Fit]":
    """The law of each group of runs, which differ in patch size and seed only, by the group's name: test loss [nats] as
    a function of patch size [px]. form: power, shifted, bounded, m4, broken. Groups with too few patch sizes for the
    form are left out. Raises ConfigError where there is no law at all."""
    from analysis.fitting.model import one_variable
    from analysis.report.law_report import check_some_law, law_input
    from analysis.report.law_table import fit_groups
    from scaling.config.fields import check_name

    check_name("form", form, tuple(one_variable()))
    inputs = law_input(runs)
    check_some_law(inputs)
    return {of.group.name: of.law for of in fit_groups(inputs.own, [form]) if of.law is not None}
