"""What was said while the recording was paused."""

import pytest

from wire.withheld import GOES_ON, LATE_SECONDS, PAUSED, is_withheld, pauses

PAUSES = pauses(
    [(1.0, GOES_ON), (2.0, "answered"), (10.0, PAUSED), (11.0, PAUSED), (20.0, GOES_ON), (50.0, PAUSED)]
)


@pytest.mark.parametrize(
    ("told_at", "withheld"),
    [(1.5, False), (9.9, False), (10.0, True), (15.0, True), (20.0 + LATE_SECONDS, True),
     (20.1 + LATE_SECONDS, False), (49.0, False), (1e9, True), (None, False)],
)  # fmt: skip
def test_what_is_told_of_in_a_pause_or_a_little_later_is_withheld(
    told_at: float | None, withheld: bool
) -> None:
    assert is_withheld(told_at, PAUSES) is withheld


def test_without_a_pause_nothing_is() -> None:
    assert not is_withheld(5.0, pauses([(1.0, GOES_ON)]))
