"""Transcoding for servers that speak 24 kHz PCM only: mu-law to PCM for the caller's audio, and back.

The resampler is libsamplerate, through the package `samplerate` (MIT, the library BSD). Measured per direction, in
pieces of 20 ms, mu-law and base64 included: it holds back 2.5 ms, takes 2 ms of CPU for a second of audio, passes
3 kHz with 0.5 dB of loss and lets nothing fold that lies above 4 kHz. soxr takes 0.2 ms, but holds back 20
to 75 ms, and the caller would wait for that in each turn. PyAV holds back 2 ms and takes 1 ms, but its wheel brings
100 MB of codecs, GPL ones among them. scipy has no resampler for streams. The package comes with the extra `pcm`
and is loaded only where it is used; with mu-law, audio is never touched.
"""

import binascii
import importlib
from collections import OrderedDict
from typing import Any

from wire.audio_format import PCM24, UlawAudio
from wire.g711 import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE, decode_ulaw, encode_ulaw
from wire.playback import Part

QUALITY = "sinc_fastest"
"""The next better one passes 3.4 kHz where this is 9 dB down, for twice the delay and twice the CPU."""

PCM_RATE = 24_000
"""Hz"""

OPEN_PARTS = 4
"""Parts of answers that may be under way at the same time. An abandoned one never ends: the oldest goes."""

_FLUSH_MS = 20
"""Silence that pushes out what the resampler holds back, with plenty to spare."""


class TranscoderError(RuntimeError):
    """The resampler is not installed. The text says how to install it."""


def load_resampler() -> Any:
    """The resampler's module. Call it when a worker starts, so that a missing extra does not cost a call.

    Raises TranscoderError.
    """
    try:
        # samplerate would import it with the first piece of audio, which takes 100 ms and stops every call for them.
        importlib.import_module("numpy")
        return importlib.import_module("samplerate")
    except ImportError as error:
        raise TranscoderError(
            f"OPENAI_REALTIME_AUDIO={PCM24.setting} needs a resampler ({error}): pip install 'switchboard[pcm]'"
        ) from error


class Resampler:
    """One stream of 16-bit little-endian mono PCM from one rate to another, in Hz. One thread at a time."""

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """Raises TranscoderError."""
        self._rate_in = rate_in
        self._rate_out = rate_out
        self._resampler = load_resampler().Resampler(QUALITY, channels=1)
        self._samples_in = 0
        self._samples_out = 0

    def feed(self, pcm: bytes) -> bytes:
        """The output that this input completes. How the input is cut makes no difference to the sum."""
        if not pcm:
            return b""
        self._samples_in += len(pcm) // 2
        output = self._process(pcm)
        self._samples_out += len(output) // 2
        return output

    def flush(self) -> bytes:
        """What is still held back. The next input begins a new stream.

        The sum is rounded down to the sample: a truncation may never name more than the model sent.
        """
        missing = self._samples_in * self._rate_out // self._rate_in - self._samples_out
        output = self._process(bytes(2 * self._rate_in * _FLUSH_MS // 1000))[: 2 * missing]
        self._resampler.reset()
        self._samples_in = self._samples_out = 0
        return output

    def _process(self, pcm: bytes) -> bytes:
        resampled = self._resampler.process(memoryview(pcm).cast("h"), self._rate_out / self._rate_in)
        output: bytes = resampled.round().clip(-32768, 32767).astype("<i2").tobytes()
        return output


class CallerTranscoder:
    """The caller's audio on its way to one session. Belongs to the actor that writes the model's socket.

    It has no end to flush: the caller's audio ends with the session.
    """

    def __init__(self) -> None:
        """Raises TranscoderError."""
        self._resampler = Resampler(SAMPLE_RATE, PCM_RATE)

    def transcode(self, payload: str) -> str:
        """Base64 of mu-law to base64 of PCM. The first few ms give "", which need not be sent."""
        pcm = self._resampler.feed(decode_ulaw(binascii.a2b_base64(payload)))
        return binascii.b2a_base64(pcm, newline=False).decode()


class AssistantTranscoder:
    """The assistant's audio on its way from one session to the phone. Belongs to the reader of the model's socket.

    Each part is a stream of its own. What comes out is cut into whole 20 ms frames, as the phone plays odd pieces
    badly (protocol-gotchas.md 34); the end of a part is cut where it ends. Lengths are those of what goes to the
    phone, so the playback ledger needs no conversion, and a part's sum is that of its audio, to a sample.
    """

    def __init__(self) -> None:
        """Raises TranscoderError, now rather than at the first word."""
        load_resampler()
        self._streams: OrderedDict[Part, _PartStream] = OrderedDict()

    def transcode(self, part: Part, payload: str) -> UlawAudio | None:
        """Base64 of PCM to whole frames of mu-law; None while there is not one yet."""
        stream = self._streams.get(part)
        if stream is None:
            stream = self._streams[part] = _PartStream()
            if len(self._streams) > OPEN_PARTS:
                self._streams.popitem(last=False)
        return _audio(stream.feed(binascii.a2b_base64(payload)))

    def finish(self, part: Part) -> UlawAudio | None:
        """The rest of a part, to be played in front of its end; None if there is none. Harmless if repeated."""
        stream = self._streams.pop(part, None)
        return _audio(stream.flush()) if stream is not None else None


class _PartStream:
    def __init__(self) -> None:
        self._resampler = Resampler(PCM_RATE, SAMPLE_RATE)
        self._half_sample = b""
        self._waiting = b""

    def feed(self, pcm: bytes) -> bytes:
        pcm = self._half_sample + pcm
        whole = len(pcm) - len(pcm) % 2
        self._half_sample = pcm[whole:]
        ulaw = self._waiting + encode_ulaw(self._resampler.feed(pcm[:whole]))
        frames = len(ulaw) - len(ulaw) % FRAME_BYTES
        self._waiting = ulaw[frames:]
        return ulaw[:frames]

    def flush(self) -> bytes:
        return self._waiting + encode_ulaw(self._resampler.flush())


def _audio(ulaw: bytes) -> UlawAudio | None:
    if not ulaw:
        return None
    return UlawAudio(binascii.b2a_base64(ulaw, newline=False).decode(), len(ulaw) / BYTES_PER_MS)
