"""Stream tokens: each is taken once, by its own call, in time."""

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database import Database
from store.tokens import CALL_KEPT_SECONDS, KEPT_SECONDS, Refusal, StreamTokens, TokenRefused

ROOT = Path(__file__).parents[2]
CALL = "CA" + "0" * 32
OTHER_CALL = "CA" + "1" * 32

SPEND_ALL = """
import sys
from store.tokens import Database, StreamTokens, TokenRefused
tokens = StreamTokens(Database(sys.argv[1]), 60)
print("ready", flush=True)
for line in sys.stdin:
    try:
        tokens.spend(*line.split())
        print("taken")
    except TokenRefused as refused:
        print(refused.reason)
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{file}")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(database: Database, clock: Clock) -> StreamTokens:
    return StreamTokens(database, 60, clock)


def refusal(tokens: StreamTokens, token: str, call_sid: str = CALL) -> Refusal | None:
    try:
        tokens.spend(token, call_sid)
    except TokenRefused as refused:
        return refused.reason
    return None


def stored(database: Database) -> list[tuple[object, ...]]:
    with database.begin() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM stream_tokens")]


def test_a_token_opens_its_call_once(tokens: StreamTokens) -> None:
    token = tokens.issue(CALL)
    assert refusal(tokens, token) is None
    assert refusal(tokens, token) is Refusal.REPLAYED


def test_a_token_is_256_bits_that_any_url_can_hold(tokens: StreamTokens) -> None:
    issued = {tokens.issue(CALL) for _ in range(50)}
    assert len(issued) == 50
    assert {len(token) for token in issued} == {43}
    assert all(token.replace("-", "").replace("_", "").isalnum() for token in issued)


def test_the_database_holds_no_token(tokens: StreamTokens, database: Database, file: Path) -> None:
    token = tokens.issue(CALL)
    database.close()  # the pool only: what is in the write-ahead log gets into the file
    assert token not in str(stored(database))
    assert all(token.encode() not in part.read_bytes() for part in file.parent.iterdir())


def test_an_unknown_token_is_refused(tokens: StreamTokens) -> None:
    tokens.issue(CALL)
    for token in ("", "x", "\ud800", "é" * 10_000, "' OR 1=1 --"):
        assert refusal(tokens, token) is Refusal.UNKNOWN


def test_another_call_is_refused_and_does_not_use_the_token_up(tokens: StreamTokens) -> None:
    token = tokens.issue(CALL)
    assert refusal(tokens, token, OTHER_CALL) is Refusal.OTHER_CALL
    assert refusal(tokens, token) is None
    assert refusal(tokens, token, OTHER_CALL) is Refusal.OTHER_CALL


def test_a_token_lasts_for_its_time_and_no_longer(tokens: StreamTokens, clock: Clock) -> None:
    in_time, late = tokens.issue(CALL), tokens.issue(OTHER_CALL)
    clock.now += 59.9
    assert refusal(tokens, in_time) is None
    clock.now += 0.1
    assert refusal(tokens, late, OTHER_CALL) is Refusal.EXPIRED


def test_a_call_has_one_stream_however_many_tokens(tokens: StreamTokens) -> None:
    """Twilio may ask again before the stream starts; of the tokens it gets then, one is good."""
    first, second = tokens.issue(CALL), tokens.issue(CALL)
    assert refusal(tokens, second) is None
    assert refusal(tokens, first) is Refusal.REPLAYED


def test_a_replayed_webhook_gets_no_token(tokens: StreamTokens, clock: Clock) -> None:
    """protocol-gotchas 42: a captured request stays validly signed for ever."""
    tokens.spend(tokens.issue(CALL), CALL)
    clock.now += CALL_KEPT_SECONDS - 1
    with pytest.raises(TokenRefused, match="replayed"):
        tokens.issue(CALL)


def test_a_refusal_says_why(tokens: StreamTokens) -> None:
    with pytest.raises(TokenRefused, match=r"^stream token refused: unknown$"):
        tokens.spend("x", CALL)


def test_old_rows_go_when_a_token_is_issued(tokens: StreamTokens, clock: Clock, database: Database) -> None:
    token = tokens.issue(CALL)
    clock.now += 60 + KEPT_SECONDS
    tokens.issue(CALL)
    assert refusal(tokens, token) is Refusal.EXPIRED
    clock.now += 1
    tokens.issue(CALL)
    assert refusal(tokens, token) is Refusal.UNKNOWN
    clock.now += 10 * KEPT_SECONDS
    tokens.issue(CALL)
    assert len(stored(database)) == 1


def test_of_many_threads_one_gets_the_token(tokens: StreamTokens) -> None:
    outcomes: list[Refusal | None] = []
    for number in range(5):
        call_sid = f"CA{number:032x}"
        token = tokens.issue(call_sid)
        start = threading.Barrier(8)

        def spend(token: str = token, call_sid: str = call_sid, start: threading.Barrier = start) -> None:
            start.wait(10)
            outcomes.append(refusal(tokens, token, call_sid))

        threads = [threading.Thread(target=spend) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert outcomes.count(None) == 5
    assert outcomes.count(Refusal.REPLAYED) == 35


def test_of_many_processes_one_gets_each_token(database: Database, file: Path) -> None:
    tokens = StreamTokens(database, 60)
    calls = [f"CA{number:032x}" for number in range(50)]
    issued = [(tokens.issue(call_sid), call_sid) for call_sid in calls]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SPEND_ALL, f"sqlite:///{file}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("".join(f"{token} {call_sid}\n" for token, call_sid in issued))
        worker.stdin.flush()
    answers = []
    for worker in workers:
        output, errors = worker.communicate(timeout=30)
        assert errors == ""
        answers.append(output.split())
    assert [len(answer) for answer in answers] == [50] * 4
    for outcomes in zip(*answers, strict=True):
        assert sorted(outcomes) == ["replayed", "replayed", "replayed", "taken"]


@given(
    st.lists(
        st.one_of(
            st.just(("issue", 0, CALL)),
            st.tuples(st.just("spend"), st.integers(0, 4), st.sampled_from([CALL, OTHER_CALL])),
            st.tuples(st.just("wait"), st.integers(0, 45), st.just("")),
        ),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_goes_as_the_rules_say(database: Database, steps: list[tuple[str, int, str]]) -> None:
    clock = Clock()
    tokens = StreamTokens(database, 60, clock)
    call = f"CA{secrets.token_hex(16)}"  # the database is the same for every example
    issued: list[tuple[str, float]] = []
    streamed = False
    for step, number, call_sid in steps:
        if step == "issue" and streamed:
            with pytest.raises(TokenRefused, match="replayed"):
                tokens.issue(call)
        elif step == "issue":
            issued.append((tokens.issue(call), clock.now + 60))
        elif step == "wait":
            clock.now += number
        elif number < len(issued):
            token, expires_at = issued[number]
            mine = call_sid == CALL
            outcome = refusal(tokens, token, call if mine else OTHER_CALL)
            if not mine:
                assert outcome is Refusal.OTHER_CALL
            elif streamed:
                assert outcome in (Refusal.REPLAYED, Refusal.EXPIRED)
            elif clock.now >= expires_at:
                assert outcome is Refusal.EXPIRED
            else:
                assert outcome is None
                streamed = True
