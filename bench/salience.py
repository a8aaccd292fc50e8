"""How many of the answer key's events survive the cap on what a window shows.

    python bench/salience.py DIR [--hop 24] [--cap 40] [--zone UTC]

DIR is a CERT directory with its answers/. An event counts once for each window that holds it; the aim is 0.98.
"""

import argparse
from pathlib import Path

import orjson
import polars as pl

from detector.evaluation.truth import read_answers
from windowing.calendar import WindowSpec
from windowing.describe import DescribeSettings
from windowing.directory import Directory
from windowing.offline import windows_of


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--hop", type=int, default=24, help="hours")
    parser.add_argument("--cap", type=int, default=40)
    parser.add_argument("--zone", default="UTC")
    given = parser.parse_args()
    key = read_answers(given.directory, given.zone).events
    wanted = {(user, kind, identity): place for place, (user, kind, identity) in enumerate(key.select("user", "kind", "id").iter_rows())}
    people = Directory.read(given.directory, given.zone) if (given.directory / "LDAP").is_dir() else None
    spec = WindowSpec(hop_ms=given.hop * 3_600_000)
    insiders = key.select("user").unique()
    shown, windows = [0] * key.height, 0
    for batch in windows_of(given.directory, spec, given.zone, people=people, settings=DescribeSettings(cap=given.cap)):
        windows += batch.windows.height
        for user, value in batch.windows.join(insiders, on="user", how="semi").select("user", "value").iter_rows():
            for event in orjson.loads(value)["events"]:
                place = wanted.get((user, event["kind"], event["id"]))
                if place is not None:
                    shown[place] += 1
    found = key.with_columns(pl.Series("shown", shown), pl.lit(spec.span).alias("held"))
    table = found.group_by("scenario", "kind").agg(pl.sum("held"), pl.sum("shown")).sort("scenario", "kind")
    for scenario, kind, held, kept in table.iter_rows():
        print(f"scenario {scenario}  {kind:<7} {kept:>6} of {held:>6}  {kept / held:.4f}")
    print(
        f"hop {given.hop} h, cap {given.cap}: {sum(shown) / (spec.span * key.height):.4f} of the key's events shown, over {windows} windows"
    )


if __name__ == "__main__":
    main()
