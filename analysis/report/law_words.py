"""Laws in words: what the fits of a group mean, in one or two sentences that need no table."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.fitting.laws import Fit
from analysis.fitting.weights import places
from analysis.records.groups import Group
from analysis.report.law_table import GroupLaw
from analysis.report.printfuncs import parameter_text

ONE_SEED = "One seed per patch size: whether seeds explain the deviations cannot be tested."


def law_sentences(laws: Sequence[GroupLaw]) -> list[str]:
    """The law of every group in words, a paragraph each. laws: of law_table.fit_groups; those over patch size count."""
    over_patch = [of for of in laws if of.x == "patch" and of.law is not None]
    groups = [list(its) for _, its in itertools.groupby(over_patch, key=lambda of: id(of.group))]
    sentences = [f"{its[0].group.name}: {group_sentence(its)}" for its in groups]
    if len(sentences) > 1 and all(sentence.endswith(ONE_SEED) for sentence in sentences):  # once for all
        sentences = [*(sentence.removesuffix(f" {ONE_SEED}") for sentence in sentences), ONE_SEED]
    return sentences


def group_sentence(laws: Sequence[GroupLaw]) -> str:
    """The better-supported law of one group: the shifted law where its floor is above 0 by its interval, or where the
    power law does not describe the points; else the power law. Another form where neither was fitted."""
    fits = {of.form: of.law for of in laws if of.law is not None}
    best = supported(fits)
    return " ".join(_law(laws[0].group, fits, best))


def largest_deviation(law: Fit) -> tuple[float, float]:
    """x and relative deviation [1] (points / law - 1) where the mean over the points of one x is furthest from the law,
    both as logarithms."""
    off_N = np.log(law.y) - np.log(law.predict(*np.atleast_2d(law.x)))
    place_N = places(law.problem.z_VN)
    mean_P = np.bincount(place_N, off_N) / np.bincount(place_N)
    at = int(np.argmax(np.abs(mean_P)))
    return float(np.atleast_2d(law.x)[0][place_N == at][0]), math.expm1(float(mean_P[at]))


def lack_of_fit_clause(law: Fit) -> str:
    """Whether the deviations of the points exceed what their errors explain; "" where that cannot be tested."""
    if (found := law.lack_of_fit) is None:
        return ""
    errors, letter = ("standard errors", "chi-square") if found.df_error == 0 else ("seeds", "F")
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.2g}"
    more = "more" if found.significant else "no more"
    return f"{more} than the {errors} explain ({letter} = {_digits(found.statistic)}, {p})"


def why_not_tested(law: Fit) -> str:
    """Why there is no test of lack of fit, a sentence."""
    patches = len(np.unique(law.x))
    if law.run_N is not None:
        return (
            "The points of a run share its weights, so their scatter is no measure of errors to test the fit against."
        )
    if law.objective == "huber":
        return "Lack of fit is tested for least squares only."
    if law.k >= patches:
        return "The law has as many parameters as there are patch sizes, so its fit cannot be tested."
    return ONE_SEED if patches == law.n else "The seeds do not differ, so the fit cannot be tested against them."


def supported(fits: dict[str, Fit]) -> Fit:
    power, shifted = fits.get("power"), fits.get("shifted")
    if shifted is None or power is None:
        return power or shifted or next(iter(fits.values()))
    if shifted.identified["L_inf"] or (shifted.describes and not power.describes):
        return shifted
    return power


def _law(group: Group, fits: dict[str, Fit], law: Fit) -> Iterator[str]:
    """The sentences about one law."""
    if good := law.describes:
        yield from _FORMS.get(law.form, _other)(group, law)
    else:
        law = max(fits.values(), key=lambda its: its.r2)
        names = " nor ".join(f"{'an' if form == 'm4' else 'a'} {form} law" for form in fits)
        none = f"neither {names}" if len(fits) > 1 else f"no {law.form} law"
        yield f"{none} describes these points (R2 {law.r2:.2f})."
    which = "it" if good else "the better one" if len(fits) > 1 else "the best one"
    x, off = largest_deviation(law)
    clause = ", " + clause if (clause := lack_of_fit_clause(law)) else ""
    yield f"The points deviate from {which} by up to {_digits(abs(100 * off))} % (patch {x:g}){clause}."
    if not clause:
        yield why_not_tested(law)


def _power(group: Group, law: Fit) -> Iterator[str]:
    alpha, (low, high) = law.parameters["alpha"], law.intervals["alpha"]
    formula = f"{group.measure} = {law.parameters['A']:.3g} p^{alpha:.3g} {group.unit}"
    if math.isnan(low) and law.run_N is not None:
        yield f"{formula}; no interval: {law.why_no_intervals}. Add --seeds 0,1,2."
    elif math.isnan(low):
        yield f"{formula} through its points exactly; too few points for an interval ({law.why_no_intervals})."
    elif low <= 0 <= high or not law.identified["alpha"]:
        yield (
            f"the points do not determine whether the {group.measure} depends on the patch size: alpha of the power "
            f"law is {parameter_text(law, 'alpha')}."
        )
    else:
        half = (high - low) / 2
        decimals = max(0, 1 - math.floor(math.log10(max(half, 1e-3))))
        size = f"alpha = {alpha:.{decimals}f} ± {half:.{decimals}f}"
        yield f"{formula}, {size} (95 %); halving the patch {_halving(alpha)} the {group.measure} by {_factor(alpha)}."


def _shifted(group: Group, law: Fit) -> Iterator[str]:
    alpha, floor = law.parameters["alpha"], law.parameters["L_inf"]
    if not (law.identified["alpha"] and law.identified["L_inf"]):
        yield (
            "a law above a floor, L_inf + A p^alpha, describes the points, but they do not determine it: L_inf "
            f"{parameter_text(law, 'L_inf')}, alpha {parameter_text(law, 'alpha')}."
        )
        return
    formula = f"{group.measure} = {floor:.3g} + {law.parameters['A']:.3g} p^{alpha:.3g} {group.unit}"
    yield (
        f"{formula}; halving the patch {_halving(alpha)} what is above the floor, {parameter_text(law, 'L_inf')}, by "
        f"{_factor(alpha)} (alpha = {parameter_text(law, 'alpha')})."
    )


def _other(group: Group, law: Fit) -> Iterator[str]:
    values = {
        name: f"{value:.3g}" if law.identified.get(name, True) else name for name, value in law.parameters.items()
    }
    yield f"{group.measure} = {law.problem.shape.text.format(x='p', **values)} {group.unit}."


_FORMS = {"power": _power, "shifted": _shifted}


def _digits(size: float) -> str:
    """Two digits or, from 10 on, a whole number."""
    return f"{size:.0f}" if size >= 10 else f"{size:.2g}"


def _halving(alpha: float) -> str:
    return "divides" if alpha >= 0 else "multiplies"


def _factor(alpha: float) -> str:
    return f"{2 ** abs(alpha):.3g}"
