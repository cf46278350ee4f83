"""Sessions: whose they are, how long they last, and that nobody makes one up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.sessions import BROWSER_SECONDS, GUESSES, SESSION_SECONDS, Guesses, Sessions

TOKEN = "correct horse battery"


class Now:
    """A clock that stands."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def sessions(now: Now) -> Sessions:
    return Sessions(TOKEN, now)


def test_another_worker_with_the_same_token_knows_the_session(sessions: Sessions, now: Now) -> None:
    session = sessions.begin()
    other = Sessions(TOKEN, now)
    assert other.read(sessions.cookie(session)) == session
    assert other.csrf_token(session) == sessions.csrf_token(session)


def test_with_another_token_nobody_is_signed_in_any_more(sessions: Sessions, now: Now) -> None:
    session = sessions.begin()
    for other in (Sessions("another token!!!", now), Sessions(None, now)):
        assert other.read(sessions.cookie(session)) is None
        assert other.csrf_token(session) != sessions.csrf_token(session)


def test_a_session_ends_after_twelve_hours(sessions: Sessions, now: Now) -> None:
    session = sessions.begin()
    cookie = sessions.cookie(session)
    now.time += SESSION_SECONDS - 1
    assert sessions.read(cookie) == session
    now.time += 1
    assert sessions.read(cookie) is None


def test_a_browser_that_had_the_token_is_known_for_longer(sessions: Sessions, now: Now) -> None:
    cookie = sessions.browser_cookie()
    now.time += BROWSER_SECONDS - 1
    assert sessions.is_known(cookie)
    now.time += 1
    assert not sessions.is_known(cookie)
    assert not sessions.is_known(None)


def test_one_kind_of_cookie_is_not_taken_for_the_other(sessions: Sessions) -> None:
    assert sessions.read(sessions.browser_cookie()) is None
    assert not sessions.is_known(sessions.cookie(sessions.begin()))


@given(st.text(max_size=80))
def test_no_cookie_that_was_made_up_is_a_session(cookie: str) -> None:
    assert Sessions(TOKEN).read(cookie) is None


def test_a_changed_cookie_is_refused(sessions: Sessions) -> None:
    content, _, signature = sessions.cookie(sessions.begin()).rpartition(".")
    mine = sessions.cookie(sessions.begin()).rpartition(".")[0]
    assert content != mine
    assert sessions.read(f"{mine}.{signature}") is None


def test_only_the_token_is_accepted(sessions: Sessions) -> None:
    assert sessions.accepts(TOKEN)
    for wrong in ("", TOKEN + " ", TOKEN[:-1], TOKEN.upper(), "\ud800"):
        assert not sessions.accepts(wrong)
    for anything in ("", "this machine only"):
        assert not Sessions(None).accepts(anything)


def test_what_is_sealed_is_sealed_for_one_session(sessions: Sessions) -> None:
    mine, yours = sessions.begin(), sessions.begin()
    assert mine.id != yours.id
    assert sessions.seal(mine, "a") != sessions.seal(yours, "a")
    assert sessions.seal(mine, "a") != sessions.seal(mine, "b")


def test_guessing_is_slowed_down_and_never_stopped() -> None:
    now = Now()
    guesses = Guesses(now)
    assert [guesses.take() for _ in range(GUESSES + 2)] == [True] * GUESSES + [False] * 2
    now.time += 1
    assert [guesses.take(), guesses.take()] == [True, False]
    now.time += 3600
    assert [guesses.take() for _ in range(GUESSES + 1)] == [True] * GUESSES + [False]


def test_a_right_token_does_not_count() -> None:
    guesses = Guesses(Now())
    for _ in range(5 * GUESSES):
        assert guesses.take()
        guesses.give_back()
