"""When the interpreter's garbage is taken out."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from web.garbage import Garbage


class Circle:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    thresholds = gc.get_threshold()
    yield Garbage(ended_calls=3)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def old_circle() -> weakref.ref[Circle]:
    """One that has survived for so long that only a full collection looks at it, and that nobody needs any more."""
    circle = Circle()
    gc.collect(1)
    gc.collect(1)
    return weakref.ref(circle)


def full_collections() -> int:
    """How many there are by itself, while much is made, and nothing is there but that."""
    gc.freeze()
    gc.collect()
    before = gc.get_stats()[2]["collections"]
    made = [[index] for index in range(300_000)]
    assert made
    return int(gc.get_stats()[2]["collections"]) - before


def test_while_calls_are_on_no_full_collection_holds_them_up(garbage: Garbage) -> None:
    assert full_collections() == 0
    found = old_circle()
    garbage.call_ended(left=2)
    assert found() is not None


def test_when_the_last_call_has_ended_it_is_taken_out(garbage: Garbage) -> None:
    found = old_circle()
    garbage.call_ended(left=0)
    assert found() is None


def test_where_there_is_always_a_call_it_is_taken_out_now_and_then(garbage: Garbage) -> None:
    for _ in range(2):
        found = old_circle()
        garbage.call_ended(left=1)
        garbage.call_ended(left=1)
        assert found() is not None
        garbage.call_ended(left=1)
        assert found() is None


def test_otherwise_the_interpreter_makes_them(garbage: Garbage) -> None:
    young, older, _ = gc.get_threshold()
    gc.set_threshold(young, older, 10)
    assert full_collections() > 0, "so the first of these tests can fail"
