"""The Connect verb with its Stream, and the stream's status callbacks. Runs in the call's thread.

Source: twilio-media-streams.md, 5 and 6.
"""

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from simulator import twiml
from simulator.call_result import StreamRecord
from simulator.document import Document
from simulator.media_messages import Writer
from simulator.phone_events import EndReason, StreamClosed, StreamOpened
from simulator.stream import MediaStream
from wire.g711 import SAMPLE_RATE

if TYPE_CHECKING:
    from simulator.exchange import Exchange


def connect(exchange: "Exchange", verb: twiml.Connect, base: str) -> "Document | EndReason | None":
    """Carry the call over a media stream until either side ends it. None is the next verb."""
    stream_sid = f"MZ{secrets.token_hex(16)}"
    record = StreamRecord(stream_sid, verb.stream.url, verb.stream.name or stream_sid, verb.stream.parameters)
    stream = MediaStream(
        record,
        Writer(exchange.fields["AccountSid"], exchange.fields["CallSid"], stream_sid),
        clock=exchange.clock,
        latency=exchange.latency,
        emit=exchange.emit,
        wake=lambda: exchange.pacer.command(None),
        receive_buffer=exchange.receive_buffer,
    )
    try:
        record.url = url = twiml.stream_url(verb.stream, base)
        stream.open(exchange.requester.route.local_url(url), exchange.requester.headers(url, {}))
    except twiml.StreamRefusedError as problem:
        exchange.report(problem.code, str(problem))
        _call_back(exchange, verb.stream, record, "stream-error", str(problem))
        return None  # whether Twilio asks `action` here is not known; the next verb is the safe fallback
    exchange.stream = stream
    exchange.streams.append(record)
    exchange.emit(StreamOpened(record.opened / SAMPLE_RATE, stream_sid, url))
    _call_back(exchange, verb.stream, record, "stream-started")
    exchange.pacer.carry(stream)
    _close(exchange, stream, verb.stream)
    return exchange.after(verb.action, verb.method, base, {})


def _close(exchange: "Exchange", stream: MediaStream, noun: twiml.Stream) -> None:
    now = exchange.clock() if exchange.ended is None else exchange.ended
    closed = stream.close(now)
    exchange.stream = None
    exchange.line.hear(stream.playout.take_audio())
    exchange.max_lateness = max(exchange.max_lateness, stream.max_lateness)
    exchange.emit(StreamClosed(now / SAMPLE_RATE, stream.record.stream_sid, closed.code, closed.by))
    if closed.error in (31903, 31924):
        _call_back(exchange, noun, stream.record, "stream-error", closed.detail)
    else:
        _call_back(exchange, noun, stream.record, "stream-stopped")


def _call_back(
    exchange: "Exchange", noun: twiml.Stream, record: StreamRecord, event: str, error: str | None = None
) -> None:
    if noun.status_callback is None:
        return
    fields = {
        "AccountSid": exchange.fields["AccountSid"],
        "CallSid": exchange.fields["CallSid"],
        "StreamSid": record.stream_sid,
        "StreamName": record.name,
        "StreamEvent": event,
        "Timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    if error is not None:
        fields["StreamError"] = error
    exchange.callbacks.post(noun.status_method, noun.status_callback, fields)
