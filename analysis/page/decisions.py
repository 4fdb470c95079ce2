"""Section of the decision helper: the recommendation of plan.py --recommend by controls, for the published laws and for
those of the runs of this folder.

decisions.json has the published candidates with their costs and predicted errors (made by
experiments/documentation/decision_rows.py), the content those of own runs; decisions.js selects, decisions_controls.js
shows.
"""

import json

from analysis.page.content import Content
from analysis.page.section import Json, Section, part


def section(content: Content) -> Section:
    """The helper, with a choice of laws where this folder has some."""
    own: list[Json] = [
        {
            "task": one.task,
            "data": one.data,
            "measure": one.measure,
            "unit": one.unit,
            "rows": {str(side): rows for side, rows in one.rows.items()},
        }
        for one in content.choices
    ]
    data = json.loads(part("decisions.json")) | {"own": own}
    script = f"{part('decisions.js')}\n{part('decisions_controls.js')}"
    return Section("decisions", "Decision helper", part("decisions.html"), script, data)
