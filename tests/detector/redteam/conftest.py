"""A small organisation to attack, made once for all tests of this package."""

import pytest

from detector.redteam.scenes import Size, Stage, stage

SMALL = Size(users=16, days=40, insiders=4)


@pytest.fixture(scope="session")
def small() -> Stage:
    return stage(24, 8, size=SMALL)
