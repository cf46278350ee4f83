"""What benchmarks compare the server with: the same packages, put together in the straightforward way.

Flask-Sock's own reading, a Pykka actor for each socket and one for the call, `json`, websocket-client as it comes,
and every frame through all three mailboxes. It moves audio, clears on interruption and sends a mark behind every
piece, and that is all: no security, no ledger, no supervision, no recording, no limits. Started as the server is,
with the same variables; its WORKERS are one.
"""

import json
import os
import threading
from typing import Any

import pykka
import websocket
from flask import Flask, Response, request
from flask_sock import Sock
from gunicorn.app.base import BaseApplication

TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response><Connect><Stream url="{}"/></Connect></Response>'
SESSION = {
    "type": "realtime",
    "instructions": "Sing.",
    "audio": {"input": {"format": {"type": "audio/pcmu"}}, "output": {"format": {"type": "audio/pcmu"}}},
}


class Phone(pykka.ThreadingActor):
    """Writes to the media socket."""

    def __init__(self, socket: Any, stream_sid: str) -> None:
        super().__init__()
        self.socket = socket
        self.stream_sid = stream_sid
        self.marks = 0

    def on_receive(self, message: dict[str, Any]) -> None:
        try:
            if message["what"] == "audio":
                self.marks += 1
                self._send("media", media={"payload": message["payload"]})
                self._send("mark", mark={"name": f"mark {self.marks}"})
            else:
                self._send("clear")
        except Exception:
            self.stop()  # the caller has hung up

    def _send(self, event: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"event": event, "streamSid": self.stream_sid, **fields}))


class Model(pykka.ThreadingActor):
    """Writes to the model's socket, which a thread reads."""

    def __init__(self, call: Any, url: str) -> None:
        super().__init__()
        self.call = call
        self.socket = websocket.create_connection(url)
        self.socket.send(json.dumps({"type": "session.update", "session": SESSION}))
        threading.Thread(target=self._read, daemon=True).start()

    def on_receive(self, message: dict[str, Any]) -> None:
        try:
            self.socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": message["payload"]}))
        except Exception:
            self.stop()

    def on_stop(self) -> None:
        self.socket.abort()  # type: ignore[no-untyped-call]

    def _read(self) -> None:
        try:
            while text := self.socket.recv():
                event = json.loads(text)
                if event["type"] == "response.output_audio.delta":
                    self.call.tell({"what": "assistant audio", "payload": event["delta"]})
                elif event["type"] == "input_audio_buffer.speech_started":
                    self.call.tell({"what": "speech"})
        except Exception:
            self.stop()


class Call(pykka.ThreadingActor):
    """Passes everything on."""

    def __init__(self, socket: Any, stream_sid: str) -> None:
        super().__init__()
        self.phone = Phone.start(socket, stream_sid)
        self.model = Model.start(self.actor_ref, os.environ["OPENAI_REALTIME_URL"])

    def on_receive(self, message: dict[str, Any]) -> None:
        try:
            match message["what"]:
                case "caller audio":
                    self.model.tell({"payload": message["payload"]})
                case "assistant audio":
                    self.phone.tell({"what": "audio", "payload": message["payload"]})
                case "speech":
                    self.phone.tell({"what": "clear"})
        except pykka.ActorDeadError:
            self.stop()

    def on_stop(self) -> None:
        self.model.stop(block=False)
        self.phone.stop(block=False)


def create_app() -> Flask:
    """The two routes, and the one that says that it lives."""
    app = Flask(__name__)
    sock = Sock(app)

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/twiml")
    def twiml() -> Response:
        return Response(TWIML.format(f"ws://{request.host}/websocket"), content_type="text/xml")

    @sock.route("/websocket")  # type: ignore[untyped-decorator]
    def media_stream(socket: Any) -> None:
        call = None
        try:
            while True:
                message = json.loads(socket.receive())
                match message["event"]:
                    case "start":
                        call = Call.start(socket, message["streamSid"])
                    case "media" if call is not None:
                        call.tell({"what": "caller audio", "payload": message["media"]["payload"]})
                    case "stop":
                        break
        finally:
            if call is not None and call.is_alive():
                call.stop(block=False)

    return app


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, with one threaded worker."""

    def load_config(self) -> None:
        for name, value in {
            "bind": f"127.0.0.1:{os.environ['PORT']}",
            "worker_class": "gthread",
            "threads": int(os.environ["THREADS"]),
            "keepalive": 0,
            "graceful_timeout": 2,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return create_app()


if __name__ == "__main__":
    Server().run()
