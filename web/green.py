"""Calls in greenlets: gunicorn's gevent worker in place of threads, the same code in it.

It carries more calls a core, because no thread has to be woken, and gives up preemption for it: what computes for
30 ms, a tool or a listener, holds up every call of its worker for as long, and so does a C library that waits by
itself, such as psycopg. gevent is the extra of that name.
"""

from gunicorn.workers.ggevent import GeventWorker

from web.server import PatientWorker


class GreenCallWorker(PatientWorker, GeventWorker):  # type: ignore[misc]
    """gunicorn's gevent worker. With several of them each takes one connection at a time; that spreads the calls."""
