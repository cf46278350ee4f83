"""Keys that a caller presses, put together to a number.

    waits for             at most                   then
    the first key         first_seconds             nothing was entered
    the next key          between_seconds           what there is, if it may be that short; else it was not enough
    the `length`th key    -                         complete, at once
    the finishing key     -                         what there is, if it may be that short; else it was not enough

`*` in a number of fixed length begins it anew: callers mistype.

Pure: time is an argument, in seconds of any clock that never goes back.
"""

from dataclasses import dataclass

CLOCK_SECONDS = 0.001
"""How much too early a timer may be."""

FINISH = "#"
AGAIN = "*"


@dataclass(frozen=True, slots=True)
class Form:
    """What a number has to look like. Raises ValueError for what no number can be."""

    shortest: int = 1
    longest: int | None = None
    """None: any; only the finishing key or a pause ends it"""
    first_seconds: float | None = 15.0
    """None: there is no hurry to begin"""
    between_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= (self.longest or self.shortest):
            raise ValueError(f"a number of {self.shortest} to {self.longest} digits cannot be entered")
        if not (self.between_seconds > 0 and (self.first_seconds is None or self.first_seconds > 0)):
            raise ValueError("a pause must be a positive number of seconds")


@dataclass(frozen=True, slots=True)
class Entered:
    """The number is complete."""

    digits: str


@dataclass(frozen=True, slots=True)
class NotEntered:
    """Nothing, or too little, was entered in time."""

    count: int
    """how many digits there were"""


@dataclass(frozen=True, slots=True)
class Remind:
    """Call `due` after this many seconds. Reminders that have become pointless do no harm."""

    seconds: float


Command = Entered | NotEntered | Remind


class Digits:
    """One number being entered; begins anew when it is over. Not thread-safe. Every input returns its commands."""

    def __init__(self, form: Form, now: float) -> None:
        self._form = form
        self._digits = ""
        self._due_at = None if form.first_seconds is None else now + form.first_seconds

    @property
    def begun(self) -> bool:
        """Whether there is a digit."""
        return bool(self._digits)

    def begin(self, now: float) -> list[Command]:
        """The caller is asked for it now."""
        return [] if self._due_at is None else [Remind(self._due_at - now)]

    def press(self, digit: str, now: float) -> list[Command]:
        """A key was pressed: 0 to 9, *, #, or A to D, which count as digits."""
        if digit == FINISH:
            return self._finish()
        if digit == AGAIN and self._form.longest is not None:
            self._digits = ""
        else:
            self._digits += digit
        if len(self._digits) == self._form.longest:
            return self._finish()
        self._due_at = now + self._form.between_seconds
        return [Remind(self._form.between_seconds)]

    def due(self, now: float) -> list[Command]:
        """The time of a `Remind` has come. Harmless at any other time."""
        if self._due_at is None or now < self._due_at - CLOCK_SECONDS:
            return []
        return self._finish()

    def _finish(self) -> list[Command]:
        digits, self._digits, self._due_at = self._digits, "", None
        return [Entered(digits) if len(digits) >= self._form.shortest else NotEntered(len(digits))]
