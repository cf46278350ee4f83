"""The attributes of TwiML elements, read with Twilio's defaults, refused with Twilio's code. Pure; any thread."""

from xml.etree.ElementTree import Element

from simulator.twiml_error import TwimlError
from simulator.twiml_verbs import Method, StatusCallback


def method(element: Element, attribute: str = "method") -> Method:
    """GET or POST; POST where it is not given."""
    match element.get(attribute, "POST").upper():
        case "GET":
            return "GET"
        case "POST":
            return "POST"
        case other:
            raise TwimlError(12200, f"<{element.tag} {attribute}={other!r}>: it is GET or POST")


def seconds(element: Element, attribute: str, default: str) -> float:
    """A number of seconds, 0 or more."""
    text = element.get(attribute, default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise TwimlError(12200, f"<{element.tag} {attribute}={text!r}> is no number of seconds")
    return value


def flag(element: Element, attribute: str, default: bool) -> bool:
    """`true` or `false`."""
    text = element.get(attribute, str(default)).lower()
    if text not in ("true", "false"):
        raise TwimlError(12200, f"<{element.tag} {attribute}={text!r}>: it is true or false")
    return text == "true"


def callback(
    element: Element, attribute: str = "statusCallback", events: tuple[str, ...] = ()
) -> StatusCallback | None:
    """The callback that `attribute` names, with its Method and Event; None if there is none.

    `events` are those that are reported where the element does not choose.
    """
    url = element.get(attribute)
    if url is None:
        return None
    chosen = tuple(element.get(f"{attribute}Event", "").split())
    return StatusCallback(url, method(element, f"{attribute}Method"), chosen or events)
