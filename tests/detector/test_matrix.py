import numpy as np
import pytest

from detector.matrix import ForeignWindow, columns_of, compared, rows_of
from detector.peers import COMPARED_COUNTS, Peers
from tests.detector.windows import window
from windowing.features import FREE, MEANINGS, NAMES


def test_the_shortcut_free_track_sees_no_count_not_even_through_peers() -> None:
    columns = columns_of("shortcut-free")
    assert all(MEANINGS[name.removeprefix("peers_")].family == "free" for name in columns)
    assert not set(compared("shortcut-free")) & set(COMPARED_COUNTS)


def test_both_tracks_are_compared_in_features_that_exist() -> None:
    assert set(compared("all")) == set(compared("shortcut-free")) | set(COMPARED_COUNTS)
    assert set(compared("all")) <= set(NAMES)


def test_columns_are_the_features_in_order_and_then_the_peers() -> None:
    rows = rows_of([window(files=3.0), window(files=1.0)], NAMES)
    peers = Peers.fit({name: rows.column(name) for name in compared("all")}, rows.role, ["a", "b"])
    for track in ("all", "shortcut-free"):
        matrix = rows.matrix(track, peers)
        assert matrix.shape == (2, len(columns_of(track)))
        assert matrix[:, columns_of(track).index("files")].tolist() == [3.0, 1.0]


def test_a_window_of_other_features_is_refused_by_name() -> None:
    with pytest.raises(ForeignWindow, match="of_tomorrow"):
        rows_of([window()], (*FREE, "of_tomorrow"))


def test_no_windows_are_no_rows() -> None:
    assert rows_of([], NAMES).values.shape == (0, len(NAMES))
    assert np.isfinite(rows_of([window()], NAMES).values).all()
