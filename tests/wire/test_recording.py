"""The recording against a phone that plays in real time behind a network with latency."""

import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.wire.test_playback import ReferencePhone
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, FRAME_MS
from wire.playback import Ledger, Part
from wire.recording import HOLD_MS, LAG_MS, Recording

SILENCE = 0xFF
BEGAN = 50.0
FRAME = FRAME_MS / 1000


class Line:
    """One call: a phone that speaks all the time and plays what it gets, and the recording of it on our side.

    Piece n of the assistant's is made of the byte n + 1; the caller's frames count up from 0.
    """

    def __init__(self, one_way_ms: int = 40) -> None:
        self.phone = ReferencePhone(one_way_ms / 1000)
        self.one_way = one_way_ms / 1000
        self.ledger = Ledger()
        self.recording = Recording()
        self.now = BEGAN + self.one_way
        self.frames = 0
        self.lost: set[int] = set()
        self.held_until = 0.0
        self.late: list[tuple[float, str, int]] = []
        self.written = bytearray()
        self.pieces = 0
        self.truth: dict[int, tuple[float, float]] = {}

    def caller(self, frame: int, at: float) -> None:
        if frame not in self.lost:
            self.written += self.recording.caller(
                frame * FRAME_MS, bytes([frame % 251]) * FRAME_BYTES, max(at, self.held_until)
            )

    def wait(self, ms: float) -> None:
        """Let so much time pass."""
        end = self.now + ms / 1000
        happened: list[tuple[float, int, str]] = [(at, 1, mark) for at, mark in self.phone.echoes_until(end)]
        while (at := BEGAN + (self.frames + 1) * FRAME + self.one_way) <= end:
            happened.append((at, 0, str(self.frames)))
            self.frames += 1
        before = self.frames - sum(kind == 0 for _, kind, _ in happened)
        for at, kind, what in sorted(happened):
            if kind == 0:
                self.caller(int(what), at)
                before = int(what) + 1
            elif self.ledger.confirm(what, at):
                self.recording.passed(what, before * FRAME_MS, max(at, self.held_until))
        self.now = end

    def say(self, ms: int) -> None:
        """The assistant's audio goes out."""
        generation, offset_ms = self.ledger.generation, self.ledger.queued_ms
        part = Part(str(self.pieces), 0)
        mark = self.ledger.queue(part, ms, self.now)
        self.phone.audio(self.now, part, ms / 1000, mark)
        ulaw = bytes([self.pieces + 1]) * (ms * BYTES_PER_MS)
        self.recording.queued(mark, generation, offset_ms, ulaw, self.now)
        self.pieces += 1

    def note_truth(self, until: float = math.inf) -> None:
        for part, start, end in self.phone.pieces:
            end = min(end, until)
            if end > start:
                self.truth[int(part.item_id)] = (start - BEGAN, end - BEGAN)

    def interrupt(self) -> None:
        if self.ledger.pending:
            self.recording.cleared(self.ledger.generation, self.ledger.head_ms(self.now))
        self.ledger.interrupt(self.now)
        self.note_truth(self.now + self.one_way)
        self.phone.clear(self.now)

    def hang_up(self) -> tuple[bytes, bytes]:
        """Both tracks."""
        self.note_truth(BEGAN + self.frames * FRAME)
        self.written += self.recording.finish()
        assert len(self.written) == 2 * self.frames * FRAME_BYTES
        return bytes(self.written[0::2]), bytes(self.written[1::2])


def stretches(track: bytes) -> dict[int, tuple[float, float]]:
    """Where each piece begins and ends, in seconds; each must be in one place."""
    found = {}
    for value in set(track) - {SILENCE}:
        start, end = track.index(value), track.rindex(value) + 1
        assert track[start:end] == bytes([value]) * (end - start)
        found[value - 1] = (start / 8000, end / 8000)
    return found


def agrees(line: Line, within_ms: float = FRAME_MS) -> None:
    caller, assistant = line.hang_up()
    assert caller == b"".join(
        bytes([SILENCE if frame in line.lost else frame % 251]) * FRAME_BYTES for frame in range(line.frames)
    )
    heard = stretches(assistant)
    for piece, (start, end) in line.truth.items():
        if end - start > 0.001:
            assert heard[piece] == pytest.approx((start, end), abs=within_ms / 1000 + 0.0015)
    assert all(line.truth.get(piece, (0, 0))[1] - line.truth.get(piece, (0, 0))[0] > 0 for piece in heard)


def test_nothing_was_said_but_by_the_caller() -> None:
    line = Line()
    line.wait(3000)
    agrees(line)


def test_an_answer_stands_where_the_caller_heard_it() -> None:
    line = Line(one_way_ms=300)
    line.wait(2000)
    for _ in range(8):
        line.say(400)
    line.wait(6000)
    agrees(line)


def test_what_was_cleared_is_not_there() -> None:
    line = Line()
    line.wait(1000)
    for _ in range(5):
        line.say(1000)
    line.wait(2500)
    line.interrupt()
    line.wait(500)
    line.say(600)
    line.wait(3000)
    line.note_truth()
    assert set(line.truth) == {0, 1, 2, 5}
    agrees(line, within_ms=1)


def test_a_hang_up_cuts_what_was_being_said() -> None:
    line = Line()
    line.wait(1000)
    line.say(400)
    line.say(5000)
    line.wait(2000)
    agrees(line)


def test_what_was_finished_is_never_touched_again_and_comes_soon() -> None:
    line = Line()
    for _ in range(20):
        line.say(500)
        line.wait(500)
        assert line.frames * FRAME_MS - len(line.written) / 2 / BYTES_PER_MS <= LAG_MS + FRAME_MS


def test_without_any_mark_it_goes_on_by_what_it_expects() -> None:
    """The phone has never echoed one: where it plays is guessed, and nobody waits for ever."""
    recording, written = Recording(), b""
    for frame in range(500):
        if frame == 50:
            recording.queued("0-1", 0, 0.0, b"\x01" * 8000, frame * FRAME)
        written += recording.caller(frame * FRAME_MS, b"\0" * FRAME_BYTES, (frame + 1) * FRAME)
        assert (frame + 1) * FRAME_MS - len(written) / 2 / BYTES_PER_MS <= HOLD_MS
    assert stretches(written[1::2]) == {0: pytest.approx((1.0, 2.0), abs=0.001)}


def test_lost_frames_of_the_callers_are_silence() -> None:
    line = Line()
    line.lost = set(range(30, 80))
    line.wait(1000)
    line.say(1000)
    line.wait(4000)
    agrees(line)


def test_a_socket_that_stood_still_for_a_moment_moves_nothing() -> None:
    """Marks and caller audio come late together: the order among them tells."""
    line = Line()
    line.wait(2000)
    for _ in range(10):
        line.say(200)
    line.wait(700)
    line.held_until = line.now + 0.6
    line.wait(3000)
    agrees(line)


def test_a_phone_that_ran_dry_leaves_the_gap_that_the_caller_heard() -> None:
    line = Line()
    line.wait(1000)
    line.say(300)
    line.wait(290)
    line.phone.buffer_ends_at += 0.25  # the phone stands still for that long
    line.say(300)
    line.say(300)
    line.wait(3000)
    agrees(line)


def test_a_pause_is_silence_on_both_sides_and_takes_its_time() -> None:
    line = Line()
    line.wait(1000)
    line.say(3000)
    line.wait(1000)
    line.recording.mute(line.now)
    line.recording.mute(line.now + 0.5)  # is paused already
    line.wait(1000)
    line.recording.unmute(line.now)
    line.recording.unmute(line.now + 0.5)
    line.wait(3000)
    caller, assistant = line.hang_up()
    for track in caller, assistant:
        assert set(track[16000:24000]) == {SILENCE}
        assert SILENCE not in (track[15900], track[24100])
    assert assistant.count(b"\x01") == pytest.approx(16000, abs=2)


def test_a_pause_from_before_the_first_audio_on() -> None:
    line = Line()
    line.recording.mute(line.now)
    line.wait(1000)
    line.recording.unmute(line.now)
    line.wait(3000)
    caller, _ = line.hang_up()
    assert set(caller[:8000]) == {SILENCE}
    assert SILENCE not in caller[8000:]


def test_where_a_clear_was_not_told_nothing_is_recorded_that_may_have_been_cleared() -> None:
    line = Line()
    line.wait(1000)
    line.say(500)
    line.say(1500)
    line.wait(700)
    line.ledger.interrupt(line.now)
    line.phone.clear(line.now)
    line.say(300)
    line.wait(3000)
    _, assistant = line.hang_up()
    assert set(stretches(assistant)) == {0, 2}


@pytest.mark.parametrize("jump_ms", [-5_000, 10_000_000])
def test_a_clock_that_was_set_does_not_move_what_comes_after(jump_ms: int) -> None:
    recording, written = Recording(), b""
    for frame in range(200):
        position_ms = frame * FRAME_MS + (jump_ms if frame >= 100 else 0)
        written += recording.caller(position_ms, bytes([frame]) * FRAME_BYTES, BEGAN + frame * FRAME)
    written += recording.finish()
    assert written[0::2] == b"".join(bytes([frame]) * FRAME_BYTES for frame in range(200))


def test_a_recording_that_begins_in_the_middle_says_when() -> None:
    recording = Recording()
    assert recording.began_at is None
    recording.caller(60_000, b"\0" * FRAME_BYTES, 160.02)
    assert recording.began_at == pytest.approx(160.0)
    assert len(recording.finish()) == 2 * FRAME_BYTES


def test_clocks_that_drift_apart_stay_aligned() -> None:
    """Ours runs 100 ppm faster, over ten minutes."""
    recording, written = Recording(), bytearray()
    offset_ms, drift = 0.0, 1.0001
    for frame in range(30_000):
        at = BEGAN + (frame + 1) * FRAME * drift
        written += recording.caller(frame * FRAME_MS, b"\0" * FRAME_BYTES, at)
        if frame % 500 == 100:
            recording.queued(str(frame), 0, offset_ms, b"\x01" * 1600, at)
            offset_ms += 200
        if frame % 500 == 110:
            recording.passed(str(frame - 10), (frame + 1) * FRAME_MS, at)
    assistant = (bytes(written) + recording.finish())[1::2]
    for turn in range(60):
        start = (turn * 500 + 101) * FRAME_BYTES
        assert assistant[start + 16 : start + 1584] == b"\x01" * 1568
        assert assistant[start - 100 : start - 16] == b"\xff" * 84


says = st.tuples(st.just("say"), st.integers(20, 2000), st.integers(0, 300))
waits = st.tuples(st.just("wait"), st.just(0), st.integers(1, 4000))
interrupts = st.tuples(st.just("interrupt"), st.just(0), st.integers(0, 300))


@given(st.lists(st.one_of(says, waits, interrupts), max_size=40), st.sampled_from([0, 20, 100, 300]))
@example([("say", 20, 0), ("wait", 0, 1500), ("say", 1900, 10), ("interrupt", 0, 0), ("say", 500, 0)], 300)
@example([("say", 20, 20), ("say", 20, 221), ("say", 521, 0)], 100)
def test_what_is_recorded_is_what_was_heard_whatever_happens(
    steps: list[tuple[str, int, int]], one_way_ms: int
) -> None:
    """To within one of the caller's frames, of which a mark's place among them is known.

    Once the phone has echoed a mark: what is cleared before that, in a call's first second, has no place to be told.
    """
    line = Line(one_way_ms)
    line.wait(500)
    line.say(20)
    line.wait(700)
    for action, size, pause in steps:
        if action == "say":
            line.say(size)
        elif action == "interrupt":
            line.interrupt()
        line.wait(pause)
    line.wait(700)
    agrees(line)


@given(st.lists(st.integers(0, 400), min_size=30, max_size=60))
def test_a_network_whose_delays_change_loses_nothing_and_doubles_nothing(delays_ms: list[int]) -> None:
    """Every mark comes back late by a time of its own: audio may be moved, but is there once and in order."""
    recording, written, queued = Recording(), bytearray(), 0.0
    marks: list[tuple[float, str]] = []
    for frame in range(len(delays_ms) * 10 + 400):
        at = (frame + 1) * FRAME
        written += recording.caller(frame * FRAME_MS, b"\0" * FRAME_BYTES, at)
        if frame % 10 == 0 and (number := frame // 10) < len(delays_ms):
            recording.queued(str(number), 0, queued, bytes([number + 1]) * 1600, at)
            queued += 200
            marks.append((at + 0.2 + delays_ms[number] / 1000, str(number)))
        for _, mark in [each for each in marks if each[0] <= at]:
            recording.passed(mark, (frame + 1) * FRAME_MS, at)
        marks = [each for each in marks if each[0] > at]
    assistant = (bytes(written) + recording.finish())[1::2]
    assert Counter(assistant.replace(b"\xff", b"")) == {n + 1: 1600 for n in range(len(delays_ms))}
    assert list(stretches(assistant)) == sorted(stretches(assistant))
