"""What a room's members hear of each other, sample by sample, without threads or clocks."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from simulator.bridge import DELAY_MS, PATIENCE_MS, Room
from wire.g711 import FRAME_BYTES, ULAW_SILENCE, decode_ulaw

DELAY = DELAY_MS * 8


@given(st.integers(0, 4000), st.integers(0, 4000), st.integers(1, 320), st.integers(0, 2000))
def test_what_is_said_is_heard_a_fixed_time_later_whatever_the_frames(
    speaker_starts: int, listener_starts: int, size: int, ahead: int
) -> None:
    room = Room()
    speaker, listener = room.enter(speaker_starts / 8000), room.enter(listener_starts / 8000)
    said = bytes(n % 251 for n in range(20 * FRAME_BYTES))
    for start in range(0, len(said), FRAME_BYTES):
        speaker.put(start, said[start : start + FRAME_BYTES])
    start = speaker_starts - listener_starts + DELAY + ahead
    assert listener.take(start, size) == said[ahead : ahead + size].ljust(size, ULAW_SILENCE)
    assert speaker.take(start, size) == ULAW_SILENCE * size


def test_what_comes_too_late_is_heard_as_silence() -> None:
    room = Room()
    speaker, listener = room.enter(0), room.enter(0)
    assert listener.take(DELAY, FRAME_BYTES) == ULAW_SILENCE * FRAME_BYTES
    speaker.put(0, b"\x00" * FRAME_BYTES)
    assert listener.take(DELAY, FRAME_BYTES) == b"\x00" * FRAME_BYTES


def test_two_voices_are_added_and_limited() -> None:
    room = Room()
    one, two, listener = (room.enter(0) for _ in range(3))
    loud = b"\x80" * FRAME_BYTES
    one.put(0, loud)
    two.put(0, loud)
    assert listener.take(DELAY, FRAME_BYTES) == loud
    quiet = b"\xa0" * FRAME_BYTES
    one.put(FRAME_BYTES, quiet)
    two.put(FRAME_BYTES, quiet)
    (level,) = set(array("h", decode_ulaw(listener.take(DELAY + FRAME_BYTES, FRAME_BYTES))))
    assert abs(level - 2 * array("h", decode_ulaw(b"\xa0"))[0]) < 300
    assert one.take(DELAY + FRAME_BYTES, FRAME_BYTES) == quiet


def test_who_talks_is_waited_for_but_not_for_ever() -> None:
    room = Room()
    speaker, listener = room.enter(1.0), room.enter(0)
    now = 8000 + DELAY + FRAME_BYTES
    heard = (now - FRAME_BYTES, FRAME_BYTES)
    assert not listener.awaits(*heard, now)
    speaker.begin(0)
    assert listener.awaits(*heard, now)
    assert not listener.awaits(*heard, now + PATIENCE_MS * 8)
    assert not speaker.awaits(0, FRAME_BYTES, FRAME_BYTES)
    speaker.muted = True
    speaker.put(0, ULAW_SILENCE * FRAME_BYTES)
    assert not listener.awaits(*heard, now)
    speaker.leave()
    assert not listener.awaits(now, FRAME_BYTES, now + FRAME_BYTES)


def test_only_the_last_seconds_are_kept() -> None:
    room = Room()
    speaker = room.enter(0)
    for start in range(0, 20 * 8000, FRAME_BYTES):
        speaker.put(start, ULAW_SILENCE * FRAME_BYTES)
    assert len(speaker.said) <= (DELAY_MS + 2 * PATIENCE_MS) // 20 + 1
    speaker.leave()
    speaker.leave()
    assert len(room) == 0
