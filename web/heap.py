"""One heap of the C library for all threads.

glibc gives threads heaps of their own, up to eight for each processor, so that they need not wait for each other; the
interpreter's threads wait for each other in any case. What one thread has given back in its heap, the others cannot
have: with 60 calls and sixteen heaps a call took 0.42 MiB, with one 0.39 (medians of three).
"""

import contextlib
import ctypes
import os

_M_ARENA_MAX = -8
"""Source: glibc, malloc.h."""


def share_one_heap() -> None:
    """From now on, unless MALLOC_ARENA_MAX says otherwise. Where the C library is not glibc it does nothing."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
