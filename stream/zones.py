"""Naive local times to UTC, whole columns at a time. Integers in, integers out. Knows nothing of events, files or panes.

A *wall time* is a naive local date and time, counted in milliseconds since 1970-01-01T00:00 as if it were UTC. A doubled wall
time maps to its first instant, one that does not exist to the instant of the change: the same rule as `windowing.calendar`.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from stream.errors import ConfigurationError
from stream.kinds import Millis

_DAY_MS: Millis = 86_400_000
_YEAR_MS: Millis = 366 * _DAY_MS


def check_zone(zone: str) -> None:
    """Make sure that a zone is known.

    Raises:
        ConfigurationError: there is no such zone.
    """
    _zone_info(zone)


def wall_to_utc(wall: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    """Map wall times (naive local milliseconds) to UTC milliseconds, same shape.

        wall  ----01:59|02:00  (never shown)  |03:00----     spring: all of the gap maps to the change
        wall  ----02:00====03:00
                       02:00====03:00----                    autumn: the doubled hour maps to its first pass

    Raises:
        ConfigurationError: there is no such zone.
    """
    if zone == "UTC" or not len(wall):
        return wall
    low, high = int(wall.min()), int(wall.max())
    starts, offsets = _periods(zone, low // _YEAR_MS - 1, high // _YEAR_MS + 2)
    # Period i lasts from starts[i] to starts[i + 1]; on the wall it ends at starts[i + 1] + offsets[i]. A wall time belongs to
    # the first period that has not ended on the wall: that is the earlier of two readings. In a gap it lies before its period
    # begins, hence the maximum.
    wall_ends = np.maximum.accumulate(starts[1:] + offsets[:-1])
    period = np.searchsorted(wall_ends, wall, side="right")
    instants: npt.NDArray[np.int64] = np.maximum(wall - offsets[period], starts[period])
    return instants


def utc_to_wall(ts: npt.NDArray[np.int64], zone: str) -> npt.NDArray[np.int64]:
    """Map UTC milliseconds to wall times (naive local milliseconds), same shape.

    Raises:
        ConfigurationError: there is no such zone.
    """
    if zone == "UTC" or not len(ts):
        return ts
    starts, offsets = _periods(zone, int(ts.min()) // _YEAR_MS - 1, int(ts.max()) // _YEAR_MS + 2)
    wall: npt.NDArray[np.int64] = ts + offsets[np.searchsorted(starts, ts, side="right") - 1]
    return wall


def _zone_info(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigurationError(f"zone: unknown time zone {zone!r}; use an IANA name such as Europe/Berlin") from error


@lru_cache(maxsize=64)
def _periods(zone: str, first: int, last: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Stretches of constant offset from UTC: their starts and offsets, ms. Covers whole `_YEAR_MS` stretches first..last."""
    info = _zone_info(zone)
    starts, offsets = [first * _YEAR_MS], [_offset(info, first * _YEAR_MS)]
    for probe in range(first * _YEAR_MS + _DAY_MS, last * _YEAR_MS + _DAY_MS, _DAY_MS):
        if _offset(info, probe) == offsets[-1]:
            continue
        before, after = probe - _DAY_MS, probe
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if _offset(info, middle) == offsets[-1] else (before, middle)
        starts.append(after)
        offsets.append(_offset(info, probe))
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def _offset(info: ZoneInfo, ts: Millis) -> Millis:
    offset = datetime.fromtimestamp(ts / 1000, UTC).astimezone(info).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)
