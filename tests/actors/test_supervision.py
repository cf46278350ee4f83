"""The policy: what each child's failure means, how often, and what comes then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.supervision import (
    POLICIES,
    Consequence,
    EndHere,
    FallBack,
    LeaveOut,
    Restart,
    Role,
    Supervision,
)

Failure = tuple[float, Role, str, bool, Consequence]

MODEL, PHONE, LISTENER = Role.MODEL, Role.PHONE, Role.LISTENER

CALLS: dict[str, list[Failure]] = {
    "a model is replaced at once, then after longer and longer pauses, and then the call falls back": [
        (0.0, MODEL, "model", False, Restart(0.0)),
        (1.0, MODEL, "model", False, Restart(0.2)),
        (2.0, MODEL, "model", False, Restart(0.4)),
        (3.0, MODEL, "model", False, Restart(0.8)),
        (4.0, MODEL, "model", False, Restart(1.6)),
        (5.0, MODEL, "model", False, FallBack()),
    ],
    "failures far apart are each the first": [
        (0.0, MODEL, "model", False, Restart(0.0)),
        (30.0, MODEL, "model", False, Restart(0.0)),
        (45.0, MODEL, "model", False, Restart(0.2)),
        (60.0, MODEL, "model", False, Restart(0.2)),
        (90.5, MODEL, "model", False, Restart(0.0)),
    ],
    "what cannot pass by itself is not tried again": [
        (0.0, MODEL, "model", True, FallBack()),
    ],
    "and counts where something else is tried all the same": [
        (0.0, MODEL, "model", True, FallBack()),
        (1.0, MODEL, "model", False, Restart(0.2)),
    ],
    "a phone is not replaced: Twilio asks again": [
        (0.0, PHONE, "phone", False, EndHere()),
    ],
    "a listener is started once more and then left out": [
        (0.0, LISTENER, "recorder", False, Restart(1.0)),
        (1.0, LISTENER, "recorder", False, LeaveOut()),
    ],
    "each listener has its own account": [
        (0.0, LISTENER, "recorder", False, Restart(1.0)),
        (0.5, LISTENER, "transcript", False, Restart(1.0)),
        (1.0, LISTENER, "recorder", False, LeaveOut()),
        (61.0, LISTENER, "transcript", False, Restart(1.0)),
    ],
    "and so has each role": [
        (0.0, LISTENER, "model", False, Restart(1.0)),
        (0.0, MODEL, "model", False, Restart(0.0)),
    ],
}


@pytest.mark.parametrize("failures", CALLS.values(), ids=CALLS)
def test_what_a_failure_means(failures: list[Failure]) -> None:
    supervision = Supervision()
    for now, role, name, permanently, consequence in failures:
        assert supervision.failed(role, name, permanently, now) == consequence


def test_every_role_has_a_policy() -> None:
    assert POLICIES.keys() == set(Role)


@given(st.lists(st.tuples(st.sampled_from(Role), st.floats(0.0, 40.0)), max_size=80))
def test_a_child_is_never_replaced_more_often_than_its_policy_allows(
    failures: list[tuple[Role, float]],
) -> None:
    """However its failures are spread: in no window of the policy's length are there more restarts than that."""
    supervision, now = Supervision(), 0.0
    restarts: dict[Role, list[float]] = {role: [] for role in Role}
    for role, pause in failures:
        now += pause
        policy = POLICIES[role]
        if isinstance(supervision.failed(role, "", False, now), Restart):
            restarts[role].append(now)
            recent = [at for at in restarts[role] if at > now - policy.within_seconds]
            assert len(recent) <= len(policy.pauses)
