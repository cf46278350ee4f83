"""The latencies against a phone that plays in real time behind a network with latency."""

from base64 import b64decode, b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.playout import Playout
from wire.g711 import BYTES_PER_MS, FRAME_MS, ULAW_SILENCE
from wire.latency import (
    REMEMBERED_FRAMES,
    AssistantVoice,
    CallerTurns,
    InterruptionLatency,
    Onset,
    SpeechEdge,
    TurnLatency,
)
from wire.playback import Ledger, Part

PREFIX_MS = 300
SILENCE_MS = 500
LOUD = b"\x80"
FAINT = b"\xf0"
CALLER = SpeechEdge(at=1.0, detected_at=1.2)


def near(value: Any, tolerance: float = 1e-6) -> Any:
    """`pytest.approx` that may stand where a number is expected."""
    return pytest.approx(value, abs=tolerance)


def onset(response_id: str, heard_at: float = 3.0, received_at: float = 2.5) -> Onset:
    return Onset(response_id, received_at, received_at + 0.01, 0.0, heard_at, one_way_ms=0.0)


def turns(seconds: int = 10) -> CallerTurns:
    """A session that has had so much audio, a frame every 20 ms from time 0 on."""
    made = CallerTurns(PREFIX_MS, SILENCE_MS)
    for frame in range(seconds * 50):
        made.appended(20, arrived_at=(frame + 1) * 0.02)
    return made


def payload(ms: float, silent_ms: float = 0.0) -> str:
    silent, loud = int(silent_ms * BYTES_PER_MS), int((ms - silent_ms) * BYTES_PER_MS)
    return b64encode(ULAW_SILENCE * silent + LOUD * loud).decode()


# The caller's speech on the clock of appended audio.


def test_the_end_of_speech_is_before_the_silence_that_proved_it() -> None:
    assert turns(5).speech_stopped(4000, now=4.1) == SpeechEdge(at=near(3.5), detected_at=4.1)


def test_the_start_of_speech_is_behind_the_prefix_padding() -> None:
    assert turns(5).speech_started(4000, now=4.5) == SpeechEdge(at=near(4.3), detected_at=4.5)


def test_silence_in_place_of_lost_audio_counts_on_the_clock() -> None:
    made = CallerTurns(prefix_padding_ms=0, silence_duration_ms=0)
    for frame in range(100):
        made.appended(20, arrived_at=10.02 + frame * 0.02)
    made.appended(300, arrived_at=12.30)
    made.appended(20, arrived_at=12.32)
    found = [made.speech_stopped(end_ms, now=13.0).at for end_ms in (1000, 2000, 2100, 2320)]
    assert found == [near(11.0), near(12.0), near(12.1), near(12.32)]


def test_a_position_within_a_frame_was_spoken_before_its_end() -> None:
    made = turns(5)
    assert made.speech_stopped(4013, now=4.1).at == near(3.513)


def test_what_was_not_appended_yet_has_no_time() -> None:
    assert turns(1).speech_stopped(1000 + SILENCE_MS + 1, now=1.0).at is None
    assert turns(1).speech_started(1000 - PREFIX_MS + 1, now=1.0).at is None


def test_what_was_long_ago_has_no_time_and_the_last_twenty_seconds_have() -> None:
    made = turns(100)
    kept_ms = REMEMBERED_FRAMES * 20
    assert made.speech_stopped(100_000 - 2 * kept_ms, now=100.0).at is None
    for back in range(SILENCE_MS, kept_ms, 500):
        expected = near(100 - back / 1000)
        assert made.speech_stopped(100_000 - back + SILENCE_MS, now=100.0).at == expected


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=50),
    st.sampled_from([0, REMEMBERED_FRAMES - 20, 3 * REMEMBERED_FRAMES - 20]),
    st.data(),
)
def test_the_moment_is_that_of_the_frame_in_which_a_position_stands(
    durations: list[int], before: int, data: st.DataObject
) -> None:
    made = CallerTurns(prefix_padding_ms=0, silence_duration_ms=0)
    frames, end_ms = [], 0
    for number, duration_ms in enumerate([20] * before + durations):
        end_ms += duration_ms
        made.appended(duration_ms, arrived_at=number * 10.0)
        frames.append((end_ms, number * 10.0))
    position_ms = data.draw(st.integers(max(end_ms - 2000, 0), end_ms + 50))
    # Of the oldest of those remembered, it is not known where it began.
    known = frames[-REMEMBERED_FRAMES:][len(frames) >= REMEMBERED_FRAMES + 1 :]
    begin_ms = frames[len(frames) - len(known) - 1][0] if len(known) < len(frames) else 0
    expected = next((near(at - (end - position_ms) / 1000) for end, at in known if position_ms <= end), None)
    assert made.speech_stopped(position_ms, now=0.0).at == (expected if position_ms > begin_ms else None)


def test_a_start_whose_padding_was_clipped_by_the_turn_before_it_has_no_time() -> None:
    made = turns(5)
    assert made.speech_started(0, now=1.0).at is None
    made.speech_stopped(2000, now=2.1)
    assert made.speech_started(2000, now=2.6).at is None
    assert made.speech_started(2001, now=2.6).at == near(2.301)


def test_semantic_detection_says_when_it_noticed_but_not_when_it_was() -> None:
    made = CallerTurns(prefix_padding_ms=None, silence_duration_ms=None)
    made.appended(2000, arrived_at=2.0)
    assert made.speech_started(1000, now=1.5) == SpeechEdge(None, 1.5)
    made.speech_stopped(2000, now=2.1)
    made.response_created("resp_1")
    latency = made.heard(onset("resp_1"))
    assert latency is not None
    assert (latency.answer_ms, latency.vad_ms, latency.model_ms) == (None, None, near(400))


# Which response answers.


def asked() -> CallerTurns:
    """A turn that ended at 1.5 s, as was known at 2.1 s."""
    made = turns()
    made.speech_stopped(2000, now=2.1)
    return made


def test_the_first_response_after_a_turn_is_its_answer() -> None:
    made = asked()
    made.response_created("resp_1")
    assert made.heard(onset("resp_1")) == TurnLatency(
        vad_ms=near(600),
        model_ms=near(400),
        us_ms=near(10),
        twilio_ms=near(490),
    )


def test_a_greeting_answers_nobody() -> None:
    made = turns()
    made.response_created("resp_greeting")
    assert made.heard(onset("resp_greeting")) is None


def test_an_answer_behind_an_answer_has_no_latency() -> None:
    made = asked()
    made.response_created("resp_1")
    made.response_created("resp_2")
    assert made.heard(onset("resp_1"))
    assert made.heard(onset("resp_1")) is None
    assert made.heard(onset("resp_2")) is None


def test_a_text_only_answer_is_not_measured_by_what_is_said_later() -> None:
    made = asked()
    made.response_created("resp_text")
    made.response_done("resp_text", followed=False)
    made.response_created("resp_prompt")
    assert made.heard(onset("resp_prompt", heard_at=20.0)) is None


def test_a_tools_result_answers_the_turn_if_nothing_was_said_before_it() -> None:
    made = asked()
    made.response_created("resp_call")
    made.response_done("resp_call", followed=True)
    made.response_created("resp_result")
    latency = made.heard(onset("resp_result", received_at=4.5, heard_at=4.7))
    assert latency is not None
    assert latency.answer_ms == near(3200)
    assert latency.model_ms == near(2400)


def test_what_was_said_before_a_tools_result_is_the_answer() -> None:
    made = asked()
    made.response_created("resp_call")
    made.response_done("resp_call", followed=True)
    made.response_created("resp_result")
    assert made.heard(onset("resp_call"))
    assert made.heard(onset("resp_result")) is None


def test_what_follows_a_response_of_an_earlier_turn_is_no_answer() -> None:
    made = turns()
    made.response_created("resp_greeting")
    made.speech_stopped(2000, now=2.1)
    made.response_created("resp_1")
    made.response_done("resp_greeting", followed=True)
    made.response_created("resp_2")
    assert made.heard(onset("resp_2")) is None
    assert made.heard(onset("resp_1"))


def test_an_answer_that_the_caller_did_not_wait_for_has_no_latency() -> None:
    made = asked()
    made.speech_started(2500, now=2.9)
    made.response_created("resp_1")
    assert made.heard(onset("resp_1")) is None


def test_an_answer_that_began_before_the_caller_spoke_again_counts() -> None:
    """Its mark is still on the way back when the next speech is detected."""
    made = asked()
    made.response_created("resp_1")
    made.speech_started(2500, now=2.9)
    assert made.heard(onset("resp_1"))


def test_a_new_turn_replaces_one_that_was_not_answered() -> None:
    made = asked()
    made.response_created("resp_1")
    made.speech_stopped(3000, now=3.1)
    made.response_created("resp_2")
    assert made.heard(onset("resp_1")) is None
    latency = made.heard(onset("resp_2", received_at=3.4, heard_at=3.5))
    assert latency is not None
    assert latency.answer_ms == near(1000)


def test_a_prompt_after_a_cough_answers_nobody() -> None:
    made = asked()
    made.dismiss()
    made.response_created("resp_prompt")
    assert made.heard(onset("resp_prompt", heard_at=12.0)) is None


def test_an_event_that_waited_in_the_mailbox_makes_no_negative_part() -> None:
    made = turns()
    made.speech_stopped(2000, now=2.6)
    made.response_created("resp_1")
    latency = made.heard(onset("resp_1", received_at=2.5, heard_at=3.0))
    assert latency is not None
    assert (latency.vad_ms, latency.model_ms) == (near(1000), 0.0)
    assert latency.answer_ms == near(1500)


# The assistant's voice at the phone.


def test_the_first_audible_sample_counts_and_not_the_first_sample() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(100, silent_ms=100), "m1", received_at=1.0, now=1.001)
    voice.written("resp_1", payload(200, silent_ms=50), "m2", received_at=1.1, now=1.101)
    assert voice.played("m1", now=1.201, round_trip_ms=100) is None
    assert voice.played("m2", now=1.401, round_trip_ms=100) == Onset(
        "resp_1", 1.0, 1.001, silent_ms=150.0, heard_at=near(1.201), one_way_ms=50.0
    )
    assert voice.played("m2", now=1.5, round_trip_ms=100) is None


def test_faint_noise_is_not_audible() -> None:
    voice = AssistantVoice()
    noise = b64encode(FAINT * 800 + LOUD * 800).decode()
    voice.written("resp_1", noise, "m1", received_at=1.0, now=1.0)
    heard = voice.played("m1", now=1.2, round_trip_ms=0)
    assert heard is not None
    assert (heard.silent_ms, heard.heard_at) == (100.0, near(1.1))


def test_silence_in_a_response_does_not_count_as_latency_of_twilio() -> None:
    made = asked()
    made.response_created("resp_1")
    latency = made.heard(Onset("resp_1", 2.5, 2.51, silent_ms=150.0, heard_at=2.71, one_way_ms=40.0))
    assert latency is not None
    assert (latency.model_ms, latency.us_ms, latency.twilio_ms) == (
        near(550),
        near(10),
        near(90),
    )


def test_a_response_of_silence_alone_is_never_heard_and_disturbs_nothing() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(100, silent_ms=100), "m1", received_at=1.0, now=1.0)
    assert voice.played("m1", now=1.1, round_trip_ms=0) is None
    voice.written("resp_2", payload(100), "m2", received_at=2.0, now=2.0)
    assert voice.played("m2", now=2.1, round_trip_ms=0)


def test_what_is_heard_behind_a_response_of_silence_is_not_taken_for_it() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(100, silent_ms=100), "m1", received_at=1.0, now=1.0)
    voice.written("resp_2", payload(100), "m2", received_at=1.0, now=1.0)
    assert voice.played("m1", now=1.1, round_trip_ms=0) is None
    assert voice.played("m2", now=1.2, round_trip_ms=0) is None


def test_a_response_behind_audio_that_plays_is_not_measured() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(100), "m1", received_at=1.0, now=1.0)
    voice.written("resp_2", payload(100), "m2", received_at=1.0, now=1.0)
    assert voice.played("m1", now=1.1, round_trip_ms=0)
    assert voice.played("m2", now=1.2, round_trip_ms=0) is None
    voice.written("resp_3", payload(100), "m3", received_at=2.0, now=2.0)
    assert voice.played("m3", now=2.1, round_trip_ms=0)


def test_an_answer_cut_off_before_a_mark_confirmed_it_is_not_measured() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(1000), "m1", received_at=1.0, now=1.0)
    voice.cleared(CALLER, now=1.4)
    assert voice.played("m1", now=2.1, round_trip_ms=100) is None


def test_the_echo_of_the_last_mark_before_a_clear_confirms_the_silence() -> None:
    voice = AssistantVoice()
    for mark in ("m1", "m2", "m3"):
        voice.written("resp_1", payload(1000), mark, received_at=0.5, now=0.5)
    voice.cleared(CALLER, now=1.205)
    assert (
        voice.discarded("m1", now=1.25, round_trip_ms=100) is None
    )  # it was played, and its echo on the way
    assert voice.discarded("m2", now=1.305, round_trip_ms=100) is None
    assert voice.discarded("m3", now=1.305, round_trip_ms=100) == InterruptionLatency(
        vad_ms=near(200), us_ms=near(5), twilio_ms=near(100)
    )
    assert voice.discarded("m3", now=1.305, round_trip_ms=100) is None


def test_before_any_mark_was_played_the_clear_itself_measures_the_way() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(1000), "m1", received_at=0.5, now=0.5)
    voice.cleared(CALLER, now=1.2)
    latency = voice.discarded("m1", now=1.4, round_trip_ms=None)
    assert latency is not None
    assert latency.silence_ms == near(400)


def test_silence_that_came_before_the_clear_was_no_interruption() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(1000), "m1", received_at=0.1, now=0.1)
    voice.cleared(CALLER, now=1.25)
    assert voice.discarded("m1", now=1.3, round_trip_ms=200) is None


def test_a_clear_answered_sooner_than_marks_are_is_not_taken_for_late() -> None:
    """A phone that passes marks once a frame makes the round trip look longer than a clear's."""
    voice = AssistantVoice()
    voice.written("resp_1", payload(1000), "m1", received_at=1.0, now=1.0)
    voice.cleared(CALLER, now=1.25)
    latency = voice.discarded("m1", now=1.252, round_trip_ms=30)
    assert latency is not None
    assert (latency.twilio_ms, latency.silence_ms) == (15.0, near(265))


def test_a_clear_with_nothing_to_play_and_one_for_no_caller_are_not_measured() -> None:
    voice = AssistantVoice()
    voice.cleared(CALLER, now=1.0)
    voice.written("resp_1", payload(1000), "m1", received_at=2.0, now=2.0)
    voice.cleared(None, now=2.1)
    assert voice.discarded("m1", now=2.2, round_trip_ms=100) is None


def test_an_interruption_whose_start_is_unknown_has_parts_and_no_sum() -> None:
    voice = AssistantVoice()
    voice.written("resp_1", payload(1000), "m1", received_at=1.0, now=1.0)
    voice.cleared(SpeechEdge(None, 1.2), now=1.25)
    latency = voice.discarded("m1", now=1.35, round_trip_ms=100)
    assert latency is not None
    assert (latency.silence_ms, latency.us_ms) == (None, near(50))
    assert (
        str(latency) == "silent unknown after the caller's first word (VAD unknown, us 50 ms, Twilio 100 ms)"
    )


def test_a_log_line_has_the_sum_and_its_parts() -> None:
    assert str(TurnLatency(520.4, 210.0, 1.6, 80.0)) == (
        "answer heard after 812 ms (VAD 520 ms, model 210 ms, us 2 ms, Twilio 80 ms)"
    )


# A whole call, against the truth.


class Call:
    """A caller, a model, and a phone behind a network that takes `one_way_ms` each way. Times in ms from 0 on.

    The phone is the simulator's playout buffer, exact to a sample.
    """

    def __init__(self, one_way_ms: int) -> None:
        self.one_way_ms = one_way_ms
        self.phone = Playout()
        self.ledger = Ledger()
        self.voice = AssistantVoice()
        self.turns = CallerTurns(PREFIX_MS, SILENCE_MS)
        self.onsets: list[Onset] = []
        self.interruptions: list[InterruptionLatency] = []
        self.frames = 0

    def pass_to(self, now_ms: float) -> None:
        """Let time pass: the caller's frames come in, and the echoes that have got back."""
        while (arrival := (self.frames + 1) * 20) <= now_ms:
            self.turns.appended(20, arrival / 1000)
            self.frames += 1
        self.phone.advance(int((now_ms - self.one_way_ms) * BYTES_PER_MS))
        for echo in self.phone.take_echoes():
            assert echo.echoed is not None
            self.echoed(echo.name, (echo.echoed / BYTES_PER_MS + self.one_way_ms) / 1000)

    def echoed(self, mark: str, now: float) -> None:
        if self.ledger.confirm(mark, now):
            assert self.ledger.round_trip_ms is not None
            if heard := self.voice.played(mark, now, self.ledger.round_trip_ms):
                self.onsets.append(heard)
        elif latency := self.voice.discarded(mark, now, self.ledger.round_trip_ms):
            self.interruptions.append(latency)

    def answer(self, response_id: str, now_ms: float, us_ms: float, audio: list[str]) -> None:
        written = (now_ms + us_ms) / 1000
        for piece in audio:
            size = len(piece) * 3 // 4 - piece.count("=")
            mark = self.ledger.queue(Part(response_id, 0), size / BYTES_PER_MS, written)
            self.voice.written(response_id, piece, mark, now_ms / 1000, written)
            at = int((now_ms + us_ms + self.one_way_ms) * BYTES_PER_MS)
            self.phone.put(LOUD * size, at)
            self.phone.mark(mark, at)

    def interrupt(self, caller: SpeechEdge, now_ms: float) -> float:
        """Returns when the phone fell silent."""
        self.voice.cleared(caller, now_ms / 1000)
        self.ledger.interrupt(now_ms / 1000)
        clear = self.phone.clear(int((now_ms + self.one_way_ms) * BYTES_PER_MS))
        last = self.phone.media[-1]
        if not clear.dropped and last.started is not None:
            return (last.started + last.size) / BYTES_PER_MS
        return clear.at / BYTES_PER_MS


@given(
    one_way_ms=st.sampled_from([0, 20, 100, 300]),
    spoken_frames=st.integers(30, 300),
    vad_ms=st.integers(0, 400),
    model_ms=st.integers(0, 3000),
    us_ms=st.integers(0, 50),
    silent_ms=st.integers(0, 400),
    piece_ms=st.integers(20, 700),
    talk_ms=st.integers(0, 3500),
)
def test_the_parts_add_up_to_what_the_caller_waited_for(
    one_way_ms: int,
    spoken_frames: int,
    vad_ms: int,
    model_ms: int,
    us_ms: int,
    silent_ms: int,
    piece_ms: int,
    talk_ms: int,
) -> None:
    """One turn and its interruption, with every number known from the phone's side."""
    call = Call(one_way_ms)
    spoken_ms = spoken_frames * 20
    detected = spoken_ms + SILENCE_MS + vad_ms
    call.pass_to(detected)
    call.turns.speech_stopped(spoken_ms + SILENCE_MS, detected / 1000)
    call.turns.response_created("resp_1")
    received = detected + model_ms
    call.pass_to(received)
    whole = b64decode(payload(3000, silent_ms))
    step = piece_ms * BYTES_PER_MS
    pieces = [b64encode(whole[at : at + step]).decode() for at in range(0, len(whole), step)]
    call.answer("resp_1", received, us_ms, pieces)

    started_at = max((received + us_ms + talk_ms) // 20 * 20, spoken_ms + SILENCE_MS + PREFIX_MS + 20)
    noticed = started_at + vad_ms + 20
    call.pass_to(noticed)
    caller = call.turns.speech_started(started_at - PREFIX_MS, noticed / 1000)
    silent_at = call.interrupt(caller, noticed + us_ms)
    call.pass_to(noticed + us_ms + 2 * one_way_ms + 1)

    said_ms = spoken_ms - one_way_ms  # at Twilio
    truth = call.phone.media[0].started
    assert truth is not None or not call.onsets
    for heard in call.onsets:
        assert truth is not None
        latency = call.turns.heard(heard)
        assert latency is not None
        parts = (latency.vad_ms, latency.model_ms, latency.us_ms, latency.twilio_ms)
        assert parts == near((SILENCE_MS + vad_ms, model_ms + silent_ms, us_ms, 2 * one_way_ms), 0.01)
        assert latency.answer_ms == near(truth / BYTES_PER_MS + silent_ms - said_ms, 0.01)
    marks = [mark for mark in call.phone.marks if mark.by == "play"]
    audible = silent_ms // piece_ms
    if len(marks) > audible and (marks[audible].echoed or 0) / BYTES_PER_MS + one_way_ms <= noticed:
        assert len(call.onsets) == 1

    for interruption in call.interruptions:
        assert (interruption.vad_ms, interruption.us_ms) == near((vad_ms + 20, us_ms), 0.01)
        assert interruption.silence_ms is not None
        # Where playback ended by itself while clear was on its way, it is late by a frame at most.
        late_ms = interruption.silence_ms - (silent_at - (started_at - one_way_ms))
        assert -0.01 < late_ms < 0.01 + (0 if call.phone.clears[0].dropped else FRAME_MS)
    if call.phone.clears[0].dropped:
        assert len(call.interruptions) == 1


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 80)), min_size=1, max_size=200))
def test_every_moment_of_appended_audio_is_found_where_it_arrived(frames: list[tuple[int, int]]) -> None:
    """Whatever the frames' lengths, and however they bunch up on the way."""
    made, now_ms, total_ms = CallerTurns(0, 0), 0, 0
    ends = []
    for duration_ms, wait_ms in frames:
        now_ms += wait_ms
        total_ms += duration_ms
        made.appended(duration_ms, now_ms / 1000)
        ends.append((total_ms, now_ms, duration_ms))
    for end_ms, arrived_ms, duration_ms in ends:
        assert made.speech_stopped(end_ms, now=99.0).at == near(arrived_ms / 1000)
        within = made.speech_stopped(end_ms - duration_ms + 1, now=99.0).at
        assert within == near((arrived_ms - duration_ms + 1) / 1000)
