"""Which server is used: the preferred one, until it fails; and again, when that may have passed."""

import pytest

from actors.endpoints import AVOIDED_SECONDS, FAILURES_IN_A_ROW, REFUSED_SECONDS, Endpoint, Endpoints
from tests.probe import FakeModelSocket
from wire.audio_format import PCMU
from wire.dialect import AZURE, OPENAI

FIRST = Endpoint("openai", FakeModelSocket, OPENAI)
SECOND = Endpoint("azure", FakeModelSocket, AZURE)
THIRD = Endpoint("another model", FakeModelSocket, OPENAI)


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def endpoints(time: Time) -> Endpoints:
    return Endpoints([FIRST, SECOND, THIRD], time)


def fail(endpoints: Endpoints, endpoint: Endpoint, times: int = FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        endpoints.failed(endpoint, permanently=False)


def test_an_endpoint_speaks_what_twilio_speaks_unless_it_says_otherwise() -> None:
    assert FIRST.audio == PCMU


def test_the_first_is_preferred(endpoints: Endpoints) -> None:
    assert endpoints.choose() is FIRST


def test_one_failure_may_be_the_networks(endpoints: Endpoints) -> None:
    fail(endpoints, FIRST, FAILURES_IN_A_ROW - 1)
    assert endpoints.choose() is FIRST


def test_one_that_keeps_failing_is_avoided_for_a_while(endpoints: Endpoints, time: Time) -> None:
    fail(endpoints, FIRST)
    assert endpoints.choose() is SECOND
    time.now += AVOIDED_SECONDS - 1
    assert endpoints.choose() is SECOND
    time.now += 1
    assert endpoints.choose() is FIRST


def test_one_that_fails_right_after_it_was_avoided_is_avoided_again(endpoints: Endpoints, time: Time) -> None:
    fail(endpoints, FIRST)
    time.now += AVOIDED_SECONDS
    fail(endpoints, FIRST, times=1)
    assert endpoints.choose() is SECOND


def test_one_that_worked_is_forgiven(endpoints: Endpoints) -> None:
    fail(endpoints, FIRST)
    endpoints.worked(FIRST)
    assert endpoints.choose() is FIRST
    fail(endpoints, FIRST, FAILURES_IN_A_ROW - 1)
    assert endpoints.choose() is FIRST


def test_one_that_refuses_is_avoided_at_once_and_for_longer(endpoints: Endpoints, time: Time) -> None:
    endpoints.failed(FIRST, permanently=True)
    assert endpoints.choose() is SECOND
    time.now += REFUSED_SECONDS - 1
    assert endpoints.choose() is SECOND
    time.now += 1
    assert endpoints.choose() is FIRST


def test_one_that_refuses_is_not_avoided_for_a_shorter_time_because_it_also_fails(
    endpoints: Endpoints, time: Time
) -> None:
    """Another call was on its way there when it refused."""
    endpoints.failed(FIRST, permanently=True)
    fail(endpoints, FIRST)
    time.now += REFUSED_SECONDS - 1
    assert endpoints.choose() is SECOND


def test_where_all_are_avoided_the_one_is_taken_that_will_not_be_soonest(
    endpoints: Endpoints, time: Time
) -> None:
    endpoints.failed(FIRST, permanently=True)
    fail(endpoints, SECOND)
    time.now += 1
    fail(endpoints, THIRD)
    assert endpoints.choose() is SECOND


def test_there_is_another_to_go_to_if_it_is_not_avoided_itself(endpoints: Endpoints, time: Time) -> None:
    assert endpoints.has_another(FIRST)
    fail(endpoints, SECOND)
    assert endpoints.has_another(FIRST)
    fail(endpoints, THIRD)
    assert not endpoints.has_another(FIRST)
    assert endpoints.has_another(SECOND)
    time.now += AVOIDED_SECONDS
    assert endpoints.has_another(FIRST)


def test_a_single_endpoint_is_used_whatever_it_does() -> None:
    endpoints = Endpoints([FIRST])
    endpoints.failed(FIRST, permanently=True)
    assert endpoints.choose() is FIRST
    assert not endpoints.has_another(FIRST)


def test_without_any_endpoint_no_call_could_be_answered() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        Endpoints([])


def test_one_that_is_avoided_is_known_to_be_also_where_there_is_no_other(time: Time) -> None:
    alone = Endpoints([FIRST], time)
    assert not alone.avoids(FIRST)
    alone.failed(FIRST, permanently=True)
    assert alone.avoids(FIRST)
    assert alone.choose() is FIRST
    time.now += REFUSED_SECONDS
    assert not alone.avoids(FIRST)
