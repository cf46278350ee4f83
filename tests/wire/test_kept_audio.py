"""wire.kept_audio: the latest is kept, in the pieces that it came in."""

from hypothesis import given
from hypothesis import strategies as st

from wire.g711 import BYTES_PER_MS
from wire.kept_audio import SLACK_BYTES, KeptAudio

PIECE = st.binary(min_size=1, max_size=400) | st.binary(min_size=1000, max_size=9000)


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
        assert len(kept._ring) <= 1000 * BYTES_PER_MS + SLACK_BYTES
        assert len(kept._sizes) == len(kept._arrivals) <= (1000 * BYTES_PER_MS + SLACK_BYTES) / 160


def test_what_was_kept_for_a_while_gives_its_memory_back() -> None:
    kept = KeptAudio(1000)
    kept.limit(30_000)
    assert len(kept._ring) <= 1000 * BYTES_PER_MS + SLACK_BYTES, "who has said nothing yet takes no more"
    for frame in range(2000):
        kept.add(bytes(160), frame / 50)
    assert len(list(kept.since(0))) == 30 * 50
    kept.limit(1000)
    assert len(list(kept.since(0))) == 50
    assert len(kept._ring) <= 1000 * BYTES_PER_MS + SLACK_BYTES


def test_a_ring_stays_where_it_is() -> None:
    kept = KeptAudio(1000)
    ring = kept._ring
    for frame in range(1000):
        kept.add(bytes(160), frame / 50)
    assert kept._ring is ring
    assert len(ring) == 1000 * BYTES_PER_MS + SLACK_BYTES
