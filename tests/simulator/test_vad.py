import random
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.vad import ENGINE, SpeechStarted, SpeechStopped, VoiceActivity, level_dbfs
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, ULAW_SILENCE, encode_ulaw

CALLERS = sorted((Path(__file__).parents[2] / "simulator/audio/caller").glob("*.wav"))
ENGINES = sorted({ENGINE, "energy"})
SECOND = 1000 * BYTES_PER_MS


def caller(path: Path) -> bytes:
    with wave.open(str(path)) as speech:
        return encode_ulaw(speech.readframes(speech.getnframes()))


def noise(milliseconds: int, dbfs: float, seed: int = 1) -> bytes:
    generator = random.Random(seed)
    peak = 32768 * 10 ** (dbfs / 20)
    count = milliseconds * BYTES_PER_MS
    return encode_ulaw(struct.pack(f"<{count}h", *(round(generator.gauss(0, peak)) for _ in range(count))))


def spoken_ms(ulaw: bytes) -> tuple[int, int]:
    """Where the audio is first and last louder than -35 dBFS."""
    loud = [
        start // BYTES_PER_MS
        for start in range(0, len(ulaw), FRAME_BYTES)
        if level_dbfs(ulaw[start : start + FRAME_BYTES]) > -35
    ]
    return loud[0], loud[-1] + FRAME_MS


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.stem)
def test_a_turn_starts_and_stops_where_the_recording_does(path: Path, engine: str) -> None:
    audio = ULAW_SILENCE * SECOND + caller(path) + ULAW_SILENCE * SECOND
    first, last = spoken_ms(audio)
    started, stopped = VoiceActivity(engine=engine, prefix_padding_ms=0).feed(audio)
    assert isinstance(started, SpeechStarted)
    assert isinstance(stopped, SpeechStopped)
    assert abs(started.audio_start_ms - first) <= 80
    assert -40 <= stopped.audio_end_ms - 500 - last <= 140


@pytest.mark.parametrize("engine", ENGINES)
def test_speech_is_noticed_within_a_tenth_of_a_second(engine: str) -> None:
    audio = ULAW_SILENCE * SECOND + caller(CALLERS[0])
    activity = VoiceActivity(engine=engine)
    fed_ms = 0
    while not activity.speaking:
        activity.feed(audio[fed_ms * BYTES_PER_MS : (fed_ms + 20) * BYTES_PER_MS])
        fed_ms += 20
    assert 40 <= fed_ms - spoken_ms(audio)[0] <= 100


def test_prefix_padding_goes_back_from_the_onset_but_not_before_the_start() -> None:
    speech = caller(CALLERS[0])
    exact, padded, early = (
        VoiceActivity(prefix_padding_ms=padding).feed(speech)[0] for padding in (0, 100, 5000)
    )
    assert isinstance(exact, SpeechStarted)
    assert padded == SpeechStarted(exact.audio_start_ms - 100)
    assert early == SpeechStarted(0)


def test_prefix_padding_does_not_reach_into_the_turn_before() -> None:
    speech = caller(CALLERS[0])
    events = VoiceActivity(prefix_padding_ms=5000).feed((speech + ULAW_SILENCE * SECOND) * 2)
    assert len(events) == 4
    assert isinstance(events[1], SpeechStopped)
    assert events[2] == SpeechStarted(events[1].audio_end_ms)


@pytest.mark.parametrize("silence_ms", [200, 500, 1000])
def test_the_end_of_a_turn_includes_the_silence_that_proved_it(silence_ms: int) -> None:
    audio = caller(CALLERS[0]) + ULAW_SILENCE * 2 * SECOND
    reference = VoiceActivity(silence_duration_ms=500).feed(audio)[-1]
    stopped = VoiceActivity(silence_duration_ms=silence_ms).feed(audio)[-1]
    assert isinstance(reference, SpeechStopped)
    assert isinstance(stopped, SpeechStopped)
    assert stopped.audio_end_ms - reference.audio_end_ms == silence_ms - 500


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("quiet", [ULAW_SILENCE * 3 * SECOND, noise(3000, -60), noise(3000, -50)])
def test_silence_and_quiet_noise_are_no_turn(quiet: bytes, engine: str) -> None:
    assert VoiceActivity(engine=engine).feed(quiet) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_click_is_no_turn(engine: str) -> None:
    click = noise(40, -10)
    audio = ULAW_SILENCE * SECOND + click + ULAW_SILENCE * SECOND
    assert VoiceActivity(engine=engine).feed(audio) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_higher_threshold_needs_louder_speech(engine: str) -> None:
    with wave.open(str(CALLERS[0])) as speech:
        samples = struct.unpack(f"<{speech.getnframes()}h", speech.readframes(speech.getnframes()))
    quiet = encode_ulaw(struct.pack(f"<{len(samples)}h", *(sample // 24 for sample in samples)))
    assert VoiceActivity(engine=engine, threshold=0.2).feed(quiet)
    assert not VoiceActivity(engine=engine, threshold=0.9).feed(quiet)


def test_the_energy_detector_gets_used_to_steady_noise() -> None:
    activity = VoiceActivity(engine="energy")
    events = activity.feed(noise(20_000, -36))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    assert not activity.speaking


@given(st.lists(st.integers(0, 900), min_size=1, max_size=60))
def test_how_the_audio_is_cut_makes_no_difference(lengths: list[int]) -> None:
    audio = caller(CALLERS[0]) + ULAW_SILENCE * SECOND
    whole = VoiceActivity().feed(audio)
    activity = VoiceActivity()
    events = []
    at = 0
    for length in lengths:
        events += activity.feed(audio[at : at + length])
        at += length
    events += activity.feed(audio[at:])
    assert events == whole


@pytest.mark.parametrize(
    "settings",
    [{"threshold": 1.1}, {"threshold": -0.1}, {"prefix_padding_ms": -1}, {"silence_duration_ms": -20}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="VAD"):
        VoiceActivity(**settings)  # type: ignore[arg-type]


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'ears'"):
        VoiceActivity(engine="ears")
