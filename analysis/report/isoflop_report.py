"""What `fit_laws.py --axes patch,params,images` prints and writes: L(N, p, D), isoFLOP curves and directions."""

import json
from pathlib import Path

import pandas as pd

from analysis.fitting.model_patch_images import SizeLaw, fit_sizes, hold_out_largest
from analysis.planning.isoflop import best_patches, directions, isoflop, place_of, verdict
from analysis.plots.isoflop import isoflop_figure
from analysis.plots.style import files
from analysis.records.run_set import RunSet
from analysis.records.size_points import size_points
from analysis.report.output import print_wrapped, write_files
from scaling.errors import ConfigError

AXES = "patch,params,images"
LEAST_R2 = 0.9  # of log L, below which the output calls a law one that does not describe the points

FORMULAS = {
    "additive": "E + A x1^-a + B x2^b + C x3^-c",
    "surface": "A x1^-a x3^-c (1 + B x2^b x1^-d x3^-e)",
}


def report_isoflop(runs: RunSet, out: Path) -> None:
    """Print the law of each family, and write its points, curves and figure to out. Raises ConfigError where no family
    has enough sizes, patches and lengths, with nothing written."""
    laws: dict[str, SizeLaw] = {}
    refused = []
    for number, (family, points) in enumerate(size_points(runs).groupby("family", sort=False), 1):
        values = json.loads(str(family))
        name = f"{values['backbone']}-{values['data']}-{values['image']}px".replace("/", "_")
        name = f"{name}-{number}" if name in laws else name
        try:
            laws[name] = fit_sizes(points.drop(columns="family").reset_index(drop=True))
        except ValueError as e:
            refused.append(f"{name}: {e}")
    if not laws:
        why = refused[0] if refused else "no finished run has a curve.csv"
        raise ConfigError(f"no law of {AXES}: {why}; one backbone alone has --axes patch,images")
    written: dict[str, bytes] = {}
    for name, found in laws.items():
        written |= _report(name, found)
    for line in refused:
        print_wrapped(f"No law of {line}.")
    for path in write_files(out, written):
        print(f"wrote {path}")


def _report(name: str, found: SizeLaw) -> dict[str, bytes]:
    law, table, place = found.law, isoflop(found), place_of(found.points)
    print(f"{name}: {law.n} runs, R2 {law.r2:.3f}; x1 parameters, x2 patch [px], x3 images seen")
    print_wrapped(f"L = {FORMULAS[law.form]}")
    if law.r2 < LEAST_R2:
        print_wrapped("This law does not describe the points; what follows means nothing.")
    print("  parameters with 95 % intervals (whole runs resampled):")
    for letter, (low, high) in found.draws.intervals().items():
        print(f"  {letter:3} {law.parameters[letter]:.3g} [{low:.3g}, {high:.3g}]")
    held = hold_out_largest(found)
    if held is None:
        print_wrapped("Hold-out of the largest model: needs four model sizes with common patches and lengths.")
    else:
        rules = f"next smaller model {100 * held.last:.1f} %, plus half of the last gain {100 * held.half:.1f} %"
        print_wrapped(f"Hold-out of {held.model}: rms error of the law {100 * held.law:.1f} %; {rules}.")
    if table.empty:
        print_wrapped("No budget allows two patch sizes within twice the lengths that were run: no isoFLOP curves.")
    else:
        print("best patch size per budget, by the law; [95 % range over draws]")
        for row in best_patches(table).itertuples():
            where = f"[{row.finest:g}, {row.coarsest:g}], {row.model}, {row.images:.3g} images"
            print(f"  {row.budget:.2e} FLOPs: patch {row.patch:g} {where}, {100 * row.share:.0f} % of draws")
    print_wrapped(
        f"From {place['model']} at patch {place['patch']:g}, {place['images']:g} images (loss {place['y']:.3g}), "
        "a doubling of training FLOPs changes the loss [nats, 95 %] by:"
    )
    steps = directions(found, place)
    for row in steps.itertuples():
        print(f"  {row.direction:17} {row.change:+.4f} [{row.low:+.4f}, {row.high:+.4f}]  (x{row.factor:.2f})")
    print_wrapped(f"Verdict: {verdict(steps)}.\n")
    tables = {"points": found.points, "isoflop": table, "directions": steps}
    made = {f"{name}_{what}.csv": _csv(of) for what, of in tables.items()}
    return made if table.empty else made | files(f"{name}_isoflop", isoflop_figure(found.points, table, name))


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode()
