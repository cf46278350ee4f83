"""Which of a session's responses may still be heard: those that an interruption has to name.

    a response                 is named by
    that is being generated    every interruption: it may still send audio
    that has ended             the next interruption, and no later one: its audio may be on its way to the phone

Pure.
"""


class Responses:
    """Those of one model session. Not thread-safe: it belongs to the actor that owns the model's socket."""

    def __init__(self) -> None:
        self._active: set[str] = set()
        self._since_interruption: set[str] = set()

    @property
    def active(self) -> bool:
        """Whether there is something to cancel."""
        return bool(self._active)

    def began(self, response_id: str) -> None:
        """The server generates it."""
        self._active.add(response_id)
        self._since_interruption.add(response_id)

    def plays(self, response_id: str) -> None:
        """It is heard without having been generated here."""
        self._since_interruption.add(response_id)

    def ended(self, response_id: str) -> None:
        """The server has nothing more to send of it."""
        self._active.discard(response_id)

    def interrupt(self) -> frozenset[str]:
        """An interruption: returns whose audio must not be heard any more."""
        dead = frozenset(self._since_interruption | self._active)
        self._since_interruption.clear()
        return dead
