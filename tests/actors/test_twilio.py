"""TwilioActor: what the caller hears, what goes out in which order, what is told of it to whom."""

import base64
import heapq
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.member import NoAudience
from actors.messages import (
    AssistantAudio,
    AssistantAudioDone,
    Attach,
    Cleared,
    CutOff,
    DeadlinePassed,
    Exited,
    HeardSoFar,
    Interrupt,
    MarkEchoed,
    Playback,
    Played,
    PlaySound,
    Queued,
    StreamStopped,
)
from actors.twilio import DEAF_SECONDS, HEARD_STEP_MS, TwilioActor
from tests.conftest import ExpectedLogs
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, HandClock, Probe
from wire.latency import InterruptionLatency, Onset, SpeechEdge
from wire.playback import Heard, Part

STREAM = "MZbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
A, B = Part("item_a", 0), Part("item_b", 0)
SILENT, ASSISTANT, SOUND, BOTH = (
    Playback(assistant=assistant, sound=sound)
    for assistant, sound in [(False, False), (True, False), (False, True), (True, True)]
)
FILLER = PlaySound("filler", bytes(range(256)) * 8)


class Phone:
    """An unstarted TwilioActor with everything around it, and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parent = Probe("call")
        self.model = Probe("model")
        self.listeners = Probe("listeners")
        self.socket = FakeMediaSocket()
        self.timers = HandClock()
        self.actor = TwilioActor(
            self.parent,
            "CA1",
            STREAM,
            self.socket,
            self.listeners,
            timers=self.timers,
            clock=lambda: self.now,
        )
        self.handle(Attach(self.model))
        self.model.expect(Playback)

    def handle(self, *messages: Any) -> None:
        for message in messages:
            self.actor.handle(message)

    def take_from_mailbox(self, *messages: Any) -> None:
        """Put all of them into the mailbox before the first is handled."""
        for message in messages:
            self.actor.actor_ref.tell(message)
        while not self.actor.mailbox.empty():
            self.actor.on_receive(self.actor.mailbox.get().message)

    def events(self) -> list[str]:
        return [message["event"] for message in self.socket.sent()]

    def marks(self) -> list[str]:
        """The names of those that were sent."""
        return [message["mark"]["name"] for message in self.socket.sent() if message["event"] == "mark"]

    def cut_off(self) -> list[CutOff]:
        """What was told of it, to the model and to the call alike."""
        told, to_call = (
            [message for message in probe.told() if isinstance(message, CutOff)]
            for probe in (self.model, self.parent)
        )
        assert told == to_call
        return told

    def heard(self) -> list[tuple[str, int, int, bool]]:
        """What the call was told of how far the caller has come: item, heard ms, queued ms, whether to the end."""
        return [
            (each.heard.part.item_id, each.heard.heard_ms, each.heard.queued_ms, each.to_the_end)
            for each in self.parent.told()
            if isinstance(each, HeardSoFar)
        ]

    def playback(self) -> list[Playback]:
        """What was told of it, to the model and to the call alike."""
        told, to_call = (
            [message for message in probe.told() if isinstance(message, Playback)]
            for probe in (self.model, self.parent)
        )
        assert told == to_call
        return told


@pytest.fixture
def phone() -> Phone:
    return Phone()


def audio(part: Part = A, duration_ms: float = 200, response: str = "resp_1") -> AssistantAudio:
    payload = base64.b64encode(b"\xff" * int(duration_ms * 8)).decode()
    return AssistantAudio(duration_ms, response, part, payload)


def test_audio_goes_out_unchanged_with_a_mark_behind_it(phone: Phone) -> None:
    piece = audio()
    phone.handle(piece)
    media, mark = phone.socket.sent()
    assert media == {"event": "media", "streamSid": STREAM, "media": {"payload": piece.payload}}
    assert mark["event"] == "mark"
    assert mark["streamSid"] == STREAM


def test_marks_are_unique_over_interruptions(phone: Phone) -> None:
    for number in range(5):
        for _ in range(4):
            phone.handle(audio(Part(f"item_{number}", 0), response=f"resp_{number}"))
        phone.handle(Interrupt(frozenset({f"resp_{number}"})))
    marks = [message["mark"]["name"] for message in phone.socket.sent() if message["event"] == "mark"]
    assert len(marks) == len(set(marks)) == 20


def test_an_interruption_overtakes_waiting_audio_and_its_clear_goes_out_first(phone: Phone) -> None:
    phone.handle(audio())
    phone.socket.sent()
    phone.take_from_mailbox(
        audio(), audio(), audio(B, response="resp_2"), Interrupt(frozenset({"resp_1"})), MarkEchoed("0-1")
    )
    assert phone.events() == ["clear", "media", "mark"]


def test_an_interruption_when_nothing_is_playing_sends_and_reports_nothing(phone: Phone) -> None:
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.model.told() == phone.parent.told() == []


def test_an_interruption_after_everything_was_heard_sends_and_reports_nothing(phone: Phone) -> None:
    """protocol-gotchas 12"""
    phone.handle(audio(), AssistantAudioDone(0.0, A))
    mark = phone.socket.sent()[-1]["mark"]["name"]
    phone.now += 0.25
    phone.handle(MarkEchoed(mark), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.cut_off() == []


def test_generation_that_ended_long_before_playback_does_not_spare_the_clear(phone: Phone) -> None:
    """protocol-gotchas 8"""
    for _ in range(50):
        phone.handle(audio())
    phone.handle(AssistantAudioDone(0.0, A))
    phone.socket.sent()
    phone.now += 3.0
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["clear"]
    assert phone.cut_off() == [CutOff((Heard(A, 3000),))]


def test_what_was_cut_off_is_told_to_the_millisecond(phone: Phone) -> None:
    phone.handle(audio(A, 3000), audio(B, 4000))
    phone.now += 4.256
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.cut_off() == [CutOff((Heard(A, 3000), Heard(B, 1256)))]


def test_the_round_trip_of_the_marks_is_taken_into_account(phone: Phone) -> None:
    phone.handle(audio(A, 1000), audio(A, 4000))
    mark = phone.socket.sent()[1]["mark"]["name"]
    phone.now += 1.125  # 125 ms of it were on the way
    phone.handle(MarkEchoed(mark))
    phone.now += 0.5
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.cut_off() == [CutOff((Heard(A, 1625),))]


def test_echoes_of_cleared_marks_mean_nothing(phone: Phone) -> None:
    """protocol-gotchas 10"""
    for _ in range(5):
        phone.handle(audio())
    cleared = [message["mark"]["name"] for message in phone.socket.sent() if message["event"] == "mark"]
    phone.handle(Interrupt(frozenset({"resp_1"})))
    phone.cut_off()
    phone.handle(audio(B, 5000, "resp_2"), *(MarkEchoed(name) for name in cleared))
    phone.now += 1.0
    phone.handle(Interrupt(frozenset({"resp_2"})))
    assert phone.cut_off() == [CutOff((Heard(B, 1000),))]
    assert phone.events() == ["clear", "media", "mark", "clear"]


def test_audio_of_a_dead_response_in_the_mailbox_is_dropped_and_reported_unheard_once(phone: Phone) -> None:
    phone.take_from_mailbox(audio(), audio(), audio(), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == []
    assert phone.cut_off() == [CutOff((Heard(A, 0),))]
    phone.handle(audio())
    assert phone.cut_off() == []


def test_late_audio_of_a_part_that_was_cut_off_does_not_report_it_again(phone: Phone) -> None:
    """protocol-gotchas 11"""
    phone.handle(audio(A, 3000))
    phone.now += 1.0
    phone.handle(Interrupt(frozenset({"resp_1"})), audio(), audio())
    assert phone.cut_off() == [CutOff((Heard(A, 1000),))]
    assert phone.events() == ["media", "mark", "clear"]


def test_a_dead_response_stays_dead_after_the_next_interruption(phone: Phone) -> None:
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})), Interrupt(frozenset({"resp_2"})))
    phone.socket.sent()
    phone.handle(audio())
    assert phone.events() == []


def test_the_next_response_is_played_after_an_interruption(phone: Phone) -> None:
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})))
    phone.socket.sent()
    phone.handle(audio(B, response="resp_2"))
    assert phone.events() == ["media", "mark"]


def test_without_a_model_an_interruption_still_clears(phone: Phone) -> None:
    phone.model.die()
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["media", "mark", "clear"]


def test_a_socket_that_refuses_stops_the_stream_once_and_harms_nothing(phone: Phone) -> None:
    phone.socket.refusal = BrokenPipeError("the caller is gone")
    phone.handle(audio(), audio(), Interrupt(frozenset({"resp_1"})))
    [stopped] = [message for message in phone.parent.told() if isinstance(message, StreamStopped)]
    assert "the caller is gone" in stopped.reason
    assert not stopped.by_twilio  # the caller may still be there


def stopped(phone: Phone) -> list[str]:
    return [message.reason for message in phone.parent.told() if isinstance(message, StreamStopped)]


def test_a_phone_that_plays_nothing_any_more_is_given_up(phone: Phone) -> None:
    """Its kernel goes on taking what it is sent, so that no socket tells."""
    phone.handle(audio(duration_ms=3000), audio(duration_ms=1000))
    assert phone.timers.expire(DeadlinePassed(DeadlinePassed.DEAF)) == 3 + DEAF_SECONDS
    phone.now += 3 + DEAF_SECONDS
    phone.handle(DeadlinePassed(DeadlinePassed.DEAF))
    assert stopped(phone) == ["the phone has played nothing for 5 s"]
    phone.handle(DeadlinePassed(DeadlinePassed.DEAF), audio())
    assert stopped(phone) == []


def test_a_phone_that_plays_late_is_waited_for(phone: Phone) -> None:
    phone.handle(audio(duration_ms=3000), audio(duration_ms=1000))
    [first, second] = phone.marks()
    phone.timers.expire(DeadlinePassed(DeadlinePassed.DEAF))
    phone.now += 3 + DEAF_SECONDS - 0.5
    phone.handle(MarkEchoed(first))
    phone.now += 0.5
    phone.handle(DeadlinePassed(DeadlinePassed.DEAF))
    assert phone.timers.expire(DeadlinePassed(DeadlinePassed.DEAF)) == pytest.approx(1)
    phone.handle(MarkEchoed(second))
    phone.now += 1
    phone.handle(DeadlinePassed(DeadlinePassed.DEAF))
    assert stopped(phone) == []
    assert phone.timers.timers == []


def test_the_socket_is_closed_with_code_1000_when_the_actor_stops() -> None:
    parent, socket = Probe(), FakeMediaSocket()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.stop(timeout=PATIENCE_SECONDS)
    assert socket.journal == ["phone closed 1000"]
    assert parent.expect(Exited) == Exited(ref, None)


# What is told of what the caller hears


def test_whether_something_can_be_heard_is_told_when_it_changes(phone: Phone) -> None:
    phone.handle(audio(), audio())
    assert phone.playback() == [ASSISTANT]
    first, second = phone.marks()
    phone.now += 0.2
    phone.handle(MarkEchoed(first))
    assert phone.playback() == []
    phone.now += 0.2
    phone.handle(MarkEchoed(second))
    assert phone.playback() == [SILENT]


def test_a_clear_ends_what_can_be_heard_and_its_echoes_change_nothing(phone: Phone) -> None:
    phone.handle(audio(), audio())
    [first, second] = phone.marks()
    phone.playback()
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.playback() == [SILENT]
    phone.handle(MarkEchoed(first), MarkEchoed(second))
    assert phone.playback() == []


def test_a_sound_of_ours_is_told_apart_from_the_assistant(phone: Phone) -> None:
    phone.handle(FILLER)
    [sound] = phone.marks()
    phone.handle(audio())
    [assistant] = phone.marks()
    assert phone.playback() == [SOUND, BOTH]
    phone.now += 0.256
    phone.handle(MarkEchoed(sound))
    assert phone.playback() == [ASSISTANT]
    phone.now += 0.2
    phone.handle(MarkEchoed(assistant))
    assert phone.playback() == [SILENT]


def test_a_sound_between_two_pieces_of_an_answer_is_over_before_it(phone: Phone) -> None:
    phone.handle(audio(), FILLER, audio())
    first, sound, last = phone.marks()
    phone.playback()
    phone.now += 0.2
    phone.handle(MarkEchoed(first))
    assert phone.playback() == []  # the assistant can be heard again behind the sound
    phone.now += 0.256
    phone.handle(MarkEchoed(sound))
    assert phone.playback() == [ASSISTANT]
    phone.now += 0.2
    phone.handle(MarkEchoed(last))
    assert phone.playback() == [SILENT]


def test_a_sound_goes_out_as_it_is_and_nobody_is_told_that_it_was_heard(phone: Phone) -> None:
    phone.handle(FILLER)
    media, mark = phone.socket.sent()
    assert base64.b64decode(media["media"]["payload"]) == FILLER.ulaw
    phone.now += 0.256
    phone.handle(MarkEchoed(mark["mark"]["name"]))
    assert phone.heard() == []


def test_an_interruption_cuts_a_sound_off_and_the_model_need_not_know(phone: Phone) -> None:
    phone.handle(FILLER, audio())
    phone.now += 0.1
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["media", "mark", "media", "mark", "clear"]
    assert phone.cut_off() == [CutOff((Heard(A, 0),))]
    phone.handle(FILLER, Interrupt(frozenset()))
    assert phone.events() == ["media", "mark", "clear"]
    assert phone.cut_off() == []


def test_nobody_is_told_of_a_sound_that_ended_before_its_mark_came_back(phone: Phone) -> None:
    phone.handle(FILLER, audio())
    phone.now += 0.3
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.heard() == []


def test_a_sound_that_was_played_before_is_played_again(phone: Phone) -> None:
    for _ in range(3):
        phone.handle(FILLER)
        [mark] = phone.marks()
        phone.now += 0.3
        phone.handle(MarkEchoed(mark))
        assert phone.playback() == [SOUND, SILENT]


def test_how_far_the_caller_has_come_is_told_every_so_often_and_at_the_end(phone: Phone) -> None:
    for _ in range(6):
        phone.handle(audio(A, 200))
    phone.handle(AssistantAudioDone(0.0, A))
    for mark in phone.marks():
        phone.now += 0.2
        phone.handle(MarkEchoed(mark))
    assert HEARD_STEP_MS == 500
    assert phone.heard() == [("item_a", 600, 1200, False), ("item_a", 1200, 1200, True)]


def test_what_was_heard_last_is_told_even_if_the_end_never_comes(phone: Phone) -> None:
    """A session that is lost in mid-answer: another goes on exactly there."""
    phone.handle(audio(A, 200), audio(A, 100))
    for mark in phone.marks():
        phone.now += 0.2
        phone.handle(MarkEchoed(mark))
    assert phone.heard() == [("item_a", 300, 300, False)]


def test_an_end_that_is_known_only_after_it_was_heard_is_told(phone: Phone) -> None:
    phone.handle(audio(A, 200))
    [mark] = phone.marks()
    phone.now += 0.2
    phone.handle(MarkEchoed(mark), AssistantAudioDone(0.0, A))
    assert phone.heard() == [("item_a", 200, 200, False), ("item_a", 200, 200, True)]
    phone.handle(AssistantAudioDone(0.0, A))
    assert phone.heard() == []


def test_an_answer_whose_end_was_heard_before_its_mark_came_back_was_heard_to_its_end(phone: Phone) -> None:
    phone.handle(audio(A, 200), AssistantAudioDone(0.0, A), audio(B, 1000))
    phone.now += 0.7
    phone.handle(Interrupt(frozenset({"resp_1"})))
    told = phone.parent.told()
    assert [message for message in told if isinstance(message, CutOff)] == [CutOff((Heard(B, 500),))]
    assert [message for message in told if isinstance(message, HeardSoFar)] == [
        HeardSoFar(Heard(A, 200), True)
    ]


def test_what_a_lost_session_was_saying_is_played_and_then_forgotten(phone: Phone) -> None:
    """The next session has never heard of that item, so it must not be asked to truncate it."""
    phone.handle(audio(A, 1000), Attach(None))
    [mark] = phone.marks()
    phone.handle(Attach(next_model := Probe("next model")))
    assert next_model.told() == [ASSISTANT]
    phone.now += 1.0
    phone.handle(MarkEchoed(mark))
    assert next_model.told() == [SILENT]
    assert phone.heard() == [("item_a", 1000, 1000, False)]
    phone.handle(Interrupt(frozenset()))
    assert next_model.told() == []


def test_after_a_lost_session_the_next_answers_are_heard_to_their_ends(phone: Phone) -> None:
    phone.handle(audio(A, 1000), Attach(None))
    [mark] = phone.marks()
    phone.now += 1.0
    phone.handle(MarkEchoed(mark), Attach(Probe("next model")))
    phone.heard()
    phone.handle(audio(B, 200, "resp_2"), AssistantAudioDone(0.0, B))
    [mark] = phone.marks()
    phone.now += 0.2
    phone.handle(MarkEchoed(mark))
    assert phone.heard() == [("item_b", 200, 200, True)]


def test_a_session_that_takes_over_is_told_what_can_be_heard(phone: Phone) -> None:
    phone.handle(FILLER, Attach(next_model := Probe("next model")))
    assert next_model.told() == [SOUND]
    phone.model.told()
    phone.handle(audio())
    assert next_model.told() == [BOTH]
    assert phone.model.told() == []


def test_the_model_is_told_when_its_answer_was_first_heard(phone: Phone) -> None:
    silence, voice = b"\xff" * 800, b"\x00" * 800
    for ulaw in (silence, voice, voice):
        payload = base64.b64encode(ulaw).decode()
        phone.handle(AssistantAudio(100.0, "resp_1", A, payload, received_at=99.9))
    for mark in phone.marks():
        phone.now += 0.1
        phone.handle(MarkEchoed(mark))
    [onset] = [message for message in phone.model.told() if isinstance(message, Onset)]
    assert (onset.response_id, onset.silent_ms, onset.received_at) == ("resp_1", 100.0, 99.9)
    assert onset.heard_at == pytest.approx(100.1)


def test_the_call_is_told_how_long_it_took_until_the_caller_heard_nothing(phone: Phone) -> None:
    phone.handle(audio(), audio())
    marks = phone.marks()
    phone.now += 0.1
    phone.handle(Interrupt(frozenset({"resp_1"}), SpeechEdge(at=99.8, detected_at=100.05)))
    phone.now += 0.04
    phone.handle(*map(MarkEchoed, marks))
    [latency] = [message for message in phone.parent.told() if isinstance(message, InterruptionLatency)]
    assert latency.us_ms == pytest.approx(50)
    assert latency.vad_ms == pytest.approx(250)
    assert latency.twilio_ms == pytest.approx(40)


def test_listeners_are_told_what_goes_to_the_caller_and_not_what_is_dropped(phone: Phone) -> None:
    phone.handle(audio(), Interrupt(frozenset({"resp_1"})), audio(), audio(B, response="resp_2"))
    heard = [message.part for message in phone.listeners.told() if isinstance(message, AssistantAudio)]
    assert heard == [A, B]


def test_listeners_are_told_what_was_queued_what_was_played_and_what_was_cleared(phone: Phone) -> None:
    phone.handle(audio(A, 250), FILLER)
    first, second = phone.marks()
    phone.now += 0.25
    phone.handle(MarkEchoed(first, position_ms=5120.0, echoed_at=100.19))
    phone.now += 0.125
    phone.handle(Interrupt(frozenset({"resp_1"})), MarkEchoed(second))
    phone.handle(Interrupt(frozenset()), FILLER)
    [third] = phone.marks()
    told = [message for message in phone.listeners.told() if not isinstance(message, AssistantAudio)]
    assert told == [
        Queued(250, audio(A, 250).payload, first, 0, 0.0, 100.0),
        Queued(256.0, base64.b64encode(FILLER.ulaw).decode(), second, 0, 250.0, 100.0),
        Played(0.0, first, 5120.0, 100.19),
        Cleared(0.0, 0, 375.0),
        Queued(256.0, base64.b64encode(FILLER.ulaw).decode(), third, 2, 0.0, phone.now),
    ]


def test_answers_and_sounds_that_were_heard_leave_nothing_behind(phone: Phone) -> None:
    for number in range(50):
        part = Part(f"item_{number}", 0)
        phone.handle(audio(part, 2000), audio(part, 200), AssistantAudioDone(0.0, part), FILLER)
        for mark in phone.marks():
            phone.now += 2
            phone.handle(MarkEchoed(mark))
    assert len(phone.actor._told_ms) == len(phone.actor._ledger._segments) == 0


def test_answers_that_were_cut_off_leave_nothing_behind(phone: Phone) -> None:
    for number in range(50):
        part, response = Part(f"item_{number}", 0), f"resp_{number}"
        phone.handle(audio(part, 2000, response), audio(part, 2000, response))
        phone.now += 2
        phone.handle(MarkEchoed(phone.marks()[0]), Interrupt(frozenset({response})))
    assert len(phone.actor._told_ms) == len(phone.actor._ledger._segments) == 0


# Small pieces


def voice(part: Part = A, duration_ms: float = 20) -> AssistantAudio:
    """A piece that can be heard, and is too small for a mark of its own."""
    return AssistantAudio(
        duration_ms, "resp_1", part, base64.b64encode(b"\x10" * int(duration_ms * 8)).decode()
    )


def test_small_pieces_share_a_mark_as_long_as_one_is_awaited(phone: Phone) -> None:
    phone.handle(*[voice() for _ in range(21)])
    assert phone.events() == ["media", "mark", *["media"] * 10, "mark", *["media"] * 10, "mark"]


@given(
    lead_ms=st.sampled_from([0, 40, 200, 3000]),
    latency_ms=st.integers(0, 150),
    jitter_ms=st.integers(0, 15),
    pause=st.tuples(st.integers(0, 100), st.integers(0, 1200)),
    interrupted_at_ms=st.integers(1, 3000),
    chance=st.randoms(use_true_random=False),
)
def test_what_was_heard_is_known_between_the_marks_that_small_pieces_share(
    lead_ms: int,
    latency_ms: int,
    jitter_ms: int,
    pause: tuple[int, int],
    interrupted_at_ms: int,
    chance: Random,
) -> None:
    """To the piece, and to what an echo may be late. The model pauses once, for so long, after so many pieces."""
    phone = Phone()
    phone.actor._listeners = NoAudience()
    after, pause_ms = pause
    due = [(max(20 * k - lead_ms, 0) + (pause_ms if k > after else 0), k, voice()) for k in range(200)]
    coming: list[tuple[float, int, object]] = [*due, (interrupted_at_ms, -1, Interrupt(frozenset()))]
    heapq.heapify(coming)
    played: list[tuple[float, float]] = []
    while phone.now * 1000 < interrupted_at_ms + 100_000:
        at_ms, _, message = heapq.heappop(coming)
        phone.now = 100 + at_ms / 1000
        phone.handle(message)
        for sent in phone.socket.sent():
            begins_ms = max(at_ms + latency_ms, played[-1][1] if played else 0.0)
            if sent["event"] == "media":
                played.append((begins_ms, begins_ms + 20))
            elif sent["event"] == "mark":
                back_ms = begins_ms + latency_ms + chance.uniform(0, jitter_ms)
                heapq.heappush(coming, (back_ms, len(coming) + 1000, MarkEchoed(sent["mark"]["name"])))
    cleared_at_ms = interrupted_at_ms + latency_ms
    true_ms = sum(max(min(end, cleared_at_ms) - begin, 0.0) for begin, end in played)
    cut_off = phone.cut_off()
    if cut_off:
        [[heard]] = [each.heard for each in cut_off]
        assert heard.heard_ms == pytest.approx(true_ms, abs=20 + jitter_ms)
    else:
        assert not played or true_ms == pytest.approx(20 * len(played), abs=20 + jitter_ms)


def test_the_last_small_piece_gets_its_mark_when_the_one_before_it_was_heard(phone: Phone) -> None:
    """The model may stop in the middle of an answer: that nothing is heard any more, must be known."""
    phone.handle(voice(), voice(), voice())
    [first] = phone.marks()
    phone.now += 0.06
    phone.handle(MarkEchoed(first))
    [last] = phone.marks()
    assert phone.playback() == [ASSISTANT]
    phone.handle(MarkEchoed(last))
    assert phone.playback() == [SILENT]
    assert phone.marks() == []


def test_the_last_small_piece_gets_its_mark_when_the_model_has_finished(phone: Phone) -> None:
    phone.handle(voice(), voice(), AssistantAudioDone(0.0, A))
    first, last = phone.marks()
    phone.handle(MarkEchoed(first), MarkEchoed(last))
    assert phone.heard()[-1] == ("item_a", 40, 40, True)
    assert phone.marks() == []


def test_a_clear_takes_the_small_pieces_along_whose_mark_was_not_sent(phone: Phone) -> None:
    phone.handle(voice(), voice(), voice())
    [first] = phone.marks()
    phone.now += 0.03
    phone.handle(Interrupt(frozenset({"resp_1"})), MarkEchoed(first))
    assert phone.events() == ["clear"]
    assert phone.cut_off() == [CutOff((Heard(A, 30, 60),))]
    phone.handle(AssistantAudio(20, "resp_2", B, voice().payload))
    assert phone.events() == ["media", "mark"]


def test_an_answer_that_begins_with_silence_has_the_mark_that_its_latency_is_measured_by(
    phone: Phone,
) -> None:
    phone.handle(audio(A, 20), audio(A, 20), voice(), voice())
    assert phone.events() == ["media", "mark"] * 3 + ["media"]


# A queue has formed


def test_what_has_queued_up_goes_out_in_few_writes_and_in_its_order(phone: Phone) -> None:
    pieces = [audio(A, 100 + number) for number in range(20)]
    phone.take_from_mailbox(*pieces)
    sent = phone.socket.sent()
    assert [message["event"] for message in sent] == ["media", "mark"] * 20
    assert [each["media"]["payload"] for each in sent[::2]] == [piece.payload for piece in pieces]
    assert phone.socket.writes == 3


@pytest.mark.parametrize(
    "last", [AssistantAudioDone(0.0, A), AssistantAudioDone(0.0, B), audio(B, response="dead")]
)
def test_whatever_comes_last_nothing_stays_unsent(phone: Phone, last: Any) -> None:
    phone.handle(Interrupt(frozenset({"dead"})))
    phone.take_from_mailbox(audio(), last)
    assert phone.events() == ["media", "mark"]


def test_a_clear_goes_out_behind_what_was_queued_before_it(phone: Phone) -> None:
    phone.actor.actor_ref.tell(audio())
    phone.handle(audio())
    assert phone.events() == []
    phone.handle(Interrupt(frozenset({"resp_1"})))
    assert phone.events() == ["media", "mark", "clear"]


# A socket that does not take what it is sent


def test_audio_behind_a_stalled_phone_is_bounded_and_its_loss_is_logged(logs: ExpectedLogs) -> None:
    logs.expect("CA1: 2000 ms of the assistant's audio were dropped")
    parent, socket = Probe(), FakeMediaSocket()
    socket.block()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.tell(audio())
    assert socket.sending.wait(PATIENCE_SECONDS)
    for number in range(61):
        ref.tell(AssistantAudio(2000, "resp_1", Part(f"item_{number}", 0), "AAAA"))
    stopped = ref.stop(block=False)
    socket.unblock()
    stopped.get(timeout=PATIENCE_SECONDS)
    parent.expect(Playback)
    parent.expect(Exited)


def test_control_reaches_a_busy_phone_before_its_backlog() -> None:
    parent, model, socket = Probe(), Probe(), FakeMediaSocket()
    socket.block()
    ref = TwilioActor.start(parent, "CA1", STREAM, socket)
    ref.tell(Attach(model))
    ref.tell(audio())
    assert socket.sending.wait(PATIENCE_SECONDS)
    for _ in range(50):
        ref.tell(audio())
    ref.tell(Interrupt(frozenset({"resp_1"})))
    socket.unblock()
    assert [socket.expect(event)["event"] for event in ("media", "mark", "clear")]
    assert [type(model.expect(kind)) for kind in (Playback, Playback, CutOff)]
    ref.stop(timeout=PATIENCE_SECONDS)
    assert socket.sent() == []
