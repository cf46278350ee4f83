"""Calls in greenlets: gunicorn's gevent worker in place of threads, the same code in it.

It carries more calls a core, because no thread has to be woken, and gives up preemption for it: what computes for
30 ms, a tool or a listener, holds up every call of its worker for as long, and so does a C library that waits by
itself. gevent is the extra of that name.
"""

from collections.abc import Callable

import gevent
from gevent.server import StreamServer
from gunicorn.workers import ggevent

from web.server import PatientWorker


class HesitantServer(StreamServer):  # type: ignore[misc]
    """gevent's server, which leaves each connection to other workers for a while before it takes it.

    As in the threaded worker: what comes while this one is about to end goes to the new worker beside it.
    """

    hesitation: Callable[[], float]
    """How many seconds."""

    def _do_read(self) -> None:
        # The event loop calls this, in which nothing may wait, not even for a lock.
        self.stop_accepting()
        gevent.spawn(self._hesitate)

    def _hesitate(self) -> None:
        gevent.sleep(self.hesitation())
        if self.started:
            # In this order: gevent stops accepting again where it has no room. And it is tried here, not when there
            # is something to accept once more: that could be the next connection, which has not been hesitated for.
            self.start_accepting()
            super()._do_read()


class GreenCallWorker(PatientWorker, ggevent.GeventWorker):  # type: ignore[misc]
    """gunicorn's gevent worker, which hesitates as the threaded one does."""

    def run(self) -> None:
        """Serve until told to stop. Runs in the worker's main greenlet."""
        # gunicorn takes this class from its own module and shows nobody the servers that it makes of it.
        ggevent.StreamServer = type(
            "Server", (HesitantServer,), {"hesitation": staticmethod(self.hesitation)}
        )
        super().run()
