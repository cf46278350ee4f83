"""Audio that has come together: told in its order, to whom it is for, and no more at once than can be lent."""

from hypothesis import given
from hypothesis import strategies as st

from actors.burst import Burst
from actors.member import LENT_MS
from actors.messages import CallerAudio
from tests.probe import Probe

STEPS = st.lists(
    st.one_of(
        st.just("tell"), st.tuples(st.integers(0, 1), st.sampled_from([20.0, 0.0, 90.0, LENT_MS + 1.0]))
    ),
    max_size=40,
)


@given(STEPS)
def test_all_is_told_in_its_order_and_what_is_lent_is_short(steps: list[str | tuple[int, float]]) -> None:
    burst, receivers = Burst(), [Told(), Told()]
    expected: list[list[CallerAudio]] = [[], []]
    for number, step in enumerate(steps):
        if isinstance(step, str):
            burst.tell()
            assert [receiver.audio for receiver in receivers] == expected
            continue
        to, duration_ms = step
        audio = CallerAudio(duration_ms, str(number))
        burst.add(receivers[to], audio)
        expected[to].append(audio)
        # Between two receivers too, the order is as it was.
        assert receivers[1 - to].audio == expected[1 - to]
    burst.tell()
    assert [receiver.audio for receiver in receivers] == expected


def test_nobody_may_be_there_to_take_it() -> None:
    burst = Burst()
    burst.add(None, CallerAudio(20.0, "a"))
    burst.add(None, CallerAudio(LENT_MS + 1.0, "b"))
    burst.tell()


class Told(Probe):
    def __init__(self) -> None:
        super().__init__()
        self.audio: list[object] = []

    def lend(self, *messages: CallerAudio) -> None:
        assert sum(message.duration_ms for message in messages) <= LENT_MS
        self.audio += messages

    def put(self, envelope) -> None:
        self.audio.append(envelope.message)
