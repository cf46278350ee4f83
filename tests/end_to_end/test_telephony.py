"""Real calls that are transferred, press keys, enter a card's number and hang up, over a simulated phone network."""

import json
import re
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator import dtmf
from simulator.callee import Busy, NoAnswer, Person
from simulator.network import PhoneNetwork
from simulator.phone import Phone
from simulator.phone_events import Spoke
from simulator.realtime import OfflineModel
from simulator.script import ScriptedCall, ScriptedReply, tone
from simulator.server_process import ServerProcess
from simulator.session import RealtimeSession
from simulator.twilio_rest import TwilioRest
from store.database import Database
from store.history import History
from tests.actors.test_recorder import tracks
from tests.end_to_end.phrasebook import Phrasebook, spoken
from tests.end_to_end.stage import AUTH_TOKEN, PATIENCE, Stage, finished, server_settings
from tests.end_to_end.test_listeners import SECRET, TOLERANCE_SAMPLES, received, samples, sounds
from tests.probe import wait_until
from tests.store.receiver import Receiver, receiving
from wire.transcript import Entry

pytestmark = pytest.mark.slow

OURS = "+15550100002"
WORKSHOP, SALES = "+15550100008", "+15550100009"
CARD = "7391468205"
FAILED = "The result of your last function call"
"""What the model is instructed to tell the caller when nobody was put through to."""
ASSISTANT = f"""
name = "Tests"
instructions = "You are a test."
greeting = "Hello there"
greeting_kept = false
tools = ["tests.end_to_end.extensions:look_up_order"]

[telephony]
send_digits = true
[telephony.transfer]
sales = "{SALES}"
[telephony.transfer.workshop]
number = "{WORKSHOP}"
warm = true
ring_seconds = 10
[telephony.digits.card]
digits = {len(CARD)}
secret = true

[recording]
[transcript]
"""


def tool(name: str, words: str = "", **arguments: Any) -> ScriptedReply:
    """The model calls a function, and says something before it."""
    audio = tone(500) if words else b""
    return ScriptedReply(words, (ScriptedCall(name, json.dumps(arguments)),), audio=audio)


def book() -> Phrasebook:
    return Phrasebook(
        {
            "Where is my order?": [tool("look_up_order", number=17, seconds=2.8)],
            "Are you still there?": [spoken("Yes", 400)],
            "Enough of that": [spoken("As you like", 400)],
            "I want to pay": [tool("collect_digits", "Please enter it", what="card")],
            "The workshop please": [
                tool("transfer_call", "One moment", to="workshop", summary="A flat tyre.")
            ],
            "Sales please": [tool("transfer_call", "I put you through", to="sales", summary="")],
            "Choose two": [tool("send_digits", "Pressing", digits="2w7#")],
            "Goodbye": [tool("hang_up", "Goodbye then")],
        },
        {
            "Say exactly these words": [spoken("Hello there", 400)],
            FAILED: [spoken("Nobody is there", 600)],
        },
        after_tools=spoken("Here is what I found", 3000),
    )


class Exchange:
    """A server with a model behind it, before a phone network with Twilio's REST API."""

    def __init__(self, stage: Stage, network: PhoneNetwork, directory: Path) -> None:
        self.stage = stage
        self.network = network
        self.directory = directory

    @property
    def script(self) -> Phrasebook:
        assert isinstance(self.stage.script, Phrasebook)
        return self.stage.script

    def ask(self, phone: Phone, words: str) -> None:
        phone.say(self.script.audio(words)).wait(PATIENCE)

    def ask_and_hear(self, phone: Phone, words: str) -> None:
        """Until what the model says to that is heard, or was."""
        answers = self.script.answers_to(words)
        self.ask(phone, words)
        phone.await_assistant(PATIENCE, self.script.await_answer(words, PATIENCE, answers + 1))

    def story(self, call_sid: str, *kinds: str) -> tuple[list[Entry], dict[str, list[dict[str, Any]]]]:
        """What the database has of a call that is over: what was said, and what happened, by kind.

        `kinds`: what has to have happened. Which worker writes down last, is not said: one knows the call, another
        is told by Twilio that it is over.
        """
        database = Database(f"sqlite:///{self.directory / 'switchboard.db'}")
        try:
            history = History(database)
            # The phone's end of the call may come before the server has written down the last of it.
            wait_until(lambda: history.find(call_sid)[0].ended_at is not None, "it is over", PATIENCE)
            for kind in kinds:
                wait_until(
                    lambda kind=kind: kind in [each.what for each in history.story(call_sid)],  # type: ignore[misc]
                    f"{kind} is written down",
                    PATIENCE,
                )
            told = history.story(call_sid)
        finally:
            database.close()
        events: dict[str, list[dict[str, Any]]] = {}
        for each in told:
            if isinstance(each.what, str):
                events.setdefault(each.what, []).append(each.data)
        return [each.what for each in told if isinstance(each.what, Entry)], events

    def outcome(self, call_sid: str) -> str:
        database = Database(f"sqlite:///{self.directory / 'switchboard.db'}")
        try:
            history = History(database)
            wait_until(lambda: history.find(call_sid)[0].outcome != "", "it is over", PATIENCE)
            [call] = history.find(call_sid)
        finally:
            database.close()
        return call.outcome


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    directory = tmp_path_factory.mktemp("telephony")
    script = book()
    with OfflineModel(pace=100, **script.equipment()) as model, receiving(keeps=False) as receiver:
        webhook = f'[webhook]\nurl = "{receiver.url}"\n'
        (directory / "assistant.toml").write_text(ASSISTANT + webhook)
        settings = server_settings(model, directory)
        network = PhoneNetwork(
            AUTH_TOKEN, server_url=settings["PUBLIC_URL"], speak=lambda text: tone(300, 900)
        )
        # What `setup-number` writes there: Twilio tells when the whole call is over.
        network.own(OURS).status_callback = f"{settings['PUBLIC_URL']}/twiml/ended"
        with network, TwilioRest(network) as rest:
            settings |= {
                "ASSISTANT": str(directory / "assistant.toml"),
                "TWILIO_ACCOUNT_SID": network.account_sid,
                "TWILIO_API_URL": rest.url,
                "RECORDINGS": str(directory / "recordings"),
                "WEBHOOK_SECRET": SECRET,
            }
            with ServerProcess(settings, directory) as server:
                made = Exchange(Stage(server, model, script), network, directory)
                made.receiver = receiver  # type: ignore[attr-defined]
                yield made
    errors = [line for line in made.stage.log().splitlines() if " ERROR " in line or "Traceback" in line]
    assert errors == []


@pytest.fixture
def line(exchange: Exchange, tmp_path: Path) -> Iterator[tuple[Phone, RealtimeSession]]:
    with exchange.stage.call(network=exchange.network, recording=tmp_path / "phone.wav") as both:
        yield both


def test_a_caller_is_put_through_and_the_call_is_over_after_that(exchange: Exchange, line: Any) -> None:
    phone, _ = line
    exchange.network.callees[SALES] = Person(after_s=0.2)
    exchange.ask(phone, "Sales please")
    sales = exchange.network.await_call(SALES, PATIENCE)
    sales.await_answer(PATIENCE)
    phone.say(tone(300, 600)).wait(PATIENCE)
    sales.await_assistant(PATIENCE, 0.0)
    sales.hang_up()
    assert finished(phone).reason == "hangup"
    exchange.stage.await_log(f"stream of call {phone.call_sid} has ended, call is completed")
    assert exchange.outcome(phone.call_sid) == "transferred"


def test_a_caller_who_gives_up_while_it_rings_has_hung_up(exchange: Exchange, line: Any) -> None:
    phone, _ = line
    exchange.network.callees[SALES] = NoAnswer()
    exchange.ask(phone, "Sales please")
    sales = exchange.network.await_call(SALES, PATIENCE)
    phone.hang_up()
    assert sales.await_end(PATIENCE).reason == "canceled"
    finished(phone)
    wait_until(lambda: exchange.outcome(phone.call_sid) == "hung_up", "it is filed so", PATIENCE)


@pytest.mark.parametrize("callee", [Busy(), NoAnswer(after_s=0.3)])
def test_a_caller_who_cannot_be_put_through_is_with_the_assistant_again_and_told_so(
    exchange: Exchange, line: Any, callee: Any
) -> None:
    phone, _ = line
    exchange.network.callees[SALES] = callee
    told = exchange.script.answers_to(FAILED)
    exchange.ask(phone, "Sales please")
    exchange.network.await_call(SALES, PATIENCE)
    phone.await_stream(PATIENCE, 2)
    phone.await_assistant(PATIENCE, exchange.script.await_answer(FAILED, PATIENCE, told + 1))
    phone.await_silence(300, PATIENCE)
    exchange.ask(phone, "Goodbye")
    assert finished(phone).reason == "hangup"
    entries, events = exchange.story(phone.call_sid, "transfer failed")
    assert "Nobody is there" in [entry.text for entry in entries]
    assert len(events["transfer failed"]) == 1


def test_the_goodbye_is_heard_to_its_end_before_the_call_ends(exchange: Exchange, line: Any) -> None:
    phone, _ = line
    exchange.ask(phone, "Goodbye")
    result = finished(phone)
    assert result.reason == "hangup"
    began, ended = result.audible[-1]
    assert (ended - began) / 8 == pytest.approx(500, abs=30)
    entries, _ = exchange.story(phone.call_sid)
    assert [entry.heard_text for entry in entries if entry.speaker == "assistant"][-1] == "Goodbye then"


def test_keys_are_pressed_and_the_same_conversation_goes_on(exchange: Exchange, line: Any) -> None:
    phone, first = line
    sessions = len(exchange.stage.model.sessions)
    exchange.ask(phone, "Choose two")
    phone.await_digits("27#", PATIENCE)
    phone.await_stream(PATIENCE, 2)
    exchange.stage.model.await_session(sessions + 1, PATIENCE)
    exchange.ask(phone, "Goodbye")
    assert finished(phone).reason == "hangup"
    entries, _ = exchange.story(phone.call_sid)
    assert [entry.text for entry in entries if entry.speaker == "caller"] == ["Choose two", "Goodbye"]
    second = exchange.stage.model.sessions[-1]
    assert second is not first
    assert any("Choose two" in str(event) for event in second.received)


def test_a_person_who_does_not_take_the_call_leaves_the_caller_with_the_assistant(
    exchange: Exchange, line: Any
) -> None:
    phone, _ = line
    exchange.network.callees[WORKSHOP] = Busy(after_s=0.2)
    told = exchange.script.answers_to("transfer_call")
    exchange.ask(phone, "The workshop please")
    exchange.network.await_call(WORKSHOP, PATIENCE)
    phone.await_assistant(PATIENCE, exchange.script.await_answer("transfer_call", PATIENCE, told + 1))
    phone.hang_up()
    finished(phone)
    _, events = exchange.story(phone.call_sid, "transfer failed")
    assert [event["reason"] for event in events["transfer failed"]] == ["busy"]


def test_a_caller_who_hangs_up_meanwhile_leaves_nobody_ringing(exchange: Exchange, line: Any) -> None:
    phone, _ = line
    exchange.network.callees[WORKSHOP] = NoAnswer()
    exchange.ask(phone, "The workshop please")
    workshop = exchange.network.await_call(WORKSHOP, PATIENCE)
    phone.hang_up()
    finished(phone)
    assert workshop.await_end(PATIENCE).reason in ("completed", "canceled")


def test_a_whole_call_leaves_four_accounts_that_agree_and_a_card_number_in_none(
    exchange: Exchange, line: Any, tmp_path: Path
) -> None:
    """Slow tool, interruption, card mode, warm transfer; told by recording, transcript, webhook and database."""
    phone, session = line
    exchange.network.callees[WORKSHOP] = Person(after_s=0.3, says=tone(300, 500))
    exchange.ask(phone, "Where is my order?")
    exchange.script.await_answer("Where is my order?", PATIENCE)
    exchange.ask_and_hear(phone, "Are you still there?")
    told = exchange.script.await_answer("look_up_order", PATIENCE)
    phone.await_assistant(PATIENCE, told)
    exchange.ask_and_hear(phone, "Enough of that")
    phone.await_silence(300, PATIENCE)
    enter_card(exchange, phone)
    warm_transfer(exchange, phone)
    result = finished(phone)

    entries, events = exchange.story(phone.call_sid, "card mode ended", "transfer accepted")
    assert exchange.outcome(phone.call_sid) == "transferred"
    tools = [entry.tool for entry in entries if entry.tool]
    assert [tool.name for tool in tools if tool] == ["look_up_order", "collect_digits", "transfer_call"]
    assert len(events["card mode began"]) == len(events["card mode ended"]) == 1
    assert len(events["transfer accepted"]) == 1
    cut = [entry for entry in entries if entry.speaker == "assistant" and entry.heard_ms < entry.total_ms]
    assert [entry.text for entry in cut] == ["Here is what I found"]

    [recording] = (exchange.directory / "recordings").rglob(f"*{phone.call_sid}.wav")
    assert_aligned(recording, tmp_path / "phone.wav", round(result.max_lateness_ms * 8))
    [transcript] = (exchange.directory / "recordings").rglob(f"*{phone.call_sid}.jsonl")
    lines = [json.loads(text) for text in transcript.read_text().splitlines()]
    said = {each["item_id"]: each for each in lines if each["kind"] == "said"}
    assert {item: each["heard_text"] for item, each in said.items()} == {
        entry.item_id: entry.heard_text for entry in entries if entry.tool is None
    }
    receiver: Receiver = exchange.receiver  # type: ignore[attr-defined]
    told_of = events_of(receiver, phone.call_sid)
    turns = {event["item_id"]: event for event in told_of if event["type"] == "turn"}
    assert {item: each["heard_ms"] for item, each in turns.items()} == {
        entry.item_id: entry.heard_ms for entry in entries if entry.tool is None
    }
    assert told_of[-1]["type"] == "ended"
    assert told_of[-1]["outcome"] == "transferred"

    assert_nowhere(exchange, session, recording, told_of)


def events_of(receiver: Receiver, call_sid: str) -> list[dict[str, Any]]:
    """Those of earlier calls come first, and each call's in order."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] != "ended":
        events += [event for event in received(receiver) if event["call_sid"] == call_sid]
    return events


def enter_card(exchange: Exchange, phone: Phone) -> None:
    exchange.ask_and_hear(phone, "I want to pay")
    phone.await_silence(300, PATIENCE)
    for key in CARD:
        # Twilio tells of the key, and the tone is on the line as well.
        phone.press(key)
        phone.say(dtmf.tones(key)).wait(PATIENCE)
    told = exchange.script.await_answer("collect_digits", PATIENCE)
    phone.await_assistant(PATIENCE, told)
    phone.await_silence(700, PATIENCE)


def warm_transfer(exchange: Exchange, phone: Phone) -> None:
    exchange.ask(phone, "The workshop please")
    workshop = exchange.network.await_call(WORKSHOP, PATIENCE)
    workshop.await_answer(PATIENCE)
    workshop.await_assistant(PATIENCE, 0.0)  # what Twilio says to them
    workshop.press("1")
    conferences = exchange.network.conferences
    wait_until(lambda: [each.status for each in conferences.values()] == ["in-progress"], "the two have met")
    phone.say(tone(400, 700)).wait(PATIENCE)
    workshop.await_silence(300, PATIENCE)
    workshop.hang_up()
    spoke = [event.text for event in workshop.await_end(PATIENCE).events if isinstance(event, Spoke)]
    assert "A flat tyre." in spoke[0]
    [conference] = conferences.values()
    assert conference.ended_because == "participant-with-end-conference-on-exit-left"


def assert_aligned(ours: Path, phones: Path, late: int) -> None:
    """Within 20 ms of the phone's own, but for what was entered in card mode. `late`: the phone was, in samples."""
    caller, assistant = (samples(track) for track in tracks(ours))
    with wave.open(str(phones)) as wav:
        both = array("h", wav.readframes(wav.getnframes()))
    spoken_ours, spoken_phone = sounds(caller), sounds(both[0::2])
    shift = spoken_phone[0][0] - spoken_ours[0][0]
    heard_ours = sounds(assistant)
    assert len(heard_ours) >= 6
    heard_phone = sounds(both[1::2])[: len(heard_ours)]
    for (start, _), (true_start, _) in zip(heard_ours, heard_phone, strict=True):
        assert start + shift == pytest.approx(true_start, abs=TOLERANCE_SAMPLES + late)
    # Behind the last one the caller may hear whom they were put through to, on whom no recording of ours is.
    for (_, end), (_, true_end) in zip(heard_ours[:-1], heard_phone[:-1], strict=True):
        assert end + shift == pytest.approx(true_end, abs=TOLERANCE_SAMPLES + late)


def card_numbers(text: str) -> list[str]:
    """Where the card's number stands in `text`, or its first digits as a number of their own, with what is around it.

    Not within a word: texts are full of random ones (ids, audio in base64), in which some digits turn up by chance.
    """
    some = "|".join(CARD[:length] for length in range(len(CARD) - 1, 4, -1))
    return re.findall(rf".{{0,60}}(?:{CARD}|(?<![\w+/.])(?:{some})(?![\w+/])).{{0,60}}", text)


def assert_nowhere(
    exchange: Exchange, session: RealtimeSession, recording: Path, events: list[dict[str, Any]]
) -> None:
    """The card's number: not as digits, not as tones."""
    caller, assistant = tracks(recording)
    for audio in (caller, assistant, session.audio):
        assert dtmf.Detector().feed(audio) == ""
    texts = [
        exchange.stage.log(),
        json.dumps(events),
        *(str(event) for event in session.received),
        *(
            path.read_text()
            for path in (exchange.directory / "recordings").rglob("*")
            if path.suffix in (".jsonl", ".txt", ".vtt")
        ),
    ]
    databases = [path.read_bytes() for path in exchange.directory.glob("switchboard.db*")]
    assert [numbers for text in texts for numbers in card_numbers(text)] == []
    assert not any(CARD.encode() in content for content in databases)
