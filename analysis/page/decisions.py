"""Section of the decision helper: the recommendation of plan.py --recommend for the published laws, by controls.

decisions.json has the candidates with their costs and predicted errors (made by
experiments/documentation/decision_rows.py); decisions.js selects, decisions_controls.js shows.
"""

import json

from analysis.page.content import Content
from analysis.page.section import Section, part


def section(_: Content) -> Section:
    """The helper, which is the same for all results."""
    script = f"{part('decisions.js')}\n{part('decisions_controls.js')}"
    return Section("decisions", "Decision helper", part("decisions.html"), script, json.loads(part("decisions.json")))
