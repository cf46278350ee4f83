"""How long a thread may keep the interpreter while others wait for it: the longer, the more calls there are.

Who waits for the interpreter's lock wakes up once in this time to ask for it, and costs the kernel some 12 us each
time. With the interpreter's own 5 ms, 400 that wait need a whole core for nothing but that: the one that has the lock
does not get on, more and more wait, and nothing brings them back. A core with 200 calls, which is a few too many, was
found in that state after one start of 16, and two more of them failed in the same way: 95% of its time went to the
kernel, and no call got on any more.
"""

import sys

SHORTEST_SECONDS = 0.005
"""The interpreter's own: what a tool computes in a thread holds up audio for so long, time and again."""
SECONDS_A_CALL = 150e-6
"""If all five threads of each call wait, their asking takes two fifths of the core."""


def adapt_to(calls: int) -> None:
    """So many calls live in this process. Any thread."""
    sys.setswitchinterval(max(SHORTEST_SECONDS, calls * SECONDS_A_CALL))
