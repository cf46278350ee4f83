"""Transcoding against tones, and against the offline server's own codec."""

import base64
import math
import struct
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.transcoder import (
    OPEN_PARTS,
    AssistantTranscoder,
    CallerTranscoder,
    Resampler,
    TranscoderError,
    load_resampler,
)
from simulator import pcm as offline
from wire import g711
from wire.playback import Part

pytest.importorskip("samplerate", reason="the extra pcm is not installed")

PART = Part("item_1", 0)
PEAK = 10_000


def tone(frequency_hz: float, rate: int, seconds: float = 1.0) -> bytes:
    turn = 2 * math.pi * frequency_hz / rate
    count = round(rate * seconds)
    return struct.pack(f"<{count}h", *(round(PEAK * math.sin(turn * at)) for at in range(count)))


def samples_of(pcm: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(pcm) // 2}h", pcm)


def strength(pcm: bytes, frequency_hz: float, rate: int) -> float:
    """The amplitude of one frequency in the middle half, relative to the tones above."""
    samples = samples_of(pcm)
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    turn = 2 * math.pi * frequency_hz / rate
    cosine = sum(each * math.cos(turn * at) for at, each in enumerate(middle))
    sine = sum(each * math.sin(turn * at) for at, each in enumerate(middle))
    return 2 * math.hypot(cosine, sine) / len(middle) / PEAK


def level(pcm: bytes) -> float:
    """The root-mean-square of the middle half, relative to the tones above."""
    samples = samples_of(pcm)
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return math.sqrt(2 * sum(each * each for each in middle) / len(middle)) / PEAK


def resampled(pcm: bytes, rate_in: int, rate_out: int) -> bytes:
    resampler = Resampler(rate_in, rate_out)
    return resampler.feed(pcm) + resampler.flush()


def to_phone(pieces: Iterable[bytes]) -> bytes:
    """One whole part of the assistant's PCM as the phone gets it, in mu-law."""
    transcoder = AssistantTranscoder()
    audio = [transcoder.transcode(PART, base64.b64encode(piece).decode()) for piece in pieces]
    audio.append(transcoder.finish(PART))
    return b"".join(base64.b64decode(each.payload) for each in audio if each is not None)


def to_model(ulaw: bytes, piece: int = 160) -> bytes:
    transcoder = CallerTranscoder()
    return b"".join(
        base64.b64decode(transcoder.transcode(base64.b64encode(ulaw[at : at + piece]).decode()))
        for at in range(0, len(ulaw), piece)
    )


@pytest.mark.parametrize("frequency", [200, 1000, 2000, 3000])
def test_the_assistants_tone_reaches_the_phone_as_it_was(frequency: int) -> None:
    phone = g711.decode_ulaw(to_phone([tone(frequency, 24_000)]))
    assert strength(phone, frequency, 8000) == pytest.approx(1, abs=0.07)
    assert level(phone) == pytest.approx(strength(phone, frequency, 8000), abs=0.02)


@pytest.mark.parametrize("frequency", [200, 1000, 2000, 3000])
def test_the_callers_tone_reaches_the_model_as_it_was(frequency: int) -> None:
    model = to_model(g711.encode_ulaw(tone(frequency, 8000)))
    assert strength(model, frequency, 24_000) == pytest.approx(1, abs=0.07)
    assert strength(model, 8000 - frequency, 24_000) < 0.003
    assert strength(model, 8000 + frequency, 24_000) < 0.003


@pytest.mark.parametrize("frequency", [4500, 5000, 7000, 11_000])
def test_what_a_phone_cannot_carry_does_not_fold_into_what_it_can(frequency: int) -> None:
    assert level(resampled(tone(frequency, 24_000), 24_000, 8000)) < 0.0005


@pytest.mark.parametrize(("rate_in", "rate_out"), [(24_000, 8000), (8000, 24_000)])
def test_a_sound_keeps_its_place(rate_in: int, rate_out: int) -> None:
    silence = bytes(2 * rate_in)
    output = samples_of(
        resampled(silence + struct.pack("<h", 20_000) * (rate_in // 100) + silence, rate_in, rate_out)
    )
    centre = sum(at * each for at, each in enumerate(output)) / sum(output)
    assert centre / rate_out == pytest.approx(1.005, abs=0.0002)


@given(st.integers(1, 5000))
def test_a_part_is_as_long_at_the_phone_as_it_was_sent(samples: int) -> None:
    """To the sample, the few ms that the resampler holds back included, and never longer."""
    assert len(to_phone([bytes(2 * samples)])) == samples // 3


@given(st.lists(st.integers(1, 3000), max_size=20))
def test_how_the_assistants_audio_is_cut_makes_no_difference(lengths: list[int]) -> None:
    """Half samples included: deltas are a byte stream."""
    pcm = tone(700, 24_000, 0.4)
    pieces = []
    at = 0
    for length in lengths:
        pieces.append(pcm[at : at + length])
        at += length
    assert to_phone([*pieces, pcm[at:]]) == to_phone([pcm])


@given(st.integers(1, 700))
def test_how_the_callers_audio_is_cut_makes_no_difference(piece: int) -> None:
    ulaw = g711.encode_ulaw(tone(700, 8000, 0.3))
    assert to_model(ulaw, piece) == to_model(ulaw, len(ulaw))


def test_the_model_is_a_few_ms_behind_the_caller_and_no_more() -> None:
    ulaw = g711.encode_ulaw(tone(700, 8000, 2))
    behind_ms = 2000 - len(to_model(ulaw)) / 48
    assert 0 < behind_ms < 4


def test_the_phone_gets_whole_frames_until_a_part_ends() -> None:
    """protocol-gotchas 34"""
    transcoder = AssistantTranscoder()
    payload = base64.b64encode(bytes(1111)).decode()
    audio = [transcoder.transcode(PART, payload) for _ in range(20)]
    assert {each.duration_ms % 20 for each in audio if each is not None} == {0}
    rest = transcoder.finish(PART)
    assert rest is not None
    assert sum(each.duration_ms for each in [*audio, rest] if each is not None) == 20 * 1111 // 6 / 8
    assert rest.duration_ms == len(base64.b64decode(rest.payload)) / 8


def test_parts_do_not_run_into_each_other() -> None:
    other = Part("item_2", 0)
    transcoder = AssistantTranscoder()
    loud = base64.b64encode(tone(700, 24_000, 0.1)).decode()
    quiet = base64.b64encode(bytes(4800)).decode()
    output = b""
    for _ in range(5):
        transcoder.transcode(PART, loud)
        audio = transcoder.transcode(other, quiet)
        output += base64.b64decode(audio.payload) if audio else b""
    rest = transcoder.finish(other)
    output += base64.b64decode(rest.payload) if rest else b""
    assert output == g711.ULAW_SILENCE * 4000


def test_a_part_that_ended_begins_anew() -> None:
    transcoder = AssistantTranscoder()
    payload = base64.b64encode(tone(700, 24_000, 0.11)).decode()
    first = [transcoder.transcode(PART, payload), transcoder.finish(PART)]
    again = [transcoder.transcode(PART, payload), transcoder.finish(PART)]
    assert first == again
    assert transcoder.finish(PART) is None


def test_a_resampler_that_was_flushed_begins_anew() -> None:
    resampler = Resampler(24_000, 8000)
    pcm = tone(700, 24_000, 0.1)
    assert resampler.feed(pcm) + resampler.flush() == resampler.feed(pcm) + resampler.flush()


def test_abandoned_parts_do_not_pile_up() -> None:
    """A response that is cancelled may never say that its audio is done."""
    transcoder = AssistantTranscoder()
    payload = base64.b64encode(bytes(4800)).decode()
    parts = [Part(f"item_{number}", 0) for number in range(OPEN_PARTS + 3)]
    for part in parts:
        transcoder.transcode(part, payload)
    assert [transcoder.finish(part) is not None for part in parts] == [False] * 3 + [True] * OPEN_PARTS


@pytest.mark.parametrize(("rate_in", "rate_out"), [(24_000, 8000), (8000, 24_000)])
def test_samples_are_rounded_to_the_nearest(rate_in: int, rate_out: int) -> None:
    output = samples_of(resampled(struct.pack("<h", 1000) * rate_in, rate_in, rate_out))
    assert set(output[rate_out // 4 : -rate_out // 4]) == {1000}


def test_full_scale_is_clipped_and_does_not_wrap() -> None:
    square = (struct.pack("<h", 32767) * 24 + struct.pack("<h", -32768) * 24) * 50
    output = samples_of(resampled(square, 24_000, 8000))
    assert max(output) == 32767
    assert min(output) == -32768
    for index, sample in enumerate(output[16:-16], start=16):
        if index % 16 in range(3, 6):
            assert sample > 20_000
        elif index % 16 in range(11, 14):
            assert sample < -20_000


def test_the_offline_server_understands_what_is_sent_to_it() -> None:
    ulaw = g711.encode_ulaw(tone(1000, 8000))
    heard = g711.decode_ulaw(offline.to_ulaw("audio/pcm")(to_model(ulaw)))
    assert strength(heard, 1000, 8000) == pytest.approx(1, abs=0.05)


def test_what_the_offline_server_says_is_understood() -> None:
    said = offline.from_ulaw("audio/pcm")(g711.encode_ulaw(tone(1000, 8000)))
    assert strength(g711.decode_ulaw(to_phone([said])), 1000, 8000) == pytest.approx(1, abs=0.05)


def test_without_the_extra_the_error_names_the_setting_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "samplerate", None)
    for use in (load_resampler, CallerTranscoder, AssistantTranscoder):
        with pytest.raises(TranscoderError, match=r"OPENAI_REALTIME_AUDIO=pcm24.*switchboard\[pcm\]"):
            use()
