import numpy as np
import pytest

from detector.peers import Peers


def fitted() -> Peers:
    """Admins use many machines, clerks one; 40 of each with ten days."""
    chance = np.random.default_rng(1)
    role = ["admin"] * 400 + ["clerk"] * 400
    machines = np.concatenate([chance.integers(1, 9, 400), np.ones(400)]).astype(float)
    machines[799] = 3
    return Peers.fit({"machines": machines}, role, [str(n // 10) for n in range(800)])


def bits(peers: Peers, role: str, value: float) -> float:
    return float(peers.bits({"machines": np.array([value])}, [role])["machines"][0])


def test_what_is_ordinary_in_one_role_is_rare_in_another() -> None:
    peers = fitted()
    assert bits(peers, "clerk", 4) > bits(peers, "admin", 4) + 0.5


def test_the_rarer_the_more_surprising_and_what_all_do_is_not() -> None:
    peers = fitted()
    found = [bits(peers, "clerk", value) for value in (0, 1, 2, 3, 5, 8, 100)]
    assert found == sorted(found)
    assert found[0] == found[1] == 0
    assert found[-1] == 11


def test_an_unknown_role_is_held_against_everybody() -> None:
    peers = fitted()
    assert bits(peers, "pilot", 5) == bits(peers, "", 5) > 0


def test_a_role_of_few_people_has_no_table_of_its_own() -> None:
    peers = Peers.fit({"files": np.arange(300.0)}, ["chief"] * 300, ["one"] * 300)
    assert set(peers.roles) == {""}


def test_read_back_they_say_the_same() -> None:
    peers = fitted()
    again = Peers.from_plain(peers.plain())
    assert again.plain() == peers.plain()
    assert bits(again, "clerk", 3) == bits(peers, "clerk", 3)


def test_tables_that_do_not_fit_are_refused() -> None:
    plain = fitted().plain()
    plain["roles"][""]["machines"] = [1.0]
    with pytest.raises(ValueError, match="fit together"):
        Peers.from_plain(plain)
