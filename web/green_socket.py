"""Sockets for calls in greenlets: gevent's, which read in half the time.

gevent's `recv` tries to read first, mostly in vain, and only then waits; for each wait it tells the event loop to
watch the socket, and then to stop watching it; and for each that is limited it makes a timeout and starts and stops
it. 100 frames come in a second and call.
"""

import contextlib
import errno
import socket
from typing import Any

import gevent
import gevent.socket
from gevent.exceptions import ConcurrentObjectUseError

READABLE = 1
"""libev's name for it is EV_READ; gevent documents the number."""
LOOKS = 5
"""How often it is looked whether anything has come, in the time that a peer may be silent. To put a timer off with
every read would cost more: all others have to make room for it."""


class GreenSocket(gevent.socket.socket):  # type: ignore[misc]
    """Waits first and then reads, where it waits without limit, or with the one of `limit_silence`.

    As long as its reader comes back at once, it stays watched. One greenlet reads.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._readable: Any = None
        self._reader: Any = None
        """The greenlet that waits; as long as there is one, `_readable` is active."""
        self._silence: Any = None
        self._quiet_looks = -1
        """In a row, while a greenlet waited; -1: not yet since the last look."""
        self._silent = False

    def limit_silence(self, seconds: float) -> None:
        """From now on `recv` raises TimeoutError once it has waited for so long, or a fifth longer, for anything to
        come; the timeout is for sending.
        """
        self._silence = self.hub.loop.timer(seconds / LOOKS, seconds / LOOKS)
        self._silence.start(self._look)

    def recv(self, *arguments: Any) -> bytes:
        """As every socket's."""
        if self._silence is None and self.timeout is not None:
            return super().recv(*arguments)  # type: ignore[no-any-return]
        readable = self._readable
        if readable is None:
            if self.fileno() < 0:
                raise OSError(errno.EBADF, "closed")
            readable = self._readable = self.hub.loop.io(self.fileno(), READABLE)
        if not readable.active:
            readable.start(self._wake)
        elif self._reader is not None:
            raise ConcurrentObjectUseError("another greenlet reads already")
        self._reader = gevent.getcurrent()
        try:
            self.hub.switch()
        except BaseException:
            readable.stop()
            raise
        finally:
            self._reader = None
        self._quiet_looks = -1
        if self._silent:
            raise TimeoutError("timed out")
        try:
            return self._sock.recv(*arguments)  # type: ignore[no-any-return]
        except BlockingIOError:
            return super().recv(*arguments)  # type: ignore[no-any-return]

    def _wake(self) -> None:
        # In the event loop, which goes on once the reader waits for something. Mostly it is this socket again.
        readable, reader = self._readable, self._reader
        try:
            if reader is not None:
                reader.switch()
        finally:
            if self._reader is None:
                readable.stop()

    def _look(self) -> None:
        # In the event loop, where nothing may be raised: who waits finds the end of what comes.
        if self._reader is None:
            # Who begins to wait right before the next look has not waited until then.
            self._quiet_looks = -1
            return
        self._quiet_looks += 1
        if self._quiet_looks == LOOKS:
            with contextlib.suppress(OSError):  # it has just been reset, which the reader is about to find
                self.shutdown(socket.SHUT_RD)
                self._silent = True

    def close(self) -> None:
        """Close it; who waits for it gets an OSError."""
        self._forget()
        super().close()

    def detach(self) -> int:
        """Give the descriptor away."""
        self._forget()
        return super().detach()  # type: ignore[no-any-return]

    def _forget(self) -> None:
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.close()
        readable, self._readable = self._readable, None
        if readable is not None:
            readable.close()
            if self._reader is not None:
                self.hub.loop.run_callback(self._cancel, self._reader)

    def _cancel(self, reader: Any) -> None:
        if reader is self._reader:  # who has been woken since, finds it closed
            reader.throw(OSError(errno.EBADF, "closed"))


def use_green_sockets() -> None:
    """Make all of this process's sockets green. gevent has to have patched the process before."""
    socket.socket = GreenSocket  # type: ignore[misc]
