"""simulator.playout against tables and against a model that plays one byte at a time."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from simulator.playout import CAPACITY_BYTES, MarkRecord, Playout

CAPACITY = 40


def test_audio_is_played_eight_bytes_a_millisecond_from_its_arrival() -> None:
    playout = Playout(now=80)
    playout.put(b"a" * 160, now=100)
    playout.advance(180)
    assert playout.take_audio() == [(100, b"a" * 80)]
    assert (playout.position, playout.pending) == (80, 80)
    playout.advance(1000)
    assert playout.take_audio() == [(180, b"a" * 80)]
    assert playout.media[0].started == 100
    assert playout.media[0].played == 160


def test_audio_behind_other_audio_waits_for_its_turn() -> None:
    playout = Playout()
    playout.put(b"a" * 10, now=0)
    playout.put(b"b" * 10, now=3)
    playout.advance(100)
    assert playout.take_audio() == [(0, b"a" * 3), (3, b"a" * 7), (10, b"b" * 10)]
    assert playout.media[1].started == 10


def test_a_mark_is_echoed_when_the_audio_before_it_has_been_played() -> None:
    playout = Playout()
    playout.put(b"a" * 100, now=0)
    playout.mark("middle", now=0)
    playout.put(b"b" * 100, now=0)
    assert playout.next_echo() == 100
    playout.advance(99)
    assert playout.take_echoes() == []
    playout.advance(150)
    assert playout.take_echoes() == [MarkRecord("middle", queued=0, echoed=100, by="play", position=100)]
    assert playout.position == 150
    assert playout.next_echo() is None


def test_a_mark_with_nothing_before_it_is_echoed_at_once() -> None:
    playout = Playout()
    playout.mark("now", now=7)
    assert playout.take_echoes() == [MarkRecord("now", queued=7, echoed=7, by="play", position=0)]


def test_clear_drops_what_was_not_played_and_echoes_the_marks_that_wait() -> None:
    playout = Playout()
    playout.put(b"a" * 100, now=0)
    playout.mark("one", now=0)
    playout.put(b"b" * 100, now=0)
    playout.mark("two", now=0)
    cleared = playout.clear(now=120)
    assert (cleared.at, cleared.dropped, cleared.dropped_ms, cleared.position) == (120, 80, 10.0, 120)
    assert cleared.marks == ("two",)
    assert [(mark.name, mark.echoed, mark.by) for mark in playout.take_echoes()] == [
        ("one", 100, "play"),
        ("two", 120, "clear"),
    ]
    assert [(media.played, media.cleared, media.cleared_at) for media in playout.media] == [
        (100, 0, None),
        (20, 80, 120),
    ]


def test_audio_after_a_clear_is_played_at_once() -> None:
    playout = Playout()
    playout.put(b"a" * 100, now=0)
    playout.clear(now=10)
    playout.put(b"b" * 5, now=10)
    playout.mark("new", now=10)
    playout.advance(50)
    assert playout.take_audio() == [(0, b"a" * 10), (10, b"b" * 5)]
    assert [(mark.name, mark.echoed, mark.by) for mark in playout.take_echoes()] == [("new", 15, "play")]


def test_audio_beyond_ten_minutes_is_discarded() -> None:
    playout = Playout()
    assert playout.put(bytes(CAPACITY_BYTES - 1), now=0) == 0
    assert playout.put(bytes(160), now=0) == 159
    assert playout.pending == CAPACITY_BYTES
    assert playout.media[1].discarded == 159
    assert playout.put(bytes(160), now=160) == 0


def test_the_end_of_the_stream_drops_audio_and_echoes_no_mark() -> None:
    playout = Playout()
    playout.put(b"a" * 100, now=0)
    playout.mark("lost", now=0)
    assert playout.end(now=40) == 60
    playout.advance(400)
    assert playout.take_audio() == [(0, b"a" * 40)]
    assert playout.take_echoes() == []
    assert playout.marks == [MarkRecord("lost", queued=0)]


def test_time_never_runs_backwards() -> None:
    playout = Playout()
    playout.put(b"a" * 100, now=0)
    playout.advance(50)
    playout.mark("late news", now=20)
    playout.clear(now=30)
    assert playout.clears[0].at == 50
    assert playout.marks[0].queued == 50


@dataclass
class ByteByByte:
    """The same buffer written the slow, obvious way."""

    now: int = 0
    queue: deque[int | str] = field(default_factory=deque)
    played: list[tuple[int, int]] = field(default_factory=list)
    echoes: list[tuple[str, int, str, int]] = field(default_factory=list)
    cleared: list[tuple[int, int, int]] = field(default_factory=list)

    def pending(self) -> int:
        return sum(isinstance(token, int) for token in self.queue)

    def pass_marks(self) -> None:
        while self.queue and isinstance(self.queue[0], str):
            self.echoes.append((str(self.queue.popleft()), self.now, "play", len(self.played)))

    def advance(self, now: int) -> None:
        while self.now < now:
            if self.queue:
                byte = self.queue.popleft()
                assert isinstance(byte, int)
                self.played.append((self.now, byte))
            self.now += 1
            self.pass_marks()

    def put(self, audio: bytes) -> None:
        self.queue.extend(audio[: CAPACITY - self.pending()])

    def mark(self, name: str) -> None:
        self.queue.append(name)
        self.pass_marks()

    def clear(self) -> None:
        self.cleared.append((self.now, self.pending(), len(self.played)))
        names = [token for token in self.queue if isinstance(token, str)]
        self.echoes.extend((name, self.now, "clear", len(self.played)) for name in names)
        self.queue.clear()


happenings = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.one_of(
            st.binary(max_size=25), st.text("abc", min_size=1, max_size=3), st.just(None), st.integers(0, 12)
        ),
    ),
    max_size=30,
)


@given(happenings)
def test_it_does_what_playing_byte_by_byte_would_do(
    steps: list[tuple[int, bytes | str | int | None]],
) -> None:
    playout, model = Playout(capacity=CAPACITY), ByteByByte()
    now = 0
    for wait, happening in steps:
        now += wait
        model.advance(now)
        match happening:
            case bytes():
                playout.put(happening, now)
                model.put(happening)
            case str():
                playout.mark(happening, now)
                model.mark(happening)
            case int():  # played in small steps or at one go: no difference
                for moment in range(playout.now, now, happening + 1):
                    playout.advance(moment)
            case None:
                playout.clear(now)
                model.clear()
    now += CAPACITY + 1
    playout.advance(now)
    model.advance(now)
    played = [(start + k, byte) for start, run in playout.take_audio() for k, byte in enumerate(run)]
    assert played == model.played
    assert [
        (mark.name, mark.echoed, mark.by, mark.position) for mark in playout.take_echoes()
    ] == model.echoes
    assert [(clear.at, clear.dropped, clear.position) for clear in playout.clears] == model.cleared
    for media in playout.media:
        assert media.size == media.played + media.cleared + media.discarded
        assert media.started is None or media.started >= media.received
    assert playout.position == len(model.played)
    assert playout.pending == 0


@given(happenings)
def test_the_next_echo_comes_when_it_was_announced(steps: list[tuple[int, bytes | str | int | None]]) -> None:
    playout = Playout()
    now = 0
    for wait, happening in steps:
        now += wait
        if isinstance(happening, bytes):
            playout.put(happening, now)
        elif isinstance(happening, str):
            playout.mark(happening, now)
    playout.take_echoes()
    while (announced := playout.next_echo()) is not None:
        playout.advance(announced - 1)
        assert playout.take_echoes() == []
        playout.advance(announced)
        echoed = playout.take_echoes()
        assert echoed
        assert all(mark.echoed == announced for mark in echoed)
