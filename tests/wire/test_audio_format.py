import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.audio_format import FORMATS, PCM24, PCMU, suspicious


@pytest.mark.parametrize("seconds", [1.5, 2.0, 4.5, 60.0])
def test_pcm_taken_for_mulaw_is_noticed(seconds: float) -> None:
    """protocol-gotchas 5"""
    found = suspicious(bytes_received=int(seconds * 48_000), audio_tokens=round(seconds * 20))
    assert found is not None
    assert "6.0 times" in found
    assert "OPENAI_REALTIME_AUDIO=pcm24" in found


@given(st.integers(0, 4096), st.floats(-500, 500), st.sampled_from([1.0, 0.25, 0.5, 1.5]), st.booleans())
def test_mulaw_is_never_suspicious(
    tokens: int, error_ms: float, speed: float, billed_before_stretching: bool
) -> None:
    """Rounded counts, half a second of difference, any speed, and whichever side of it is billed."""
    duration_ms = tokens * 50 / (speed if billed_before_stretching else 1) + error_ms
    assert suspicious(max(int(duration_ms * 8), 0), tokens, speed) is None


@given(st.integers(34, 4096), st.floats(-200, 200), st.sampled_from([1.0, 0.25, 0.5, 1.5]))
def test_pcm_is_always_suspicious_at_any_speed(tokens: int, error_ms: float, speed: float) -> None:
    duration_ms = tokens * 50 / speed + error_ms
    assert suspicious(int(duration_ms * 48), tokens, speed) is not None


@pytest.mark.parametrize("speed", [0.25, 1.0, 1.5])
def test_audio_must_be_far_too_long_however_it_was_billed(speed: float) -> None:
    billed_ms = 200 * 50 * max(1, 1 / speed)
    assert suspicious(int(billed_ms * 2.9 * 8), 200, speed) is None
    assert suspicious(int(billed_ms * 3.1 * 8), 200, speed) is not None


@pytest.mark.parametrize("tokens", [0, 1, 19])
def test_too_short_an_answer_is_not_judged(tokens: int) -> None:
    assert suspicious(1_000_000, tokens) is None


def test_less_audio_than_was_billed_is_not_suspicious() -> None:
    assert suspicious(0, 91) is None
    assert suspicious(8 * 1200, 91) is None


def test_a_session_that_speaks_pcm_is_judged_by_its_own_length() -> None:
    assert suspicious(48 * 4500, 90, audio_format=PCM24) is None
    assert suspicious(48 * 27_000, 90, audio_format=PCM24) is not None


def test_the_formats_are_what_the_api_takes_to_the_letter() -> None:
    """protocol-gotchas 4: a rate beside audio/pcmu refuses the whole update."""
    assert FORMATS["pcmu"].ga == {"type": "audio/pcmu"}
    assert FORMATS["pcm24"].ga == {"type": "audio/pcm", "rate": 24000}


def test_a_format_is_known_by_its_names_in_both_dialects() -> None:
    assert PCMU.is_named("audio/pcmu")
    assert PCMU.is_named("g711_ulaw")
    assert PCM24.is_named("audio/pcm")
    assert PCM24.is_named("pcm16")
    assert not any(PCMU.is_named(name) for name in ("", "audio/pcm", "pcm16", "audio/pcma"))
    assert not any(PCM24.is_named(name) for name in ("", "audio/pcmu", "g711_ulaw"))
