"""What `fit_laws.py --axes patch,images` prints: L(p, D) of each group of runs, and the share of under-training."""

from analysis.fitting.undertraining import PatchImagesLaw, fit_patch_images
from analysis.records.curve_points import curve_points
from analysis.records.run_set import RunSet
from analysis.report.output import print_wrapped
from scaling.errors import ConfigError

AXES_LAWS = {"patch,images": fit_patch_images}  # by the value of --axes
FROM_SHARE = 1 / 16  # of a run's images: earlier points are of the warm-up, which follows no power law
LEAST_R2 = 0.9  # of log L, below which the output calls a law one that does not describe the points
NOTES = (
    "Points within a run are not annealed: their loss is higher than that of a run of that length (arXiv 2203.15556), "
    "so B D^-beta may be overstated.",
    f"Points before {FROM_SHARE:g} of a run are left out: during warm-up the loss follows no power law.",
)
LETTERS = {"E": "E", "A": "B", "a": "beta", "B": "A", "b": "alpha"}  # of the joint form -> of the printed law


def report_axes(axes: str, runs: RunSet) -> None:
    """Print the law of each group. Raises ConfigError where no group has points for one, or the axes are unknown."""
    if axes not in AXES_LAWS:
        raise ConfigError(f"unknown --axes {axes!r}; choose from: {'; '.join(AXES_LAWS)}")
    points, labels, refused = curve_points(runs), runs.labels(), []
    points = points[points["share"] >= FROM_SHARE]
    laws: dict[str, PatchImagesLaw] = {}
    for group, its in points.groupby("group", sort=False):
        try:
            laws[labels[str(group)]] = AXES_LAWS[axes](its)
        except ValueError as e:
            refused.append(f"{labels[str(group)]}: {e}")
    if not laws:
        why = refused[0] if refused else "no finished run has a curve.csv with test losses"
        raise ConfigError(f"no law of {axes}: {why}; runs trained with --test-points 8 have such curves")
    print("L(p, D) = E + A p^alpha + B D^-beta; p patch [px], D images seen; [95 % range]")
    for name, law in laws.items():
        print(f"\n{name}: {law.law.n} points, R2 {law.law.r2:.3f}")
        if law.law.r2 < LEAST_R2:
            print_wrapped("This law does not describe the points; its parameters and shares mean nothing.")
        for line in _lines(law):
            print(line)
    print()
    for note in (*NOTES, *refused):
        print_wrapped(note)


def _lines(law: PatchImagesLaw) -> list[str]:
    lines = []
    for name, letter in LETTERS.items():
        interval = law.interval(name)
        if name == "E" and interval is not None and interval[0] <= 1e-6 * law.law.y.min():
            most = f"at most {interval[1]:.3g}" if interval[1] > 1e-6 * law.law.y.min() else "all refits are at 0"
            lines.append(f"  {letter:6} not identified ({most})")
        else:
            lines.append(f"  {letter:6} {law.law.parameters[name]:.3g} {_text(interval)}")
    lines.append("  share of L - E that more images would remove, at the largest D:")
    lines += [
        f"  patch {p:<4g} {100 * s:.0f} % {_text(law.interval(f'share {p:g}'), 100)}" for p, s in law.shares.items()
    ]
    return lines


def _text(interval: tuple[float, float] | None, times: float = 1) -> str:
    if interval is None:
        return "(no interval: needs two seeds at every patch size)"
    return f"[{times * interval[0]:.3g}, {times * interval[1]:.3g}]"
