"""Our own sounds: the shipped ones, a user's own, and files that would be noise in the caller's ear."""

import configparser
import io
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.sound import SHIPPED, SoundError, Sounds, read_sound
from wire.g711 import BYTES_PER_MS, decode_ulaw, encode_ulaw

PCM = b"".join(sample.to_bytes(2, "little", signed=True) for sample in range(-8000, 8000, 50))


def wav(pcm: bytes = PCM, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setframerate(rate)
        recording.setnchannels(channels)
        recording.setsampwidth(width)
        recording.writeframes(pcm)
    return file.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "moment.wav"


@pytest.mark.parametrize("name", ["filler.en", "filler", "apology.en", "apology"])
def test_the_shipped_sounds_are_short_audible_and_end_quietly(name: str) -> None:
    """A filler that is longer than a reply takes would itself be what the caller waits for."""
    ulaw = (SHIPPED / f"{name}.ulaw").read_bytes()
    seconds = len(ulaw) / BYTES_PER_MS / 1000
    assert 0.2 < seconds < (1.5 if name.startswith("filler") else 5.0)
    samples = memoryview(decode_ulaw(ulaw)).cast("h").tolist()
    assert max(map(abs, samples)) > 3000
    assert max(map(abs, samples[:8] + samples[-8:])) < 1500, "it begins or ends with a click"
    assert not ulaw.startswith(b"RIFF")


def test_in_english_there_are_words_and_elsewhere_tones() -> None:
    english, italian = Sounds.load("en"), Sounds.load("it")
    assert english == Sounds.load()
    assert english.filler != italian.filler
    assert english.apology != italian.apology
    assert italian == Sounds.load("ja")


def test_a_sound_of_ones_own_takes_the_place_of_the_shipped_one(path: Path) -> None:
    path.write_bytes(wav())
    own = Sounds.load("en", filler=path)
    assert own == Sounds(encode_ulaw(PCM), Sounds.load("en").apology)
    assert Sounds.load("en", apology=path) == Sounds(Sounds.load("en").filler, encode_ulaw(PCM))


def test_mu_law_without_a_header_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "moment.ulaw"
    path.write_bytes(encode_ulaw(PCM))
    assert read_sound(path) == encode_ulaw(PCM)


@pytest.mark.parametrize("name", ["moment.ulaw", "moment", "MOMENT.WAV"])
def test_a_wav_file_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    """protocol-gotchas 35: its header would be a click."""
    (tmp_path / name).write_bytes(wav())
    assert read_sound(tmp_path / name) == encode_ulaw(PCM)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (wav(rate=44_100), "has 44100 Hz, 1 channels of 16 bits"),
        (wav(channels=2), "has 8000 Hz, 2 channels of 16 bits"),
        (wav(width=1), "has 8000 Hz, 1 channels of 8 bits"),
        (wav(b""), "is empty"),
        (b"", "is not a WAV file of PCM"),
        (wav()[:20], "is not a WAV file of PCM"),
        (wav().replace(b"fmt \x10", b"fmt \xff"), "is not a WAV file of PCM"),
        (b"ID3\x04" + bytes(100), "is not a WAV file of PCM"),
        (
            wav().replace(b"\x10\0\0\0\x01\0", b"\x10\0\0\0\x07\0"),
            "is not a WAV file of PCM: unknown format: 7",
        ),
    ],
)
def test_what_would_be_noise_is_refused_with_the_fix(path: Path, content: bytes, complaint: str) -> None:
    path.write_bytes(content)
    with pytest.raises(SoundError, match=complaint) as refusal:
        read_sound(path)
    assert str(refusal.value).startswith(str(path))
    assert "sox in.wav -r 8000 -c 1 -b 16 out.wav" in str(refusal.value)


def test_an_empty_file_would_be_a_silent_filler(tmp_path: Path) -> None:
    path = tmp_path / "moment.ulaw"
    path.touch()
    with pytest.raises(SoundError, match="is empty"):
        read_sound(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoundError, match=r"moment\.wav: cannot be read: No such file"):
        Sounds.load("en", filler=tmp_path / "moment.wav")
    with pytest.raises(SoundError, match="cannot be read: Is a directory"):
        Sounds.load("en", apology=tmp_path)


@given(st.integers(0, len(wav())), st.binary(max_size=12))
def test_a_wav_file_with_anything_in_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: int, stranger: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(wav()[:place] + stranger + wav()[place + len(stranger) :])
    try:
        ulaw = read_sound(path)
    except SoundError:
        return
    assert ulaw
    assert len(ulaw) <= len(wav())


def test_the_shipped_sounds_are_installed_with_the_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    patterns = setup["options.package_data"]["actors"].split(",")
    shipped = {file for pattern in patterns for file in SHIPPED.parent.glob(pattern.strip())}
    assert shipped == set(SHIPPED.iterdir())
    assert len(shipped) == 4
