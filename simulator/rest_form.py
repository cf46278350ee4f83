"""The parameters of one REST request, and Twilio's refusals. Pure; any thread."""

from collections.abc import Mapping, Sequence

from simulator.twiml_verbs import Method, StatusCallback


class RestError(Exception):
    """A request is refused: `status` is HTTP's, `code` Twilio's. Source: twilio-media-streams.md, 9 and 10."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    def body(self) -> dict[str, object]:
        return {
            "code": self.code,
            "message": str(self),
            "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
            "status": self.status,
        }


def not_found(path: str) -> RestError:
    return RestError(404, 20404, f"The requested resource {path} was not found")


class Form:
    """Form fields by name, as of a body or a query; each may be there several times."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def first(self) -> dict[str, str]:
        """One value for each name."""
        return {name: values[-1] for name, values in self._fields.items()}

    def text(self, name: str, default: str = "") -> str:
        return self._fields[name][-1] if name in self._fields else default

    def optional(self, name: str) -> str | None:
        return self.text(name) or None

    def required(self, name: str, code: int) -> str:
        """Raises RestError with `code` if it is not there or blank."""
        if not (text := self.text(name)):
            raise RestError(400, code, f"No '{name}' is specified")
        return text

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(self._fields.get(name, ()))

    def flag(self, name: str, default: bool) -> bool:
        match self.text(name, str(default)).lower():
            case "true":
                return True
            case "false":
                return False
            case other:
                raise RestError(400, 20001, f"{name} is true or false, not {other!r}")

    def number(self, name: str, default: float, code: int, limits: tuple[float, float]) -> float:
        """Raises RestError with `code` for what is no number between the limits."""
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not limits[0] <= value <= limits[1]:
            raise RestError(
                400, code, f"{name} is {text!r}; it is a number from {limits[0]:g} to {limits[1]:g}"
            )
        return value

    def method(self, name: str) -> Method:
        match self.text(name, "POST").upper():
            case "GET":
                return "GET"
            case "POST":
                return "POST"
            case other:
                raise RestError(400, 20001, f"{name} is GET or POST, not {other!r}")

    def callback(
        self, name: str, default: tuple[str, ...], known: tuple[str, ...], code: int
    ) -> StatusCallback | None:
        """The callback with its Method and Events. An unknown event is refused with `code`."""
        url = self.optional(name)
        if url is None:
            return None
        # The SDK repeats the key; one string of several words is taken as well.
        events = tuple(event for each in self.all(f"{name}Event") for event in each.split()) or default
        if unknown := [event for event in events if event not in known]:
            raise RestError(400, code, f"{name}Event {unknown[0]!r} is none of {', '.join(known)}")
        return StatusCallback(url, self.method(f"{name}Method"), events)
