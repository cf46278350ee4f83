"""The API for whoever wants a call: places one, says how it goes, ends it. JSON, with API_TOKEN as a bearer token.

POST /calls            {"to": "+4930123456", "assistant": "name", "variables": {"name": "value"}}
GET /calls/ID
DELETE /calls/ID
"""

import logging
import math
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import orjson
from flask import Flask, Response, request
from pydantic import ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from store.database import StoreError
from store.dialed import REFUSED, DialedCall, DialedCalls
from web import security
from web.dial_request import DialError, DialRequest, Problem, no_such_call
from web.dialing import Dialer
from wire.call_progress import is_final

logger = logging.getLogger(__name__)

CALLS_PATH = "/calls"
KEY_HEADER = "Idempotency-Key"
"""A request that is repeated with the same one does not place another call."""

_KEY = re.compile(r"[!-~]{1,200}")
_RETRY_SECONDS = 5


class CallApi:
    """The views. They run in WSGI threads."""

    def __init__(self, dialer: Dialer, dialed: DialedCalls) -> None:
        self._dialer = dialer
        self._dialed = dialed

    def register(self, app: Flask) -> None:
        """Adds the routes to the app."""
        one = f"{CALLS_PATH}/<call_id>"
        for path, method, view in (
            (CALLS_PATH, "POST", self.place),
            (one, "GET", self.read),
            (one, "DELETE", self.end),
        ):
            app.add_url_rule(path, f"{method} {path}", security.api(_json(view)), methods=[method])

    def place(self) -> Response:
        """A call is wanted."""
        key = request.headers.get(KEY_HEADER)
        if key is not None and not _KEY.fullmatch(key):
            raise DialError(
                Problem.INVALID_REQUEST, f"{KEY_HEADER} has 1 to 200 printable characters, no space"
            )
        call, is_new = self._dialer.dial(_request(), key)
        if not is_new and call.outcome == REFUSED:
            raise DialError(Problem.CARRIER_REFUSED, call.error, call=call)
        answer = _answer(call_json(call), 201 if is_new else 200)
        answer.headers["Location"] = f"{CALLS_PATH}/{call.id}"
        return answer

    def read(self, call_id: str) -> Response:
        """How a call goes."""
        call = self._dialed.get(call_id)
        if call is None:
            raise no_such_call()
        return _answer(call_json(call))

    def end(self, call_id: str) -> Response:
        """A call is not wanted any more. It is over when its status says so."""
        call = self._dialer.hang_up(call_id)
        return _answer(call_json(call), 200 if is_final(call.status) else 202)


def call_json(call: DialedCall) -> dict[str, Any]:
    """A call as the API has it."""
    return {
        "id": call.id,
        "status": call.status,
        "to": call.number,
        "from": call.caller_id,
        "assistant": call.assistant,
        "variables": dict(call.variables),
        "placed_at": call.placed_at,
        "call_sid": call.call_sid,
        "answered_by": call.answered_by,
        "outcome": call.outcome or None,
        "error": call.error or None,
    }


def _json(view: Callable[..., Response]) -> Callable[..., Response]:
    """The view, with its errors as JSON."""

    @wraps(view)
    def answer(**arguments: str) -> Response:
        try:
            return view(**arguments)
        except DialError as error:
            return _error(error)
        except StoreError as error:
            logger.error("%s %s fails: %s", request.method, CALLS_PATH, error)
            content = {
                "error": {"code": "no_database", "message": "the database cannot be used at the moment"}
            }
            answer = _answer(content, 503)
            answer.headers["Retry-After"] = str(_RETRY_SECONDS)
            return answer

    return answer


def _error(error: DialError) -> Response:
    told: dict[str, Any] = {"code": error.problem.value, "message": str(error)}
    if error.carrier_code is not None:
        told["twilio_code"] = error.carrier_code
    content = {"error": told} | ({} if error.call is None else {"call": call_json(error.call)})
    answer = _answer(content, error.status)
    if error.retry_seconds is not None:
        answer.headers["Retry-After"] = str(max(math.ceil(error.retry_seconds), 1))
    return answer


def _request() -> DialRequest:
    request.max_content_length = security.MAX_BODY_BYTES
    try:
        return DialRequest.model_validate(orjson.loads(request.get_data()))
    except orjson.JSONDecodeError:
        raise DialError(Problem.INVALID_REQUEST, "the body is not JSON") from None
    except RequestEntityTooLarge:
        raise DialError(Problem.INVALID_REQUEST, "the body is too large") from None
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
        raise DialError(Problem.INVALID_REQUEST, "; ".join(wrong[:5])[:1000]) from None


def _answer(content: dict[str, Any], status: int = 200) -> Response:
    answer = Response(orjson.dumps(content), status, content_type="application/json")
    answer.headers["Cache-Control"] = "no-store"  # a person's number, and what is told of them
    return answer
