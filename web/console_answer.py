"""What the views of the console have in common: how a request asks, and how it is answered."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from store.database import StoreError
from web.streams import Source

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")


def answered(view: Callable[Parameters, ResponseReturnValue]) -> Callable[Parameters, ResponseReturnValue]:
    """A view whose database may fail: then the page is told so."""

    @functools.wraps(view)
    def careful(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> ResponseReturnValue:
        try:
            return view(*arguments, **keywords)
        except StoreError as error:
            logger.warning("the console cannot be shown: %s", error)
            return refused("The database does not answer. This page tries again.", 503)

    return careful


def once(source: Source) -> ResponseReturnValue:
    """What a stream of it would begin with: {events: [{event, data}], place, over}. Raises StoreError."""
    told = [{"event": name, "data": data} for name, data in source.next()]
    return jsonify(events=told, place=source.place, over=source.over)


def refused(text: str, status: int) -> ResponseReturnValue:
    """Why not, in words for the person who looks at the page."""
    return jsonify(error=text), status


def wants(name: str) -> bool:
    """Whether the request says `name=1`."""
    return request.args.get(name) == "1"


def full_numbers() -> bool:
    """Whether it asks for whole numbers, where else they are shortened."""
    return wants("full")


def named(response: Response, name: str) -> Response:
    """For whoever downloads it."""
    if wants("download"):
        response.headers.set("Content-Disposition", "attachment", filename=name)
    return response
