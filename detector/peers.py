"""What is usual in a role: how large a share of all windows of a role's people reach a value. Fitted offline, part of the model.

A profile knows one user's past; peers say whether something is odd for somebody who does that work. Knows no labels: insiders of
the training data count like everybody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detector.trees import Floats

COMPARED: Final = (
    "off_hours", "after_hours_share", "machines", "new_machines", "connects", "files", "risky_files", "after_hours_connects",
    "job_share", "employer_share", "cloud_share", "leak_any", "spyware_any", "upload_any", "most_recipients", "outside_share",
    "most_outside_attachments", "mail_to_own_address", "employer_mail_any", "oddities",
)  # fmt: skip
"""Features that peers are compared in; larger is odder in all of them. All are free of the shortcut."""
COMPARED_COUNTS: Final = ("outside_kb", "outside_mails", "pages", "emails", "cloud_pages", "job_pages", "leak_pages")
"""Those that are not, and stay out of the shortcut-free track."""
PREFIX: Final = "peers_"
_KNOTS: Final = 24
_FEWEST_USERS, _FEWEST_WINDOWS = 5, 200
_WEIGHT_OF_ALL: Final = 200.0  # a role's own windows are mixed with so many of everybody's
_MOST_BITS: Final = 11.0


@dataclass(frozen=True, slots=True)
class Peers:
    """For each compared feature some values, and for each role the share of windows that reach each of them.

    Args:
        knots: ascending values by feature.
        roles: role -> feature -> shares, as long as the feature's knots; the role "" is everybody.
        windows: how many windows each role's shares rest on.
    """

    knots: Mapping[str, Floats]
    roles: Mapping[str, Mapping[str, Floats]]
    windows: Mapping[str, int]

    @classmethod
    def fit(cls, columns: Mapping[str, Floats], role: Sequence[str], user: Sequence[str]) -> "Peers":
        """From training windows: the compared features as columns, each window's role ("" when unknown) and user."""
        knots = {name: _knots(values) for name, values in columns.items()}
        every = {name: _shares(columns[name], knots[name]) for name in columns}
        roles, windows = {"": {name: shares.round(6) for name, shares in every.items()}}, {"": len(role)}
        roles_at, users_at = np.array(role, dtype=object), np.array(user, dtype=object)
        for name in sorted(set(role) - {""}):
            rows = np.flatnonzero(roles_at == name)
            if len(rows) < _FEWEST_WINDOWS or len(set(users_at[rows].tolist())) < _FEWEST_USERS:
                continue
            own = len(rows) / (len(rows) + _WEIGHT_OF_ALL)
            roles[name] = {
                feature: (own * _shares(values[rows], knots[feature]) + (1 - own) * every[feature]).round(6)
                for feature, values in columns.items()
            }
            windows[name] = len(rows)
        return cls(knots, roles, windows)

    def bits(self, columns: Mapping[str, Floats], role: Sequence[str]) -> dict[str, Floats]:
        """How surprising each value is among peers: minus the binary logarithm of the share that reaches it; 0 for what all do."""
        found = {name: np.zeros(len(role)) for name in columns}
        known = [name if name in self.roles else "" for name in role]
        roles_at = np.array(known, dtype=object)
        for name in sorted(set(known)):
            rows = np.flatnonzero(roles_at == name)
            for feature, values in columns.items():
                shares = np.append(self.roles[name][feature], 0.0)
                reached = shares[np.searchsorted(self.knots[feature], values[rows])]
                found[feature][rows] = np.minimum(-np.log2(np.maximum(reached, 2.0**-_MOST_BITS)), _MOST_BITS).round(6) + 0.0
        return found

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "knots": {name: knots.tolist() for name, knots in self.knots.items()},
            "roles": {role: {name: shares.tolist() for name, shares in table.items()} for role, table in self.roles.items()},
            "windows": dict(self.windows),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Peers":
        """Read what `plain` gave.

        Raises:
            KeyError, TypeError, ValueError: it did not.
        """
        knots = {name: np.array(values, np.float64) for name, values in plain["knots"].items()}
        roles = {role: {name: np.array(table[name], np.float64) for name in knots} for role, table in plain["roles"].items()}
        if "" not in roles or any(len(table[name]) != len(knots[name]) for table in roles.values() for name in knots):
            raise ValueError("peer tables do not fit together")
        return cls(knots, roles, {role: int(number) for role, number in plain["windows"].items()})


def _knots(values: Floats) -> Floats:
    """A few values that divide the distinct ones evenly by rank, denser at the upper end."""
    distinct = np.unique(values)
    if len(distinct) <= _KNOTS:
        return distinct
    ordered = np.sort(values)
    # half as many windows lie above each next knot: the tail is what matters
    places = np.concatenate([np.linspace(0, 0.75, _KNOTS // 2), 1 - 0.25 * 0.55 ** np.arange(1, _KNOTS // 2)])
    picked = ordered[np.minimum((places * len(ordered)).astype(np.int64), len(ordered) - 1)]
    return np.unique(np.append(picked, distinct[-1]))


def _shares(values: Floats, knots: Floats) -> Floats:
    """Share of values that reach each knot."""
    ordered = np.sort(values)
    shares: Floats = 1.0 - np.searchsorted(ordered, knots, side="left") / max(len(ordered), 1)
    return shares
