"""TwiML as the simulated phone follows it: XML to verbs.

Source: Twilio, "TwiML for Programmable Voice", as far as Switchboard's documents use it: Say, Play,
Pause, Hangup, Reject, Redirect, Dial and Connect with one Stream. Another verb is refused by name,
because a call that skipped it would not be the call that Twilio makes. Pure; any thread.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urljoin, urlsplit, urlunsplit
from xml.etree import ElementTree

Method = Literal["GET", "POST"]

CONTENT_TYPES = ("text/xml", "application/xml")

PARAMETER_LIMIT = 500
"""A Parameter's name and value have fewer characters than this together. Source: TwiML Stream."""


class TwimlError(Exception):
    """Twilio would not run this document. `code` is Twilio's: 12100 is no XML, 12200 is XML but not TwiML,
    12300 is sent as another type than XML."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamRefusedError(Exception):
    """Twilio would not or could not open this Stream. `code` is Twilio's error: 31901 to 31941."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class Play:
    """Either a `url` with audio or `digits` (DTMF keys, `w` for half a second of silence); the other is
    empty."""

    url: str = ""
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str = "rejected"


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: Method = "POST"


@dataclass(frozen=True, slots=True)
class Dial:
    number: str


@dataclass(frozen=True, slots=True)
class Stream:
    """A bidirectional media stream. `url` is as written in the document; `stream_url` checks and
    resolves it."""

    url: str
    name: str | None = None
    track: str = "inbound_track"
    parameters: dict[str, str] = field(default_factory=dict)
    status_callback: str | None = None
    status_method: Method = "POST"


@dataclass(frozen=True, slots=True)
class Connect:
    stream: Stream
    action: str | None = None
    method: Method = "POST"


Verb: TypeAlias = Say | Play | Pause | Hangup | Reject | Redirect | Dial | Connect


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
            return Pause(_seconds(element.get("length", "1")))
        case "Hangup":
            return Hangup()
        case "Reject":
            return Reject(element.get("reason", "rejected"))
        case "Redirect":
            return Redirect(text, _method(element, "method"))
        case "Dial":
            return Dial(text)
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
            _method(stream, "statusCallbackMethod"),
        ),
        element.get("action"),
        _method(element, "method"),
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


def _method(element: ElementTree.Element, attribute: str) -> Method:
    match element.get(attribute, "POST").upper():
        case "GET":
            return "GET"
        case "POST":
            return "POST"
        case other:
            raise TwimlError(12200, f"<{element.tag} {attribute}={other!r}>: it is GET or POST")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise TwimlError(12200, f"<Pause length={text!r}> is no number of seconds")
    return seconds
