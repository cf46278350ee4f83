"""What is watched of a call: fetched once, gone soon, and never a reason for a call to wait."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.database import Database, StoreError
from store.live import KEPT_SECONDS, LiveAudio
from tests.conftest import ExpectedLogs
from tests.store.conftest import NOON, Clock


@pytest.fixture
def live(url: str, clock: Clock) -> Iterator[LiveAudio]:
    database = Database(url)
    yield LiveAudio(database, clock)
    database.close()


def test_pieces_come_in_their_order_and_each_once(live: LiveAudio) -> None:
    live.put("CA1", NOON, b"\1\2", b"\0\0", b"audio")
    live.put("CA2", NOON, b"\7", b"\7", b"other")
    live.put("CA1", NOON + 0.5, b"\3", b"\4", b"more")
    first, second = live.since("CA1", 0, with_audio=True)
    assert (first.began_at, first.caller, first.assistant, first.audio) == (NOON, b"\1\2", b"\0\0", b"audio")
    assert second.audio == b"more"
    assert live.since("CA1", first.number, with_audio=True) == [second]
    assert live.since("CA1", second.number) == []


def test_who_only_looks_gets_no_audio(live: LiveAudio) -> None:
    live.put("CA1", NOON, b"\1", b"\2", b"audio")
    [piece] = live.since("CA1", 0)
    assert (piece.caller, piece.audio) == (b"\1", b"")


def test_a_piece_is_gone_soon(live: LiveAudio, clock: Clock) -> None:
    live.put("CA1", NOON, b"\1", b"\2", b"old")
    clock.now += KEPT_SECONDS + 1
    assert live.since("CA1", 0) == []
    live.put("CA2", NOON, b"\1", b"\2", b"new")
    clock.now = NOON
    assert live.since("CA1", 0) == [], "it is not hidden, but deleted"


def test_of_a_call_that_nobody_watches_any_more_nothing_is_left(live: LiveAudio) -> None:
    for call_sid in ("CA1", "CA2"):
        live.put(call_sid, NOON, b"\1", b"\2", b"audio")
    live.drop("CA1")
    assert live.since("CA1", 0) == []
    assert live.since("CA2", 0) != []


def test_what_is_left_of_the_last_watched_call_can_be_cleared(live: LiveAudio, clock: Clock) -> None:
    live.put("CA1", NOON, b"\1", b"\2", b"old")
    live.clear()
    assert live.since("CA1", 0) != []
    clock.now += KEPT_SECONDS + 1
    live.clear()
    clock.now = NOON
    assert live.since("CA1", 0) == []


def test_a_database_that_refuses_costs_the_piece_and_nothing_else(
    tmp_path: Path, clock: Clock, logs: ExpectedLogs
) -> None:
    logs.expect("who watches a call misses some of it")
    logs.expect("what was watched of a call stays")
    logs.allow("the file was moved or deleted")
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(f"sqlite:///{folder / 'calls.db'}")
    live = LiveAudio(database, clock)
    database.close()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    live.put("CA1", NOON, b"\1", b"\2", b"lost")
    live.put("CA1", NOON, b"\1", b"\2", b"lost, and not logged once more")
    live.drop("CA1")
    assert sum("misses" in record.getMessage() for record in logs.records) == 1
    with pytest.raises(StoreError):
        live.since("CA1", 0)
    database.close()
