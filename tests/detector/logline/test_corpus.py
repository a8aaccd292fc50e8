import collections
import random

import pytest

from detector.logline.corpus import OWN, catalogue, digest, examples, split, templates
from detector.logline.labels import LABELS
from detector.logline.slots import _FILLERS, _SLOT


def test_the_catalogue_has_every_label_many_times_and_many_systems() -> None:
    known = templates()
    labels = collections.Counter(template.label for template in known)
    assert set(labels) == set(LABELS)
    assert min(labels.values()) >= 100
    assert len({template.system for template in known}) >= 40
    assert len({template.name for template in known}) == len(known)


def test_no_system_gives_its_label_away() -> None:
    by_system = collections.defaultdict(set)
    for template in templates():
        if template.system not in OWN:
            by_system[template.system].add(template.label)
    assert all(len(labels) >= 4 for labels in by_system.values())


def test_the_same_seed_gives_the_same_lines_and_another_seed_gives_others() -> None:
    some = templates()[::50]
    assert digest(examples(some, 3, 5)) == digest(examples(some, 3, 5))
    assert digest(examples(some, 3, 5)) != digest(examples(some, 3, 6))


def test_every_slot_of_the_catalogue_is_filled() -> None:
    # braces that are no slots stand in a few templates on purpose
    left = {slot[1] for template in templates() for slot in _SLOT.finditer(template.line(random.Random(0))) if slot[1] in _FILLERS}
    assert left == set()


def test_no_template_and_no_system_that_is_tested_on_was_trained_on() -> None:
    found = split(2, 3)
    taught, stopping = ({line.template for line in part} for part in (found.training, found.stopping))
    assert not taught & {line.template for line in found.templates}
    assert not stopping & (taught | {line.template for line in found.templates})
    seen = {line.system for part in (found.training, found.stopping, found.templates) for line in part}
    assert not seen & {line.system for line in found.systems}
    assert {line.template for line in found.lines} <= taught
    assert not {line.text for line in found.lines} & {line.text for line in found.training}


def test_every_label_is_tested_in_every_part_and_our_own_events_stay_in_training() -> None:
    found = split(2, 1)
    for part in (found.training, found.lines, found.templates, found.systems):
        assert {line.label for line in part} == set(LABELS)
    assert {line.system for line in found.training} >= OWN


@pytest.mark.parametrize("text", ["N no section", "[a b c]\n", "[a syslog]\nX what", "[a nosuchframe]\nN x"])
def test_a_catalogue_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        catalogue(text)
