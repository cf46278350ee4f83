"""A server that places calls, with a carrier that only remembers what it was asked."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from actors.assistant import Assistant
from actors.assistants import Assistants
from actors.carrier import Carrier
from config import Settings
from store.database import Database
from store.dialed import DialedCalls
from store.journal import CallJournal
from store.orders import Orders
from store.tokens import StreamTokens
from tests.probe import PATIENCE_SECONDS
from tests.web.conftest import IdleCall
from web import security
from web.admission import Admission
from web.call_api import CallApi
from web.calls import Calls
from web.dialed import Dialed
from web.dialing import Dialer
from web.orders import OrderDesk
from web.voice import Voice
from wire.signature import SIGNATURE_HEADER, sign

AUTH_TOKEN = "12345"
API_TOKEN = "0123456789abcdef"
PUBLIC = "https://voice.example.com/phone"
PERSON, OURS = "+4930123456", "+15550100000"
CALL = "CA" + "0123456789abcdef" * 2
OTHER_CALL = "CA" + "f" * 32
ACCOUNT = "AC" + "0" * 32


LEAST = {"instructions": "Be brief.", "fallback": "We are sorry.", "limits": {"max_minutes": 10}}
OUTBOUND = {"caller_id": OURS, "timeout_seconds": 25, "voicemail": "Call us back."}


class FakeCarrier(Carrier):
    """Takes every call, unless told what to raise; the calls that it ends are in `ended`."""

    def __init__(self) -> None:
        super().__init__(ACCOUNT, AUTH_TOKEN, "http://127.0.0.1:1")
        self.placed: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.trouble: Exception | None = None
        self.call_sid = CALL
        self.answers = threading.Event()
        """Cleared, the end of a call waits for it."""
        self.answers.set()

    def place(self, to: str, caller_id: str, **options: Any) -> str:
        self.placed.append({"to": to, "caller_id": caller_id, **options})
        if self.trouble is not None:
            raise self.trouble
        return self.call_sid

    def hang_up(self, call_sid: str) -> bool:
        assert self.answers.wait(PATIENCE_SECONDS)
        self.ended.append(call_sid)
        if self.trouble is not None:
            raise self.trouble
        return True

    @property
    def token(self) -> str:
        """In the URLs of the last call."""
        return str(self.placed[-1]["url"].partition("?dial=")[2])


class OutboundServer:
    """An app with what places calls and hears of them."""

    def __init__(
        self,
        folder: Path,
        spent: float = 0.0,
        tables: Any = None,
        others: Any = None,
        clock: Callable[[], float] = time.time,
        **changes: Any,
    ) -> None:
        """`tables` are those of the assistant, `others` of further ones; `changes` are settings."""
        self.spent = spent
        tables = LEAST | {"name": "Desk", "outbound": OUTBOUND} | (tables or {})
        files = {"desk": tables} | {name: LEAST | each for name, each in (others or {}).items()}
        (folder / "assistants").mkdir()
        for name in files:
            (folder / "assistants" / f"{name}.toml").touch()
        assistants = Assistants(
            folder / "assistants", lambda path: Assistant.model_validate(files[path.stem])
        )
        given: dict[str, Any] = {
            "openai_api_key": "sk-test",
            "twilio_account_sid": ACCOUNT,
            "twilio_auth_token": AUTH_TOKEN,
            "public_url": PUBLIC,
            "api_token": API_TOKEN,
            "dial_countries": "+49",
            "calls_per_second": 100,
        }
        settings = Settings(**(given | changes))
        self.database = Database(f"sqlite:///{folder}/calls.db")
        self.dialed = DialedCalls(self.database, clock)
        self.calls = Calls(threads=2, actor=IdleCall)
        self.orders = Orders(self.database)
        self.carrier = FakeCarrier()
        dialer = Dialer(settings, assistants, self.dialed, self.carrier, lambda: self.spent)
        app = Flask("outbound", static_folder=None)
        security.register(app, settings)
        CallApi(dialer, self.dialed).register(app)
        self.tokens = StreamTokens(self.database, 60)
        desk = OrderDesk(self.orders, self.calls)
        self.journal = CallJournal(self.database)
        admission = Admission(self.calls, self.journal, 2, None, lambda: 1800)
        voice = Voice(settings, self.tokens, assistants, self.calls, self.journal, admission, desk)
        voice.register(app)
        given_to_views = self.dialed, self.tokens, self.calls, desk, voice, self.carrier
        Dialed(settings, assistants, *given_to_views).register(app)
        self.client = app.test_client()

    def ask(self, method: str, path: str = "/calls", body: Any = None, **headers: str) -> tuple[int, Any]:
        """An API request; its status and JSON."""
        answer = self.client.open(
            path,
            method=method,
            json=body,
            headers={"Authorization": f"Bearer {API_TOKEN}", **headers},
        )
        return answer.status_code, answer.json

    def place(self, **headers: str) -> Any:
        """A call to PERSON, as the API says it."""
        status, call = self.ask("POST", body={"to": PERSON, "variables": {"name": "Anna"}}, **headers)
        assert status == 201, call
        return call

    def twilio(self, url: str, **fields: str) -> tuple[int, str]:
        """A signed request for a URL that Twilio was given; status and text of the answer."""
        form = {
            "CallSid": CALL,
            "AccountSid": ACCOUNT,
            "From": OURS,
            "To": PERSON,
            "Direction": "outbound-api",
        }
        form |= fields
        headers = {SIGNATURE_HEADER: sign(AUTH_TOKEN, url, form.items())}
        answer = self.client.post(url.removeprefix(PUBLIC), data=form, headers=headers)
        return answer.status_code, answer.text

    def break_database(self) -> None:
        """From now on it refuses whatever has to do with calls that were placed."""
        self._rename("dialed_calls", "away")

    def mend_database(self) -> None:
        """It goes on, with what it had."""
        self._rename("away", "dialed_calls")

    def _rename(self, table: str, name: str) -> None:
        with self.database.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {name}")

    def close(self) -> None:
        self.calls.drain(5)
        self.journal.close()
        self.database.close()


@contextmanager
def outbound_server(folder: Path, **options: Any) -> Iterator[OutboundServer]:
    server = OutboundServer(folder, **options)
    try:
        yield server
    finally:
        server.close()
