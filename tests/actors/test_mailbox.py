"""The mailbox: control first and never dropped, audio bounded, and nothing ever blocks a sender."""

import threading
from collections import deque
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pykka._envelope import Envelope

from actors.mailbox import Mailbox
from actors.messages import AssistantAudioDone, CallerAudio, MarkEchoed
from tests.probe import PATIENCE_SECONDS
from wire.playback import Part


def audio(name: int | str, duration_ms: float = 20) -> Envelope[Any]:
    return Envelope(CallerAudio(duration_ms, str(name)))


def control(name: int | str) -> Envelope[Any]:
    return Envelope(MarkEchoed(str(name)))


def name_of(envelope: Envelope[Any]) -> str:
    message = envelope.message
    return message.name if isinstance(message, MarkEchoed) else str(message.payload)


def drain(mailbox: Mailbox) -> list[str]:
    names = []
    while not mailbox.empty():
        names.append(name_of(mailbox.get()))
    return names


def test_control_overtakes_audio_and_each_lane_keeps_its_order() -> None:
    mailbox = Mailbox()
    for envelope in (audio("a1"), audio("a2"), control("c1"), audio("a3"), control("c2")):
        mailbox.put(envelope)
    assert drain(mailbox) == ["c1", "c2", "a1", "a2", "a3"]


def test_the_oldest_audio_is_dropped_and_counted() -> None:
    mailbox = Mailbox(audio_limit_ms=60)
    for number in range(5):
        mailbox.put(audio(number))
    assert mailbox.dropped_ms == 40
    assert drain(mailbox) == ["2", "3", "4"]


def test_control_is_never_dropped_however_much_there_is() -> None:
    mailbox = Mailbox(audio_limit_ms=20)
    for number in range(1000):
        mailbox.put(control(number))
        mailbox.put(audio("a"))
    assert drain(mailbox) == [*map(str, range(1000)), "a"]


def test_a_piece_longer_than_the_limit_is_kept_while_it_is_alone() -> None:
    mailbox = Mailbox(audio_limit_ms=100)
    mailbox.put(audio("small"))
    mailbox.put(audio("huge", 5000))
    assert drain(mailbox) == ["huge"]
    assert mailbox.dropped_ms == 20


def test_the_end_of_audio_stays_behind_its_audio() -> None:
    mailbox = Mailbox()
    mailbox.put(audio("a"))
    mailbox.put(Envelope(AssistantAudioDone(0.0, Part("item", 0))))
    assert name_of(mailbox.get()) == "a"
    assert isinstance(mailbox.get().message, AssistantAudioDone)


def test_the_end_of_audio_outlives_its_audio_and_does_not_slow_who_puts() -> None:
    """A recorder on a hung disk would otherwise slow the call more with every mark."""
    mailbox = Mailbox(audio_limit_ms=100)
    for number in range(2000):
        mailbox.put(Envelope(AssistantAudioDone(0.0, Part(str(number), 0))))
        mailbox.put(audio("a"))
    waiting = len(mailbox._audio)
    assert waiting <= 2 * 100 / 20 + 1, "what is looked through for every put does not grow"
    ends = [mailbox.get().message for _ in range(2000)]
    ends = [each for each in ends if isinstance(each, AssistantAudioDone)]
    assert [each.part.item_id for each in ends[:3]] == ["0", "1", "2"]


def test_held_audio_waits_while_control_goes_on_and_then_comes_in_order() -> None:
    mailbox = Mailbox()
    mailbox.put(audio("before"))
    mailbox.hold_audio()
    for envelope in (audio("during"), control("c")):
        mailbox.put(envelope)
    assert drain(mailbox) == ["c"]
    assert mailbox.empty()
    mailbox.release_audio()
    assert drain(mailbox) == ["before", "during"]


def test_audio_waits_while_it_can_be_taken_and_control_does_not_count() -> None:
    mailbox = Mailbox()
    mailbox.put(control("c"))
    assert not mailbox.audio_waits
    mailbox.put(audio("a"))
    assert mailbox.audio_waits
    mailbox.hold_audio()
    assert not mailbox.audio_waits
    mailbox.release_audio()
    assert mailbox.audio_waits
    assert drain(mailbox) == ["c", "a"]
    assert not mailbox.audio_waits


def test_held_audio_is_bounded_like_any_other() -> None:
    mailbox = Mailbox(audio_limit_ms=40)
    mailbox.hold_audio()
    for number in range(10):
        mailbox.put(audio(number))
    mailbox.release_audio()
    assert drain(mailbox) == ["8", "9"]
    assert mailbox.dropped_ms == 160


def test_putting_never_blocks_however_full_the_mailbox_is() -> None:
    mailbox = Mailbox(audio_limit_ms=20)
    done = threading.Event()

    def fill() -> None:
        for number in range(20_000):
            mailbox.put(audio(number))
            mailbox.put(control(number))
        done.set()

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    assert done.wait(PATIENCE_SECONDS)
    filler.join()


def test_getting_waits_for_a_message() -> None:
    mailbox = Mailbox()
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(name_of(mailbox.get())), daemon=True)
    reader.start()
    mailbox.put(control("c"))
    reader.join(PATIENCE_SECONDS)
    assert got == ["c"]


def test_getting_waits_through_dropped_and_held_audio() -> None:
    """Wake-ups of messages that are not to be had must not be mistaken for messages."""
    mailbox = Mailbox(audio_limit_ms=20)
    mailbox.hold_audio()
    for number in range(10):
        mailbox.put(audio(number))
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(name_of(mailbox.get())), daemon=True)
    reader.start()
    mailbox.put(control("c"))
    reader.join(PATIENCE_SECONDS)
    assert got == ["c"]
    mailbox.release_audio()
    assert drain(mailbox) == ["9"]


def test_concurrent_senders_lose_nothing_and_each_keeps_its_order() -> None:
    mailbox = Mailbox()
    senders, each = 6, 500
    start = threading.Barrier(senders)

    def send(sender: int) -> None:
        start.wait(PATIENCE_SECONDS)
        for number in range(each):
            mailbox.put((audio if number % 2 else control)(f"{sender} {number}"))

    threads = [threading.Thread(target=send, args=(sender,), daemon=True) for sender in range(senders)]
    for thread in threads:
        thread.start()
    got = [name_of(mailbox.get()) for _ in range(senders * each)]
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert mailbox.empty()
    assert len(set(got)) == senders * each
    for sender in range(senders):
        numbers = [int(name.split()[1]) for name in got if name.startswith(f"{sender} ")]
        for parity in (0, 1):
            lane = [number for number in numbers if number % 2 == parity]
            assert lane == sorted(lane)


@given(
    st.floats(20, 200),
    st.lists(st.sampled_from(["control", "audio", "get", "hold", "release"]), max_size=60),
)
def test_the_mailbox_does_what_a_plain_model_of_it_does(limit_ms: float, steps: list[str]) -> None:
    mailbox = Mailbox(limit_ms)
    controls: deque[str] = deque()
    sounds: deque[str] = deque()
    held, dropped = False, 0
    for number, step in enumerate(steps):
        match step:
            case "control":
                mailbox.put(control(number))
                controls.append(str(number))
            case "audio":
                mailbox.put(audio(number))
                sounds.append(str(number))
                while len(sounds) * 20 > limit_ms and len(sounds) > 1:
                    sounds.popleft()
                    dropped += 20
            case "hold":
                mailbox.hold_audio()
                held = True
            case "release":
                mailbox.release_audio()
                held = False
            case "get":
                expected = controls or (None if held else sounds)
                assert mailbox.empty() is not bool(expected)
                if expected:
                    assert name_of(mailbox.get()) == expected.popleft()
    assert mailbox.dropped_ms == dropped
    mailbox.release_audio()
    assert drain(mailbox) == [*controls, *sounds]
