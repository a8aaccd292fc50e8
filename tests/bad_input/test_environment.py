"""Broken surroundings through the real commands: what is said, with which exit code, and that nothing is lost by it."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from daywatch.embedded import EmbeddedStore
from tests.bad_input.environments import ENVIRONMENTS, Environment, Surroundings
from tests.bad_input.site import Said, check
from tests.servers import ApacheKafka

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def seen(
    request: pytest.FixtureRequest, apache_kafka: ApacheKafka, redis_server: EmbeddedStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[Said]"]]:
    """All that are asked for, some at a time: most of them wait for somebody who never comes."""
    around = Surroundings(tmp_path_factory.mktemp("around"), apache_kafka.bootstrap_servers, redis_server.url)
    wanted = {item.callspec.params["given"] for item in request.session.items if item.fspath == request.path and hasattr(item, "callspec")}
    with ThreadPoolExecutor(5) as pool:
        yield {each.case.slug: pool.submit(each.seen, around) for each in ENVIRONMENTS if each in wanted}


@pytest.mark.parametrize("given", ENVIRONMENTS, ids=lambda given: given.case.slug)
def test_it_is_told_what_is_wrong(given: Environment, seen: "dict[str, Future[Said]]") -> None:
    check(given.case, seen[given.case.slug].result())
