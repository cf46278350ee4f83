"""TwiML as the simulated phone follows it: XML to verbs.

Source: Twilio, "TwiML for Programmable Voice", as far as Switchboard's documents use it: Say, Play,
Pause, Hangup, Reject, Redirect, Dial a number or a Conference, Record, Gather, and Connect with one Stream.
Another verb is refused by name, because a call that skipped it would not be the call that Twilio makes. Pure;
any thread.
"""

from urllib.parse import urljoin, urlsplit, urlunsplit
from xml.etree import ElementTree

from simulator import twiml_attributes
from simulator.twiml_error import StreamRefusedError, TwimlError
from simulator.twiml_verbs import (
    Conference,
    Connect,
    Dial,
    Gather,
    Hangup,
    Method,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    StatusCallback,
    Stream,
    Verb,
)

__all__ = [
    "CONTENT_TYPES",
    "PARAMETER_LIMIT",
    "Conference",
    "Connect",
    "Dial",
    "Gather",
    "Hangup",
    "Method",
    "Pause",
    "Play",
    "Record",
    "Redirect",
    "Reject",
    "Say",
    "StatusCallback",
    "Stream",
    "StreamRefusedError",
    "TwimlError",
    "Verb",
    "check_type",
    "parse",
    "stream_url",
]

CONTENT_TYPES = ("text/xml", "application/xml")

PARAMETER_LIMIT = 500
"""A Parameter's name and value have fewer characters than this together. Source: TwiML Stream."""

_CALL_EVENTS = ("completed",)


def check_type(content_type: str) -> None:
    """Raises TwimlError unless the Content-Type, without its parameters, is one that TwiML is served as.

    Source: Twilio, "Error 12300: Invalid Content-Type". That Twilio would play what is sent as audio and speak
    what is sent as plain text is left out: for a server that means to send TwiML, either is a mistake.
    """
    if content_type not in CONTENT_TYPES:
        raise TwimlError(12300, f"the answer is {content_type}; TwiML is {' or '.join(CONTENT_TYPES)}")


def parse(document: bytes) -> tuple[Verb, ...]:
    """The verbs of a TwiML document, in order. Raises TwimlError."""
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as problem:
        raise TwimlError(12100, f"the answer is not XML ({problem}): {document[:120]!r}") from None
    if root.tag != "Response":
        raise TwimlError(12200, f"TwiML is a <Response>, not <{root.tag}>")
    return tuple(_verb(element) for element in root)


def stream_url(stream: Stream, document_url: str) -> str:
    """The websocket URL to open for `stream`, relative ones resolved. Raises StreamRefusedError.

    Twilio opens only wss. A server that is itself asked without TLS, which Twilio's customers do not run and
    tests do, may have its stream without TLS as well.
    """
    if stream.track != "inbound_track":
        raise StreamRefusedError(31941, f"<Connect><Stream> takes only inbound_track, not {stream.track!r}")
    url = stream.url
    try:
        parts = urlsplit(url)
        if not parts.scheme and not parts.netloc:
            resolved = urlsplit(urljoin(document_url, url))
            parts = resolved._replace(scheme={"http": "ws", "https": "wss"}[resolved.scheme])
        _ = parts.port  # raises for one that is no number
    except ValueError as problem:
        raise StreamRefusedError(31923, f"<Stream url={url!r}> is malformed: {problem}") from None
    takes = ("ws", "wss") if urlsplit(document_url).scheme == "http" else ("wss",)
    if parts.scheme not in takes:
        raise StreamRefusedError(
            31922, f"<Stream url={url!r}> has the scheme {parts.scheme!r}; it must be wss"
        )
    if not parts.hostname:
        raise StreamRefusedError(31923, f"<Stream url={url!r}> names no host")
    if "?" in url:
        raise StreamRefusedError(
            31920, f"<Stream url={url!r}> has a query, which Twilio drops; use <Parameter> or the path"
        )
    return urlunsplit(parts)


def _verb(element: ElementTree.Element) -> Verb:
    text = "".join(element.itertext()).strip()
    match element.tag:
        case "Say":
            return Say(text)
        case "Play":
            digits = element.get("digits", "")
            if bool(digits) == bool(text):
                raise TwimlError(12200, "<Play> has either digits or a URL")
            return Play(url=text, digits=digits)
        case "Pause":
            return Pause(twiml_attributes.seconds(element, "length", "1"))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject(element.get("reason", "rejected"))
        case "Redirect":
            return Redirect(text, twiml_attributes.method(element))
        case "Dial":
            return _dial(element)
        case "Record":
            return _record(element)
        case "Gather":
            return _gather(element)
        case "Connect":
            return _connect(element)
    raise TwimlError(12200, f"<{element.tag}> is no verb that the simulated phone knows")


def _connect(element: ElementTree.Element) -> Connect:
    nouns = list(element)
    if len(nouns) != 1 or nouns[0].tag != "Stream":
        found = ", ".join(f"<{noun.tag}>" for noun in nouns) or "nothing"
        raise TwimlError(12200, f"<Connect> holds exactly one <Stream>, not {found}")
    stream = nouns[0]
    if "url" not in stream.attrib:
        raise TwimlError(12200, "<Stream> has no url")
    return Connect(
        Stream(
            stream.attrib["url"],
            stream.get("name"),
            stream.get("track", "inbound_track"),
            dict(_parameter(child) for child in stream),
            stream.get("statusCallback"),
            twiml_attributes.method(stream, "statusCallbackMethod"),
        ),
        element.get("action"),
        twiml_attributes.method(element),
    )


def _parameter(element: ElementTree.Element) -> tuple[str, str]:
    name, value = element.get("name"), element.get("value")
    if element.tag != "Parameter" or not name or value is None:
        raise TwimlError(
            12200, f"<Stream> holds <Parameter name= value=>, not <{element.tag}> {element.attrib}"
        )
    if len(name) + len(value) >= PARAMETER_LIMIT:
        raise TwimlError(
            12200,
            f"<Parameter name={name!r}> has {len(name) + len(value)} characters in name and value; "
            f"Twilio takes fewer than {PARAMETER_LIMIT}",
        )
    return name, value


def _dial(element: ElementTree.Element) -> Dial:
    nouns = list(element)
    if len(nouns) > 1 or any(noun.tag not in ("Number", "Conference") for noun in nouns):
        found = ", ".join(f"<{noun.tag}>" for noun in nouns)
        raise TwimlError(12200, f"<Dial> holds one number, <Number> or <Conference> here, not {found}")
    noun = nouns[0] if nouns else element
    text = (noun.text or "").strip()
    if not text:
        raise TwimlError(12200, f"<{noun.tag}> says neither a number nor a conference")
    time_limit = "timeLimit" in element.attrib
    conference = noun.tag == "Conference"
    return Dial(
        "" if conference else text,
        _conference(noun, text) if conference else None,
        element.get("callerId"),
        twiml_attributes.seconds(element, "timeout", "30"),
        twiml_attributes.seconds(element, "timeLimit", "") if time_limit else None,
        element.get("action"),
        twiml_attributes.method(element),
        noun.get("sendDigits", ""),
        None if conference else twiml_attributes.callback(noun, events=_CALL_EVENTS),
    )


def _conference(noun: ElementTree.Element, name: str) -> Conference:
    return Conference(
        name,
        twiml_attributes.flag(noun, "startConferenceOnEnter", True),
        twiml_attributes.flag(noun, "endConferenceOnExit", False),
        twiml_attributes.flag(noun, "muted", False),
        noun.get("participantLabel"),
        twiml_attributes.callback(noun),
    )


def _record(element: ElementTree.Element) -> Record:
    return Record(
        element.get("action"),
        twiml_attributes.method(element),
        twiml_attributes.seconds(element, "timeout", "5"),
        element.get("finishOnKey", "1234567890*#"),
        twiml_attributes.seconds(element, "maxLength", "3600"),
        twiml_attributes.flag(element, "playBeep", True),
        twiml_attributes.callback(element, "recordingStatusCallback", ("completed",)),
    )


def _gather(element: ElementTree.Element) -> Gather:
    prompt = []
    for child in element:
        verb = _verb(child)
        if not isinstance(verb, Say | Play | Pause):
            raise TwimlError(12200, f"<Gather> holds <Say>, <Play> and <Pause>, not <{child.tag}>")
        prompt.append(verb)
    digits = element.get("numDigits")
    if digits is not None and not (digits.isascii() and digits.isdigit() and int(digits) > 0):
        raise TwimlError(12200, f"<Gather numDigits={digits!r}> is no number of digits")
    return Gather(
        tuple(prompt),
        None if digits is None else int(digits),
        element.get("finishOnKey", "#"),
        twiml_attributes.seconds(element, "timeout", "5"),
        element.get("action"),
        twiml_attributes.method(element),
        twiml_attributes.flag(element, "actionOnEmptyResult", False),
    )
