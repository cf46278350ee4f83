"""PhoneLine: that it does nothing before it is answered, what it starts, and that it closes and cuts."""

from actors.clock import Clock
from actors.listener import Listeners
from actors.messages import Attach, CallerAudio, Exited
from actors.phone_line import PhoneLine
from actors.supervision import Supervision
from tests.actors.parts import QUIET, RECORD, media, setup
from tests.probe import PATIENCE_SECONDS, FakeMediaSocket, HandClock, Probe


def line(call: Probe, socket: FakeMediaSocket) -> PhoneLine:
    clock: Clock = HandClock()
    return PhoneLine(call, setup(socket), Listeners(call, RECORD, clock, Supervision()), clock)


def test_before_it_is_answered_nothing_comes_of_anything() -> None:
    call, model, socket = Probe("call"), Probe("model"), FakeMediaSocket()
    phone = line(call, socket)
    phone.tell(Attach(None))
    phone.attach(model)
    phone.keep(1.0)
    phone.mute(True)
    phone.close()
    assert (call.told(), model.told(), socket.sent()) == ([], [], [])


def test_what_is_said_before_there_is_a_model_is_kept_for_it_and_closing_it_is_told() -> None:
    call, model, socket = Probe("call"), Probe("model"), FakeMediaSocket()
    phone = line(call, socket)
    reader = phone.answer()
    reader.receive(media(0, QUIET))
    phone.attach(model, 0.0)
    assert model.expect(CallerAudio).payload == QUIET
    phone.close()
    assert call.expect(Exited).member is phone.phone
    assert socket.closed.wait(PATIENCE_SECONDS)
    phone.closed()
    assert phone.phone is None


def test_it_can_be_cut() -> None:
    socket = FakeMediaSocket()
    line(Probe("call"), socket).abort()
    assert socket.aborted.is_set()
