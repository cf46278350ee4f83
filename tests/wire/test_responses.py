"""What an interruption names, checked against a look back at all that happened."""

from hypothesis import given
from hypothesis import strategies as st

from wire.responses import Responses

STEPS = st.lists(
    st.tuples(st.sampled_from(["began", "ended", "plays", "interrupt"]), st.sampled_from("abc")), max_size=30
)


@given(STEPS)
def test_an_interruption_names_what_is_active_and_what_began_since_the_last(
    steps: list[tuple[str, str]],
) -> None:
    responses = Responses()
    for number, (step, response_id) in enumerate(steps):
        before = steps[:number]
        active = {each for each in "abc" if _last_of(before, each) == "began"}
        assert responses.active is bool(active)
        if step == "interrupt":
            times = [index for index, (earlier, _) in enumerate(before) if earlier == "interrupt"]
            since = before[times[-1] + 1 if times else 0 :]
            begun = {each for kind, each in since if kind in ("began", "plays")}
            assert responses.interrupt() == active | begun
        else:
            getattr(responses, step)(response_id)


def _last_of(steps: list[tuple[str, str]], response_id: str) -> str | None:
    kinds = [kind for kind, each in steps if each == response_id and kind in ("began", "ended")]
    return kinds[-1] if kinds else None
