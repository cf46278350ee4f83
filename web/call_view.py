"""What a page is told of a call: entries and events as JSON, numbers shortened, and nothing that is withheld.

    call    {call_sid, from, to, assistant, streams, cost, began_at, ended_at, outcome, live}
    entry   {id, position, speaker, text, heard_text, heard_ms, total_ms, failed, withheld, told_at,
             tool: null or {name, arguments, output}}
    event   {id, at, kind, …its data}

Times are in seconds since 1970, durations in ms. While a recording is paused, as for a card's number, neither what
is said nor what tools are given is shown.
"""

from typing import Any

from store.history import PastCall
from store.news import GoingOn, Happened, SaidNow
from wire.phone_number import shortened
from wire.transcript_text import WITHHELD
from wire.withheld import Pauses, is_withheld

_FILES = {"recording", "transcript"}


def number(text: str, full: bool) -> str:
    """A caller's or a called number, as it is shown."""
    return text if full or not text else shortened(text)


def call_json(call: GoingOn, live: bool, full: bool) -> dict[str, Any]:
    """A call. `live`: something can be told to it."""
    return _any_call_json(call, live, full) | {"ended_at": call.ended_at}


def past_call_json(call: PastCall, live: bool, full: bool) -> dict[str, Any]:
    """A call in a list of past ones. `live`: it goes on, as far as anybody can tell."""
    return _any_call_json(call, live, full) | {
        "seconds": call.seconds,
        "turns": call.turns,
        "answer_ms": call.answer_ms,
    }


def _any_call_json(call: GoingOn | PastCall, live: bool, full: bool) -> dict[str, Any]:
    return {
        "call_sid": call.call_sid,
        "from": number(call.caller, full),
        "to": number(call.called, full),
        "assistant": call.assistant,
        "streams": call.streams,
        "cost": call.cost,
        "began_at": call.began_at,
        "outcome": call.outcome,
        "live": live,
    }


def entry_json(said: SaidNow, paused: Pauses) -> dict[str, Any]:
    """What was said in one item, as it is now."""
    entry, withheld = said.entry, is_withheld(said.told_at, paused)
    tool = None
    if entry.tool is not None:
        tool = {
            "name": entry.tool.name,
            "arguments": WITHHELD if withheld else entry.tool.arguments,
            "output": WITHHELD if withheld and entry.tool.output is not None else entry.tool.output,
        }
    return {
        "id": entry.item_id,
        "position": said.position,
        "speaker": entry.speaker,
        "text": WITHHELD if withheld and entry.text else entry.text,
        "heard_text": WITHHELD if withheld and entry.heard_text else entry.heard_text,
        "heard_ms": entry.heard_ms,
        "total_ms": entry.total_ms,
        "failed": entry.failed,
        "withheld": withheld,
        "told_at": said.told_at,
        "tool": tool,
    }


def event_json(event: Happened) -> dict[str, Any]:
    """Something that happened. Where files are is nobody's business but this machine's."""
    data = {} if event.kind in _FILES else {key: value for key, value in event.data.items() if key != "path"}
    return {**data, "id": event.number, "at": event.at, "kind": event.kind}
