"""The faults, and what has to become of the calls that they strike."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from simulator.session import RealtimeSession
from tests.end_to_end.fault_row import DEAD_AIR_SECONDS
from tests.end_to_end.fault_stage import FaultyCall, Lane, Moment, Scene
from tests.end_to_end.fault_strikes import (
    Strike,
    await_next_stream,
    deaf,
    fill_disk,
    half_open,
    heal_model,
    leave_one_worker,
    lock_database,
    refused,
    refused_for_a_second,
    remove_database,
    slow,
    speak_ahead,
    speak_at_normal_pace,
    stalled_altogether,
    take_back,
    to_each_call,
    to_each_session,
    to_master,
    to_worker,
    turned_away,
)
from tests.end_to_end.saboteur import (
    BLOCK_LISTENER,
    EXIT_LISTENER,
    KILL_CALL,
    KILL_LISTENER,
    KILL_MODEL,
    KILL_PHONE,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the matrix."""

    name: str
    strike: Strike
    heal: Callable[[Scene], None] = lambda scene: None
    """takes back what lasts"""
    before: Callable[[Lane], None] = lambda lane: None
    """done before the calls are made"""
    after: Callable[[FaultyCall], None] | None = None
    """done in each call, when the caller has heard what was due"""
    falls_back: frozenset[Moment] = frozenset()
    """of the moments, those after which the call cannot go on"""
    once: bool = False
    """whether that happens to the first who notices it in a process, be it a call or not: others may go on"""
    dialled_later: bool = False
    """the call that has not started yet is made when the fault is there"""
    ends_server: bool = False
    longest: float = DEAD_AIR_SECONDS
    """dead air, in s"""
    errors: str = ""
    """what of it the server logs as an error, as a regular expression"""
    seconds: float = 11
    """about how long it takes"""


ALL = frozenset(Moment)
AT_SETUP = frozenset({Moment.SETUP})


def _closed(code: int, falls_back: frozenset[Moment] = frozenset()) -> Fault:
    return Fault(
        f"model: closes with {code}",
        to_each_session(lambda session: session.close(code)),
        falls_back=falls_back,
    )


def _sabotaged(name: str, key: str, errors: str = "") -> Fault:
    return Fault(name, to_each_call(lambda call: call.phone.press(key)), errors=errors)


FAULTS = [
    Fault("model: refuses for 1 s", refused_for_a_second, heal_model),
    Fault("model: refuses for good", refused, heal_model, falls_back=ALL),
    Fault("model: refuses the key", turned_away, heal_model, falls_back=ALL),
    Fault("model: slow, 2.5 s to begin anything", slow, heal_model, seconds=23),
    Fault("model: one connection stalls", to_each_session(RealtimeSession.stall), heal_model, seconds=13),
    Fault("model: all connections stall", stalled_altogether, heal_model, falls_back=ALL, seconds=19),
    Fault("model: connection reset", to_each_session(RealtimeSession.drop)),
    Fault(
        "model: connection reset, much left to play",
        to_each_session(RealtimeSession.drop),
        speak_at_normal_pace,
        before=speak_ahead,
        seconds=13,
    ),
    *(_closed(code) for code in (1000, 1001, 1011, 1012)),
    *(_closed(code, falls_back=AT_SETUP) for code in (3000, 4000)),
    Fault("model: garbage as text", to_each_session(lambda session: session.send_raw("{not json"))),
    Fault("model: garbage as binary", to_each_session(lambda session: session.send_raw(bytes(range(256))))),
    Fault("phone: connection reset", to_each_call(lambda call: call.phone.drop())),
    Fault("phone: half-open", half_open, seconds=15),
    Fault("phone: stops reading", deaf, seconds=15),
    Fault("phone: garbage", to_each_call(lambda call: call.phone.send_raw("{not json"))),
    _sabotaged("actor: model's killed", KILL_MODEL, "failed at Remember"),
    _sabotaged("actor: phone's killed", KILL_PHONE, "failed at PlaySound"),
    _sabotaged("actor: call's killed", KILL_CALL, "failed at HeardSoFar"),
    _sabotaged("actor: listener killed", KILL_LISTENER, "failed at DigitPressed"),
    _sabotaged("actor: listener calls sys.exit", EXIT_LISTENER, "failed at DigitPressed"),
    _sabotaged("actor: listener stuck", BLOCK_LISTENER),
    Fault(
        "database: locked",
        lock_database,
        take_back,
        falls_back=AT_SETUP,
        dialled_later=True,
        errors="gets the fallback",
        seconds=13,
    ),
    Fault(
        "database: disk full",
        fill_disk,
        take_back,
        falls_back=AT_SETUP,
        dialled_later=True,
        errors="gets the fallback",
    ),
    Fault(
        "database: gone",
        remove_database,
        falls_back=AT_SETUP,
        once=True,
        dialled_later=True,
        errors="gets the fallback",
        ends_server=True,
    ),
    Fault(
        "process: worker killed (SIGKILL)",
        to_worker(signal.SIGKILL),
        before=leave_one_worker,
        errors="was sent SIGKILL",
    ),
    Fault(
        "process: worker told to stop (SIGTERM)",
        to_worker(signal.SIGTERM),
        before=leave_one_worker,
        after=await_next_stream,
    ),
    Fault(
        "process: server reloads (SIGHUP)",
        to_master(signal.SIGHUP),
        before=leave_one_worker,
        after=await_next_stream,
    ),
    Fault(
        "process: only server told to stop (SIGTERM)",
        to_master(signal.SIGTERM),
        before=leave_one_worker,
        longest=5.0,
        falls_back=ALL,
        ends_server=True,
    ),
]


def fault_named(name: str) -> Fault:
    return next(fault for fault in FAULTS if fault.name == name)
