"""Ten minutes of a call: what stands in the recording stands there when the phone had it, to the end."""

import time
import wave
from array import array
from pathlib import Path

import pytest

from simulator.call_result import CallResult
from simulator.realtime import OfflineModel
from simulator.script import ScriptedReply, silence, tone
from simulator.server_process import ServerProcess
from tests.actors.test_recorder import tracks
from tests.end_to_end.stage import PATIENCE, Greeting, Stage, ask, finished, server_settings
from tests.end_to_end.test_listeners import LATENCY_MS, TOLERANCE_SAMPLES, samples, sounds

SECONDS = 600.0


class Talkative(Greeting):
    def reply(self, heard: str, tools: object = ()) -> ScriptedReply:
        return ScriptedReply("a sentence of some length", audio=tone(1500))


def talk(stage: Stage, recording: Path) -> CallResult:
    """Questions and answers, every third of which is interrupted, with pauses of several lengths."""
    ends_at = time.monotonic() + SECONDS
    turn = 0
    with stage.call(recording=recording, latency_ms=LATENCY_MS) as (phone, _):
        while time.monotonic() < ends_at:
            turn += 1
            ask(phone, tone(400, 700))
            if turn % 3 == 0:
                ask(phone, silence(500) + tone(300, 700))
            phone.await_silence(500 + 1500 * (turn % 4), PATIENCE)
        phone.hang_up()
        result = finished(phone)
        assert result.seconds >= SECONDS
        return result


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_ten_minutes_are_aligned_within_20_ms_from_the_first_word_to_the_last(tmp_path: Path) -> None:
    with OfflineModel(pace=100, **Talkative().equipment()) as model:
        (tmp_path / "recorded.toml").write_text('instructions = "Talk."\n[recording]\n')
        settings = server_settings(model, tmp_path) | {
            "ASSISTANT": str(tmp_path / "recorded.toml"),
            "RECORDINGS": str(tmp_path / "recordings"),
        }
        with ServerProcess(settings, tmp_path) as server:
            result = talk(Stage(server, model, Talkative()), tmp_path / "phone.wav")
    [recording] = (tmp_path / "recordings").rglob("*.wav")
    caller, assistant = (samples(track) for track in tracks(recording))
    with wave.open(str(tmp_path / "phone.wav")) as wav:
        both = array("h", wav.readframes(wav.getnframes()))
    spoken, said = sounds(caller), sounds(both[0::2])
    played, heard = sounds(assistant), sounds(both[1::2])
    assert len(spoken) == len(said) > 50
    assert len(played) == len(heard) > 50, "what was cleared is in neither of them"
    shift = said[0][0] - spoken[0][0]
    off = [
        true - ours - shift
        for ours_track, true_track in ((spoken, said), (played, heard))
        for ours_sound, true_sound in zip(ours_track, true_track, strict=True)
        for ours, true in zip(ours_sound, true_sound, strict=True)
    ]
    worst = max(off, key=abs)
    print(f"{len(off)} edges in {SECONDS:.0f} s; the farthest off by {worst / 8:.1f} ms")
    assert abs(worst) <= TOLERANCE_SAMPLES + result.max_lateness_ms * 8
