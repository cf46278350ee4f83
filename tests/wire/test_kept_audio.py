"""wire.kept_audio: the latest is kept, in the pieces that it came in."""

from hypothesis import given
from hypothesis import strategies as st

from wire.g711 import BYTES_PER_MS
from wire.kept_audio import SLACK_BYTES, KeptAudio

PIECE = st.binary(min_size=1, max_size=400)


@given(
    st.lists(PIECE | st.integers(0, 500), max_size=60),
    st.integers(0, 500),
    st.integers(0, 60),
)
def test_it_keeps_what_a_list_of_all_pieces_would(
    steps: list[bytes | int], limit_ms: int, moment: int
) -> None:
    kept = KeptAudio(limit_ms)
    expected: list[tuple[bytes, float]] = []
    for now, step in enumerate(steps):
        if isinstance(step, int):
            kept.limit(limit_ms := step)
        else:
            kept.add(step, float(now))
            expected.append((step, float(now)))
        while sum(len(piece) for piece, _ in expected) > limit_ms * BYTES_PER_MS:
            del expected[0]
    assert list(kept.since(moment)) == [(piece, at) for piece, at in expected if at >= moment]


def test_a_long_call_takes_no_more_memory_than_a_short_one() -> None:
    kept = KeptAudio(1000)
    for frame in range(10_000):
        kept.add(bytes(160), frame / 50)
        assert len(kept._ulaw) <= 1000 * BYTES_PER_MS + SLACK_BYTES
