"""How each fault is brought about, and taken back."""

import os
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

from simulator.server_process import START_SECONDS
from simulator.session import RealtimeSession
from tests.end_to_end.fault_stage import PACE, FaultyCall, Lane, Moment, Scene
from tests.end_to_end.relay import first_ready
from tests.end_to_end.stage import PATIENCE

Strike = Callable[[Scene], None]


def sessions(scene: Scene) -> list[RealtimeSession]:
    return [call.session for call in scene.calls if call.session is not None]


def to_each_session(act: Callable[[RealtimeSession], None]) -> Strike:
    def strike(scene: Scene) -> None:
        for session in sessions(scene):
            act(session)

    return strike


def to_each_call(act: Callable[[FaultyCall], None]) -> Strike:
    def strike(scene: Scene) -> None:
        for call in scene.calls:
            act(call)

    return strike


# The model


def refused(scene: Scene) -> None:
    scene.lane.model.faults.refuse()
    to_each_session(RealtimeSession.drop)(scene)


def refused_for_a_second(scene: Scene) -> None:
    refused(scene)
    threading.Event().wait(1.0)
    scene.lane.model.faults.let_in()


def turned_away(scene: Scene) -> None:
    scene.lane.model.faults.turn_away("invalid_api_key", close_code=3000)
    to_each_session(RealtimeSession.drop)(scene)


def slow(scene: Scene) -> None:
    scene.lane.model.faults.delay(updated_s=2.5, response_s=2.5)


def stalled_altogether(scene: Scene) -> None:
    scene.lane.model.faults.stall()


def speak_ahead(lane: Lane) -> None:
    """The model is faster, so that the phone still plays of an answer when its session is replaced."""
    lane.model.pace = 2 * PACE


def speak_at_normal_pace(scene: Scene) -> None:
    scene.lane.model.pace = PACE


def heal_model(scene: Scene) -> None:
    scene.lane.model.faults.heal()


# The phone


def await_model_closed(call: FaultyCall) -> None:
    assert call.session is not None
    assert call.session.closed.wait(PATIENCE), f"{call.moment.value}: the server did not notice"


def in_parallel(scene: Scene, act: Callable[[FaultyCall], None]) -> None:
    problems: list[BaseException] = []

    def guarded(call: FaultyCall) -> None:
        try:
            act(call)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in scene.calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def half_open(scene: Scene) -> None:
    """Nothing comes from the phone any more, and nothing gets there; some time later Twilio notices."""

    def one(call: FaultyCall) -> None:
        call.phone.vanish()
        if call.moment is Moment.SETUP:
            scene.lane.release()
        await_model_closed(call)
        call.back_at = call.ear.now
        call.phone.drop()

    in_parallel(scene, one)


def deaf(scene: Scene) -> None:
    """What is sent to the phone is not read; some time later it is."""

    def one(call: FaultyCall) -> None:
        call.phone.stop_reading()
        if call.moment is Moment.SETUP:
            scene.lane.release()
        await_model_closed(call)
        call.back_at = call.ear.now
        call.phone.resume_reading()

    in_parallel(scene, one)


# The database


def lock_database(scene: Scene) -> None:
    lock = sqlite3.connect(scene.lane.database, isolation_level=None, check_same_thread=False)
    lock.execute("BEGIN IMMEDIATE")
    scene.lane.resources.callback(lock.close)
    scene.lane.taken_back = lock.close


def fill_disk(scene: Scene) -> None:
    """Let no file of the workers' grow any more, but the log: the write-ahead log is the longest of all."""
    lane = scene.lane
    inflate(lane.database)
    size = Path(f"{lane.database}-wal").stat().st_size
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in lane.workers}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    def take_back() -> None:
        for pid, before in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    lane.taken_back = take_back


def inflate(database: Path) -> None:
    connection = sqlite3.connect(database, timeout=5)
    # Else what is behind the log's end of now could be written at its beginning.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB)")
        connection.execute("INSERT INTO ballast VALUES (zeroblob(1000000))")
    connection.close()


def remove_database(scene: Scene) -> None:
    for name in ("switchboard.db", "switchboard.db-wal", "switchboard.db-shm"):
        (scene.lane.directory / name).unlink(missing_ok=True)


def take_back(scene: Scene) -> None:
    scene.lane.taken_back()


# The processes


def leave_one_worker(lane: Lane) -> None:
    """Have all calls in one worker: the other sleeps while they are made."""
    deadline = time.monotonic() + PATIENCE
    while len(lane.workers) != 2:  # the last scene's may be ending
        assert time.monotonic() < deadline, f"there should be two workers, not {lane.workers}"
        threading.Event().wait(0.05)
    for worker in lane.workers:
        await_others(lane, worker)
    lane.held_worker, other = lane.workers
    lane.put_to_sleep(other)
    while not may_be_written(lane.database):  # it fell asleep in a transaction
        assert time.monotonic() < deadline, "somebody keeps the database locked"
        lane.wake()
        threading.Event().wait(0.05)
        lane.put_to_sleep(other)


def await_others(lane: Lane, worker: int) -> None:
    """Until whoever is awake without that worker serves: one that the last scene has left may still be starting."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        lane.put_to_sleep(worker)
        try:
            first_ready([lane.server.url.removeprefix("http://")])
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "no other worker serves"
        finally:
            lane.wake()


def may_be_written(database: Path) -> bool:
    connection = sqlite3.connect(database, timeout=1, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE").connection.rollback()
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def to_worker(number: signal.Signals) -> Strike:
    def strike(scene: Scene) -> None:
        scene.lane.wake()
        os.kill(scene.lane.held_worker, number)

    return strike


def to_master(number: signal.Signals) -> Strike:
    def strike(scene: Scene) -> None:
        scene.lane.wake()
        os.kill(scene.lane.server.pid, number)

    return strike


def await_next_stream(call: FaultyCall) -> None:
    """The call is handed over at a pause; what the caller says in that instant is not heard by anybody."""
    call.phone.await_stream(PATIENCE, 2)
