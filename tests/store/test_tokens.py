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
from store.tokens import (
    AT_ONCE_SECONDS,
    CALL_KEPT_SECONDS,
    KEPT_SECONDS,
    MAX_MISSED,
    MAX_RESUMES,
    RESUMES_AT_ONCE,
    Refusal,
    StreamTokens,
    TokenRefused,
    ticket,
)

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


def test_a_ticket_tells_the_call_as_long_as_its_token_is_good(tokens: StreamTokens, clock: Clock) -> None:
    token, late = tokens.issue(CALL), tokens.issue(OTHER_CALL)
    assert token not in ticket(token)
    assert tokens.call_of(ticket(token)) == CALL
    assert tokens.call_of(token) is None
    tokens.spend(token, CALL)
    assert tokens.call_of(ticket(token)) is None
    assert tokens.call_of(ticket(late)) == OTHER_CALL
    clock.now += 60
    assert tokens.call_of(ticket(late)) is None


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
    tokens.issue(OTHER_CALL)
    assert refusal(tokens, token) is Refusal.EXPIRED
    clock.now += 1
    tokens.issue("CA" + "2" * 32)
    assert refusal(tokens, token) is Refusal.UNKNOWN
    clock.now += CALL_KEPT_SECONDS + 1
    tokens.issue(CALL)
    assert len(stored(database)) == 1
    with database.begin() as connection:
        assert connection.exec_driver_sql("SELECT call_sid FROM streamed_calls").scalars().all() == [CALL]


# Further streams of a call


def test_a_call_whose_stream_has_ended_gets_another_one(tokens: StreamTokens) -> None:
    assert tokens.spend(tokens.issue(CALL), CALL) == 1
    assert tokens.spend(tokens.issue(CALL, after=1), CALL) == 2
    assert tokens.spend(tokens.issue(CALL, after=2), CALL) == 3


def test_a_stream_that_was_announced_and_never_began_is_followed_by_another(tokens: StreamTokens) -> None:
    """The worker that it came to was full."""
    first = tokens.issue(CALL)
    assert tokens.spend(tokens.issue(CALL, after=1), CALL) == 2
    assert refusal(tokens, first) is Refusal.REPLAYED


@pytest.mark.parametrize("after", [0, 1])
def test_a_question_that_was_answered_and_followed_opens_nothing(tokens: StreamTokens, after: int) -> None:
    """A captured request stays validly signed: neither the webhook's nor the action's may open a second stream."""
    tokens.spend(tokens.issue(CALL), CALL)
    tokens.spend(tokens.issue(CALL, after=1), CALL)
    with pytest.raises(TokenRefused, match="replayed"):
        tokens.issue(CALL, after)


def test_twilio_may_ask_twice_what_comes_after_a_stream(tokens: StreamTokens, clock: Clock) -> None:
    tokens.spend(tokens.issue(CALL), CALL)
    lost = tokens.issue(CALL, after=1)
    clock.now += 59.9
    assert tokens.spend(tokens.issue(CALL, after=1), CALL) == 2
    assert refusal(tokens, lost) is Refusal.REPLAYED


@pytest.mark.parametrize("after", [0, 1])
def test_a_question_is_not_answered_again_for_a_caller_who_never_came(
    tokens: StreamTokens, clock: Clock, after: int
) -> None:
    for number in range(after + 1):
        tokens.issue(CALL, after=number)
    clock.now += 60
    with pytest.raises(TokenRefused, match="replayed"):
        tokens.issue(CALL, after)


def test_what_follows_the_stream_of_an_unknown_call_is_refused(
    tokens: StreamTokens, database: Database
) -> None:
    with pytest.raises(TokenRefused, match="unknown"):
        tokens.issue(CALL, after=1)
    assert tokens.spend(tokens.issue(CALL), CALL) == 1


def test_a_call_cannot_skip_a_stream(tokens: StreamTokens) -> None:
    tokens.spend(tokens.issue(CALL), CALL)
    with pytest.raises(TokenRefused, match="replayed"):
        tokens.issue(CALL, after=2)


def resume(tokens: StreamTokens, after: int) -> Refusal | None:
    try:
        tokens.spend(tokens.issue(CALL, after), CALL)
    except TokenRefused as refused:
        return refused.reason
    return None


def test_a_call_that_breaks_again_and_again_is_resumed_a_few_times(
    tokens: StreamTokens, clock: Clock
) -> None:
    tokens.spend(tokens.issue(CALL), CALL)
    outcomes = [resume(tokens, after) for after in range(1, 5)]
    assert outcomes == [None] * RESUMES_AT_ONCE + [Refusal.RESUMED_TOO_OFTEN]
    clock.now += AT_ONCE_SECONDS
    assert resume(tokens, 4) is None


def test_a_long_call_is_resumed_so_many_times_in_all(tokens: StreamTokens, clock: Clock) -> None:
    tokens.spend(tokens.issue(CALL), CALL)
    for after in range(1, MAX_RESUMES + 1):
        clock.now += 3600  # far longer than the row of a token is kept
        assert resume(tokens, after) is None
    clock.now += 3600
    assert resume(tokens, MAX_RESUMES + 1) is Refusal.RESUMED_TOO_OFTEN


def test_streams_that_nobody_had_room_for_are_no_resumes(tokens: StreamTokens) -> None:
    tokens.spend(tokens.issue(CALL), CALL)
    for after in range(1, 1 + MAX_MISSED):
        assert tokens.missed(CALL, after) == after - 1
        tokens.issue(CALL, after)
    assert resume(tokens, 1 + MAX_MISSED) is None
    assert tokens.missed(CALL, 2 + MAX_MISSED) == 0


def test_there_is_an_end_to_streams_that_nobody_has_room_for(tokens: StreamTokens) -> None:
    for after in range(1 + MAX_MISSED):
        tokens.issue(CALL, after)
    assert resume(tokens, 1 + MAX_MISSED) is Refusal.RESUMED_TOO_OFTEN


def test_an_unknown_call_has_missed_what_it_says(tokens: StreamTokens) -> None:
    assert tokens.missed(CALL, 2) == 2


def test_the_resumes_of_another_call_do_not_count(tokens: StreamTokens) -> None:
    for call_sid in (CALL, OTHER_CALL):
        for after in range(RESUMES_AT_ONCE + 1):
            tokens.spend(tokens.issue(call_sid, after), call_sid)


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
            st.tuples(st.just("issue"), st.integers(0, 3), st.just(CALL)),
            st.tuples(st.just("spend"), st.integers(0, 7), st.sampled_from([CALL, CALL, OTHER_CALL])),
            st.tuples(st.just("wait"), st.integers(0, 45), st.just("")),
        ),
        max_size=16,
    )
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_goes_as_the_rules_say(database: Database, steps: list[tuple[str, int, str]]) -> None:
    clock = Clock()
    tokens = StreamTokens(database, 60, clock)
    call = f"CA{secrets.token_hex(16)}"  # the database is the same for every example
    issued: list[tuple[str, int, float]] = []
    announced_at = 0.0
    spent_at: list[float] = []
    newest, begun = 0, 0
    for step, number, call_sid in steps:
        if step == "issue":
            again = number + 1 == newest and begun < newest and clock.now < announced_at + 60
            lately = [at for at in spent_at if at > clock.now - AT_ONCE_SECONDS]
            if again or (number == newest and len(lately) < RESUMES_AT_ONCE):
                issued.append((tokens.issue(call, number), number + 1, clock.now + 60))
                if number == newest:
                    newest, announced_at = number + 1, clock.now
            else:
                with pytest.raises(TokenRefused):
                    tokens.issue(call, number)
        elif step == "wait":
            clock.now += number
        elif number < len(issued):
            token, stream, expires_at = issued[number]
            if call_sid != CALL:
                assert refusal(tokens, token, OTHER_CALL) is Refusal.OTHER_CALL
            elif clock.now < expires_at and begun < stream == newest:
                assert tokens.spend(token, call) == stream
                begun = stream
                if stream > 1:
                    spent_at.append(clock.now)
            else:
                assert refusal(tokens, token, call) in (Refusal.REPLAYED, Refusal.EXPIRED)
