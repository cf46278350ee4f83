"""What the model is told of what was cut off, as the events that go out."""

import orjson
import pytest

from wire.model_memory import ModelMemory
from wire.playback import Heard, Part


def told(events: list[str]) -> list[tuple[str, ...]]:
    """What happens to which item, in short."""
    return [_in_short(orjson.loads(event)) for event in events]


def _in_short(event: dict[str, object]) -> tuple[str, ...]:
    kind = str(event["type"]).rpartition(".")[2]
    fields = ("item_id", "content_index", "audio_end_ms", "previous_item_id")
    return kind, *(str(event[field]) for field in fields if field in event)


def heard(item_id: str, content_index: int, heard_ms: int) -> Heard:
    return Heard(Part(item_id, content_index), heard_ms, 2000)


CUTS: dict[str, tuple[tuple[Heard, ...], list[tuple[str, ...]]]] = {
    "nothing": ((), []),
    "heard in part": ((heard("a", 0, 700),), [("truncate", "a", "0", "700")]),
    "not heard": ((heard("a", 0, 0),), [("delete", "a")]),
    "no part heard: deleted once": ((heard("a", 0, 0), heard("a", 1, 0)), [("delete", "a")]),
    "the second part not heard": (
        (heard("a", 0, 700), heard("a", 1, 0)),
        [("truncate", "a", "0", "700"), ("truncate", "a", "1", "0")],
    ),
    "the first part heard to its end": ((heard("a", 1, 0),), [("truncate", "a", "1", "0")]),
    "each item for itself": (
        (heard("a", 0, 700), heard("b", 0, 0)),
        [("truncate", "a", "0", "700"), ("delete", "b")],
    ),
    "a kept greeting, which the call tells of": ((heard("kept", 0, 0), heard("a", 0, 0)), [("delete", "a")]),
}


@pytest.mark.parametrize(("cut", "expected"), CUTS.values(), ids=CUTS)
def test_what_was_cut_off_is_truncated_or_deleted(
    cut: tuple[Heard, ...], expected: list[tuple[str, ...]]
) -> None:
    memory = ModelMemory("told")
    memory.greeting_plays("kept", "Hello!")
    assert told(memory.cut_off(cut)) == expected


def test_a_kept_greeting_is_told_as_a_message_of_the_assistants() -> None:
    event = orjson.loads(ModelMemory("told").greeting_plays("kept", "Hello!"))
    assert event["item"]["id"] == "told"
    assert (event["item"]["role"], event["item"]["content"][0]["text"]) == ("assistant", "Hello!")


def test_what_was_heard_of_a_kept_greeting_takes_its_place_before_the_callers_words() -> None:
    events = ModelMemory("told").greeting_cut_off("Hel")
    assert told(events) == [("create", "told"), ("delete", "told")]
    assert orjson.loads(events[0])["item"]["content"][0]["text"] == "Hel"


def test_a_kept_greeting_that_nobody_heard_was_not_said() -> None:
    assert told(ModelMemory("told").greeting_cut_off("")) == [("delete", "told")]
