"""espeak-ng through ctypes: one sentence of text to PCM. Runs in the voice process only.

The library is GPL-3 and has global state, one synthesis at a time: two reasons to keep it out of the program's own
process. Constants and the callback's shape: espeak-ng's speak_lib.h; traps: offline-engine.md, 1.
"""

import ctypes
import ctypes.util
import os
from pathlib import Path

_SYNCHRONOUS = 2
_DO_NOT_EXIT = 0x8000
_BUFFER_MS = 100
_LONGEST_DATA_PATH = 140
"""The limit is between 144 characters, which works, and 164, which does not."""

_POSITION_IN_CHARACTERS = 1
_TEXT_IS_UTF8 = 1
_RATE, _PITCH = 1, 3
_LOWEST_RATE, _HIGHEST_RATE = 80, 450
_WORDS_A_MINUTE = 165

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

VARIANTS = {
    "alloy": ("en-us+f2", 45),
    "ash": ("en-us+m1", 45),
    "ballad": ("en+m7", 50),
    "cedar": ("en-us+m3", 40),
    "coral": ("en-us+f4", 60),
    "echo": ("en-us+m4", 35),
    "marin": ("en-us+f3", 50),
    "sage": ("en+f1", 45),
    "shimmer": ("en-us+f5", 65),
    "verse": ("en-us+m2", 60),
}
"""The Realtime API's voices: an espeak voice and a pitch of 0 to 100 each."""

DEFAULT_VOICE = "marin"


class Espeak:
    """A loaded library. Used by one thread at a time; one in a process.

    `library` and `data` are paths; no `data` means the path that was compiled in. Raises OSError if the library
    does not load or finds no data. A `data` path too long for the library becomes the working directory of the
    process, which is the voice process's own.
    """

    def __init__(self, library: str, data: Path | None = None) -> None:
        self._library = ctypes.CDLL(library)
        self._heard = bytearray()
        path = None
        if data is not None:
            path = os.fsencode(data)
            if len(path) > _LONGEST_DATA_PATH:
                os.chdir(data)
                path = b"."
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, path, _DO_NOT_EXIT)
        if rate <= 0:
            raise OSError(f"espeak-ng found no data in {data or 'its own path'}")
        self.rate: int = rate
        self._callback = _Callback(self._take)  # kept: the library calls it for as long as it lives
        self._library.espeak_SetSynthCallback(self._callback)

    def pcm(self, text: str, voice: str, speed: float) -> bytes:
        """16-bit mono PCM at `rate` Hz. About 3 ms of work for a sentence of 4 s.

        An unknown voice speaks as the default one; `speed` 1.0 is 165 words a minute. Raises RuntimeError if the
        library refuses the text or the voice.
        """
        variant, pitch = VARIANTS.get(voice, VARIANTS[DEFAULT_VOICE])
        if self._library.espeak_SetVoiceByName(variant.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {variant!r}")
        words_a_minute = min(max(round(_WORDS_A_MINUTE * speed), _LOWEST_RATE), _HIGHEST_RATE)
        self._library.espeak_SetParameter(_RATE, words_a_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._heard.clear()
        encoded = text.replace("\0", " ").encode("utf-8", "replace") + b"\0"
        result = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _POSITION_IN_CHARACTERS, 0, _TEXT_IS_UTF8, None, None
        )
        if result != 0:
            raise RuntimeError(f"espeak-ng refused the text: error {result}")
        return bytes(self._heard)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._heard += ctypes.string_at(samples, 2 * count)
        return 0


def wheel() -> Espeak:
    """The library and data in the espeakng-loader wheel. Raises ImportError or OSError."""
    import espeakng_loader

    return Espeak(espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path()))


def system() -> Espeak:
    """The system's own library. Raises OSError."""
    return Espeak("libespeak-ng.so.1")
