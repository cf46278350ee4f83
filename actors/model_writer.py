"""The model's writer: what goes out on the model's socket, the caller's audio and all else in its order."""

from actors.model_socket import ModelSocket, ModelSocketError
from actors.transcoder import CallerTranscoder
from wire import client_events

AT_ONCE = 32
"""Pieces of the caller's audio that go out in one write, at most."""


class ModelWriter:
    """Writes one model socket. Belongs to an OpenAIActor, and to whatever thread runs that.

    Raises nothing where the socket cannot be written: how it ended, with the close code, is for the reader to tell.
    """

    def __init__(self, socket: ModelSocket, transcoder: CallerTranscoder | None) -> None:
        """`transcoder`: for a server that takes the caller's audio in another format than the phone's."""
        self._socket = socket
        self._transcoder = transcoder
        self._unwritable = False
        self._unsent: list[str] = []
        """The caller's audio that goes out with what comes next."""

    def append(self, payload: str, more: bool) -> None:
        """Send a piece of the caller's audio, base64 of mu-law. 50 times a second.

        `more`: the next piece waits already. A queue forms where the actor does not keep up; then one write for all
        of it costs less than one for each.
        """
        if self._transcoder is not None:
            payload = self._transcoder.transcode(payload)
        if payload:
            self._unsent.append(client_events.append_audio(payload))
        if not more or len(self._unsent) >= AT_ONCE:
            self._write()

    def send(self, *events: str) -> None:
        """Send these, behind all of the caller's audio that came before."""
        if events:
            self._write(*events)

    def _write(self, *events: str) -> None:
        unsent, self._unsent = self._unsent, []
        if self._unwritable or not (unsent or events):
            return
        try:
            self._socket.send(*unsent, *events)
        except ModelSocketError:
            self._give_up()

    def ping(self) -> None:
        """Ask the server whether it lives."""
        try:
            self._socket.ping()
        except ModelSocketError:
            self._give_up()

    def _give_up(self) -> None:
        self._unwritable = True
        self._socket.abort()  # which wakes the reader
