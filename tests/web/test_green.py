"""The seams of gunicorn and gevent that the worker with greenlets hangs on; how it serves is end to end."""

import inspect

from gevent.baseserver import BaseServer
from gunicorn.workers import ggevent

from web.green import GreenCallWorker, HesitantServer


def test_gunicorn_makes_its_servers_of_the_class_that_we_put_in_place() -> None:
    assert "StreamServer(s, handle=" in inspect.getsource(ggevent.GeventWorker.run)
    assert "ggevent.StreamServer" in inspect.getsource(GreenCallWorker.run)


def test_gevent_reads_and_stops_reading_where_we_step_in() -> None:
    assert "self._do_read" in inspect.getsource(BaseServer.start_accepting)
    assert HesitantServer._do_read is not BaseServer._do_read
    for name in ("stop_accepting", "_start_accepting_if_started"):
        assert callable(getattr(BaseServer, name))
