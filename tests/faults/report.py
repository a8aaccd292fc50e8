"""Counts what a results file says. Lines in, text out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.faults.schedule import Fault


def report(lines: Sequence[Mapping[str, Any]]) -> str:
    """A table of the kinds of fault and the sums of everything else; failures by seed."""
    if not lines:
        return "no schedule has been run"
    faults: Counter[str] = Counter()
    given_up: Counter[str] = Counter()
    for line in lines:
        faults.update(line["faults"])
        given_up.update(line["gave_up"])
    failed = [line for line in lines if line["complaints"]]
    sums = {name: sum(line[name] for line in lines) for name in ("windows", "verdicts", "alerts", "dead_letters", "duplicates", "starts")}
    total = {name: sum(line[name] for line in lines) for name in ("aimed", "unsynced_lost", "repaired")}
    commits = Counter(f"{line['commit']}{' with changes' if line['changed'] else ''}" for line in lines)
    text = [
        f"{len(lines)} schedules, {len({line['seed'] for line in lines})} seeds, {len(failed)} failed, {sum(faults.values())} faults",
        f"code: {', '.join(f'{commit} ({n})' for commit, n in commits.items())}",
        ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in sums.items())
        + f", {sum(line['seconds'] for line in lines) / len(lines):.0f} s a schedule",
        f"{total['aimed']} faults in mid-sentence, power cuts took {total['unsynced_lost']:,} bytes, {total['repaired']} repairs",
        "",
        "| fault | times | in failed schedules |",
        "|---|---:|---:|",
    ]
    text += [f"| {fault} | {faults[fault]} | {sum(fault in line['faults'] for line in failed)} |" for fault in Fault]
    if given_up:
        text += ["", "workers that gave up and were started again: " + ", ".join(f"{n} × {said}" for said, n in given_up.most_common())]
    text += [f"seed {line['seed']} ({line['commit']}): {'; '.join(line['complaints'])}" for line in failed]
    return "\n".join(text)
