"""The doctor's rules, as tables: what was found, how bad that is, and a word of what to do."""

from datetime import date
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import ModelEndpoint, Settings
from web.doctor import account, clock, entrance, machine, model, report, storage
from web.doctor.entrance import REFUSED, Answer
from web.doctor.model import Opened
from web.doctor.stand_in import NO_UPGRADE, TAKEN_IN
from web.doctor.verdict import Level, Verdict, failed, ok
from web.phone_setup import OwnedNumber
from wire.realtime import Error

OK, SKIPPED, WARNING, FAILED = Level.OK, Level.SKIPPED, Level.WARNING, Level.FAILED
URL = "https://voice.example.com"
ENDPOINT = ModelEndpoint(
    "wss://api.openai.com/v1/realtime", SecretStr("sk"), "gpt-realtime-2.1", "openai", "pcmu"
)
HERE = {
    "voice_url": f"{URL}/twiml",
    "voice_method": "POST",
    "voice_fallback_url": "https://backup.example.com",
    "status_callback": "https://events.example.com",
}


def number(**settings: str) -> OwnedNumber:
    return OwnedNumber("PN1", "+15550100002", settings)


def refused(code: str, kind: str = "invalid_request_error", message: str = "no", lost: str = "") -> Opened:
    return Opened(error=Error(kind, code, message), lost=lost)


CASES: list[tuple[Verdict | None, Level | None, str]] = [
    (machine.judge_python((3, 13, 6)), FAILED, "3.13.7"),
    (machine.judge_python((3, 10, 12)), FAILED, "3.11"),
    (machine.judge_python((3, 13, 7)), OK, ""),
    (machine.judge_packages(()), OK, ""),
    (machine.judge_packages(None), SKIPPED, ""),
    (machine.judge_packages(("flask is missing",)), FAILED, "pip install"),
    (machine.judge_open_files(256, 100), WARNING, "ulimit -n 664"),
    (machine.judge_open_files(664, 100), OK, ""),
    (machine.judge_open_files(None, 100), SKIPPED, ""),
    (machine.judge_tasks(100, 100), WARNING, "TasksMax=1000"),
    (machine.judge_tasks(None, 100), OK, ""),
    (machine.judge_memory(100, 2, 10), FAILED, "lower WORKERS"),
    (machine.judge_memory(300, 2, 200), WARNING, "THREADS"),
    (machine.judge_memory(4000, 2, 200), OK, ""),
    (machine.judge_memory(None, 2, 200), SKIPPED, ""),
    (storage.judge_disk(storage.Disk(Path("/"), 100)), FAILED, "free some space"),
    (storage.judge_disk(storage.Disk(Path("/"), 1000)), WARNING, "526 minutes"),
    (storage.judge_disk(storage.Disk(Path("/"), 10000)), OK, ""),
    (storage.judge_missing("recordings", Path("a/b"), False), FAILED, "make a"),
    (clock.judge([]), SKIPPED, ""),
    (clock.judge([clock.Reading("a", 400), clock.Reading("b", -2)]), OK, ""),
    (clock.judge([clock.Reading("a", -20)]), WARNING, "NTP"),
    (clock.judge([clock.Reading("a", 400)]), FAILED, "NTP"),
    (model.judge(ENDPOINT, Opened(ready=True)), OK, ""),
    (model.judge(ENDPOINT, refused("invalid_api_key")), FAILED, "key is not valid"),
    (
        model.judge(ENDPOINT, Opened(lost="closed with code 3000 invalid_request_error.invalid_api_key")),
        FAILED,
        "key",
    ),
    (model.judge(ENDPOINT, refused("", "insufficient_quota")), FAILED, "Billing"),
    (model.judge(ENDPOINT, refused("account_deactivated")), FAILED, "Billing"),
    (model.judge(ENDPOINT, refused("beta_api_shape_disabled")), FAILED, "DIALECT=openai"),
    (model.judge(ENDPOINT, refused("model_not_found")), FAILED, "OPENAI_REALTIME_MODEL"),
    (model.judge(ENDPOINT, Opened(lost="refused with HTTP status 404")), FAILED, "OPENAI_REALTIME_MODEL"),
    (model.judge(ENDPOINT, Opened(lost="refused with HTTP status 403")), FAILED, "project"),
    (model.judge(ENDPOINT, refused("rate_limit_exceeded")), FAILED, "wait"),
    (model.judge(ENDPOINT, refused("invalid_value")), FAILED, "assistant's file"),
    (model.judge(ENDPOINT, Opened(lost="cannot connect: no route")), FAILED, "OPENAI_REALTIME_URL"),
    (model.judge(ENDPOINT, Opened(formats=("audio/pcm", "audio/pcm"))), FAILED, "pcm24"),
    (model.judge_shutdown("gpt-realtime-2.1", date(2027, 3, 1)), None, ""),
    (model.judge_shutdown("gpt-realtime", date(2027, 1, 19)), WARNING, "gpt-realtime-2.1"),
    (model.judge_shutdown("gpt-realtime", date(2027, 1, 20)), FAILED, "gpt-realtime-2.1"),
    (model.judge_shutdown("whisper-1", date(2027, 1, 1)), WARNING, "gpt-transcribe"),
    (account.judge_account("active", "Full"), OK, ""),
    (account.judge_account("active", "Trial"), WARNING, "upgrade"),
    (account.judge_account("suspended", "Full"), FAILED, "console"),
    (account.judge_number(number(**HERE), URL), OK, ""),
    (account.judge_number(number(**HERE | {"status_callback": ""}), URL), WARNING, "setup-number"),
    (account.judge_number(number(**HERE | {"voice_method": "GET"}), URL), FAILED, "setup-number"),
    (account.judge_number(number(**HERE | {"voice_url": f"{URL}/voice"}), URL), FAILED, "setup-number"),
    (account.judge_number(number(**HERE | {"voice_application_sid": "AP1"}), URL), FAILED, "setup-number"),
    (account.judge_number(number(voice_url="https://other.example.com/twiml"), URL), None, ""),
    (account.judge_numbers([number()], URL)[0], FAILED, "setup-number"),
    (account.judge_numbers([], URL)[0], FAILED, "buy one"),
    (account.judge_numbers([number()], None)[0], SKIPPED, ""),
    (entrance.judge_url(URL), OK, ""),
    (entrance.judge_url(f"{URL}:8443"), FAILED, "443"),
    (entrance.judge_url("http://127.0.0.1:8080"), WARNING, "tunnel"),
    (entrance.judge_addresses("v.example.com", ()), FAILED, "DNS"),
    (entrance.judge_addresses("v.example.com", ("127.0.0.1",)), WARNING, "public name"),
    (entrance.judge_addresses("v.example.com", ("10.0.0.1",)), WARNING, "elsewhere"),
    (entrance.judge_addresses("v.example.com", ("8.8.8.8", "10.0.0.1")), OK, ""),
    (entrance.judge_port(8080, True, Answer()), OK, ""),
    (entrance.judge_port(8080, False, Answer(200, ours=True)), OK, ""),
    (entrance.judge_port(8080, False, Answer(200)), FAILED, "another PORT"),
    (entrance.judge_health(Answer(200, ours=True)), OK, ""),
    (entrance.judge_health(Answer(200)), WARNING, "point the proxy here"),
    (entrance.judge_health(Answer(502)), FAILED, "HOST and PORT"),
    (entrance.judge_health(Answer(problem="refused")), FAILED, "tunnel"),
    (entrance.judge_signature(Answer(TAKEN_IN), Answer(REFUSED)), OK, ""),
    (entrance.judge_signature(Answer(TAKEN_IN), Answer(TAKEN_IN)), FAILED, "TWILIO_AUTH_TOKEN"),
    (entrance.judge_signature(Answer(REFUSED), Answer(REFUSED)), FAILED, "X-Twilio-Signature"),
    (entrance.judge_signature(Answer(404), Answer(404)), FAILED, "POST /twiml"),
    (entrance.judge_stream(Answer(101)), OK, ""),
    (entrance.judge_stream(Answer(NO_UPGRADE)), OK, ""),
    (entrance.judge_stream(Answer(REFUSED)), FAILED, "X-Twilio-Signature"),
    (entrance.judge_stream(Answer(400)), FAILED, "31920"),
]


@pytest.mark.parametrize(("verdict", "level", "advice"), CASES)
def test_a_finding_is_judged(verdict: Verdict | None, level: Level | None, advice: str) -> None:
    if verdict is None:
        assert level is None
        return
    assert verdict.level is level
    assert advice in verdict.advice
    assert bool(verdict.advice) >= (verdict.level in (WARNING, FAILED)), "what is wrong has a remedy"
    assert "+1555" not in verdict.finding + verdict.advice


def test_limits_are_left_out_without_settings() -> None:
    found = machine.Machine((3, 12, 0), (), 1, 1, 1.0)
    assert [each.level for each in machine.judge(found, None)] == [OK, OK, SKIPPED]
    judged = machine.judge(found, Settings(openai_api_key=SecretStr("sk")))
    assert [each.level for each in judged] == [OK, OK, WARNING, WARNING, FAILED]


def test_packages_are_compared_with_what_is_asked_for() -> None:
    asked_for = ["Flask-Sock>=0.7", "pykka<5,>=4.5", 'x; extra == "test"', 'y; python_version < "3"', "z"]
    installed = {"flask-sock": "0.7.0", "pykka": "4.0"}
    assert machine.wrong_packages(asked_for, installed) == (
        "pykka 4.0, where pykka<5,>=4.5 is asked for",
        "z is missing",
    )


def test_a_clock_is_read_off_a_date() -> None:
    reading = clock.reading("h", "Thu, 01 Jan 1970 00:01:40 GMT", 110.0, 111.0)
    assert reading == clock.Reading("h", 10.0)
    assert clock.reading("h", None, 1, 2) is None
    assert clock.reading("h", "noon", 1, 2) is None


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_no_line_of_the_report_is_too_long(width: int) -> None:
    verdict = failed("media stream", "word " * 40, "do this and that " * 10)
    lines = report.as_text(verdict, width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("failed   media stream  word")
    assert sum("->" in line for line in lines) == 1


def test_the_report_is_summed_up_and_machine_readable() -> None:
    verdicts = [ok("a", "b"), ok("c", "d"), failed("e", "f", "g")]
    assert report.summary(verdicts) == "2 ok, 1 failed"
    assert '"level": "failed"' in report.as_json(verdicts)
