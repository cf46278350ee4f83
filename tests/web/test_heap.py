"""web.heap: all threads take their memory from one heap."""

import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

HEAPS = """
import ctypes, sys, tempfile, threading
from web.heap import share_one_heap

if sys.argv[1] == "one":
    share_one_heap()
held = threading.Barrier(9)
threads = [threading.Thread(target=lambda: (bytearray(2000), held.wait(10))) for _ in range(8)]
for thread in threads:
    thread.start()
held.wait(10)
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as found:
    stream = ctypes.c_void_p(libc.fopen(found.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(found.read().decode().count("<heap nr"))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap in any case")
@pytest.mark.parametrize(
    ("how", "fits"), [("one", lambda heaps: heaps == 1), ("many", lambda heaps: heaps > 1)]
)
def test_threads_share_one_heap(how: str, fits: Callable[[int], bool]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HEAPS, how], capture_output=True, text=True, timeout=30, check=True, env={}
    )
    assert fits(int(ran.stdout))
