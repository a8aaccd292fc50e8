"""Rules as an analyst would write them down: points for what a window shows, no fitting. Knows feature names only."""

from collections.abc import Callable, Mapping

import numpy as np

from detector.evaluation.baselines import FeatureTable
from detector.evaluation.metrics import Bools, Floats

Column = Callable[[str], Floats]

RULES: Mapping[str, tuple[int, Callable[[Column], Bools]]] = {
    "a page on a leak site": (3, lambda of: of("leak_any") > 0),
    "a page about keyloggers or hacking tools": (3, lambda of: of("spyware_any") > 0),
    "a drive after hours": (2, lambda of: of("after_hours_connects") > 0),
    "a drive for the first time": (2, lambda of: of("connects_first") > 0),
    "more drives or files than ever before": (2, lambda of: (of("connects_above_top") > 1) | (of("files_above_top") > 1)),
    "a drive where this user never used one": (1, lambda of: of("drive_on_new_machine") > 0),
    "programs or archives copied for the first time": (1, lambda of: of("risky_files_first") > 0),
    "a page on a job site or of another employer": (1, lambda of: (of("job_any") > 0) | (of("employer_any") > 0)),
    "cloud storage and files copied": (1, lambda of: (of("cloud_any") > 0) & (of("files") > 0)),
    "attachments mailed to the user's own address": (2, lambda of: of("mail_to_own_address") > 0),
    "a mail to very many": (1, lambda of: of("mass_mail") > 0),
    "after hours on another's machine": (2, lambda of: of("strange_machine_after_hours") > 0),
}
"""What counts, how much, and when; none of it looks at how many pages, logons or mails there were."""


def rules_score(table: FeatureTable) -> Floats:
    """Sum of the points of the rules that hold; rows without any score 0."""
    places = {name: place for place, name in enumerate(table.names)}

    def column(name: str) -> Floats:
        found: Floats = np.nan_to_num(table.values[:, places[name]])
        return found

    total = np.zeros(len(table.values))
    for weight, holds in RULES.values():
        total += weight * holds(column)
    return total
