"""What is wrong with the offline model: a test, or whoever wants to see what a client does then, says it here."""

import threading

from simulator.admission import TurnedAway
from simulator.entrance import Entrance
from simulator.refusal import FailureError, RefusalError


class Faults:
    """An offline model's faults: `OfflineModel.faults`. At first there are none. Any thread; `refuse`
    and `let_in` one after the other.

    What is wrong with one session alone is said to the session: `stall`, `drop`, `close`, `send_raw`.
    """

    def __init__(self, entrance: Entrance) -> None:
        self.refusing_status: int | None = None
        """The HTTP status that upgrade requests get; None lets them pass."""
        self.turning_away: TurnedAway | None = None
        """What clients are told instead of `session.created`; None gives them a session."""
        self.created_s = 0.0
        self.updated_s = 0.0
        self.response_s = 0.0
        """Seconds by which `session.created`, `session.updated`, and what follows `response.created`, are late."""
        self._entrance = entrance
        self._lock = threading.Lock()
        self._failing = 0
        self._failure = FailureError("server_error", "The model failed.")

    def refuse(self, status: int | None = None) -> None:
        """Let nobody in: upgrade requests are answered with `status`, or, without one, nothing listens any more.

        Open sessions go on.
        """
        self.refusing_status = status
        if status is None:
            self._entrance.shut()
        else:
            self._entrance.open()

    def turn_away(self, code: str, message: str = "You get no session.", close_code: int = 4000) -> None:
        """Complete the handshake of whoever comes, then send an error with this code and close.

        That is how the real server refuses a key, an account or the beta's shape (openai-realtime.md, 0, 1 and 13).
        """
        self.turning_away = TurnedAway(RefusalError(code, message), close_code)

    def let_in(self) -> None:
        """Take back `refuse` and `turn_away`."""
        self.refusing_status = self.turning_away = None
        self._entrance.open()

    def delay(self, *, created_s: float = 0.0, updated_s: float = 0.0, response_s: float = 0.0) -> None:
        """Be slow: see the attributes of these names. Nothing that follows a late event overtakes it."""
        self.created_s, self.updated_s, self.response_s = created_s, updated_s, response_s

    def stall(self) -> None:
        """Let all connections stand still, those to come included: nothing is read or written, pongs neither.

        Who stands still before the upgrade is dropped after 10 s; all others, when they or the model close.
        """
        self._entrance.stall()

    def resume(self) -> None:
        """Let everything go on that stands still."""
        self._entrance.resume()

    def fail_responses(
        self,
        count: int,
        code: str = "server_error",
        message: str = "The model failed.",
        *,
        kind: str = "server_error",
    ) -> None:
        """Let the next `count` responses fail, with this error's code and type (`kind`) in `response.done`."""
        with self._lock:
            self._failing = count
            self._failure = FailureError(code, message, kind=kind)

    def heal(self) -> None:
        """Be as good as new."""
        self.fail_responses(0)
        self.delay()
        self.resume()
        self.let_in()

    def next_failure(self) -> FailureError | None:
        """What the response that asks has to fail with, if anything. Counts."""
        with self._lock:
            if not self._failing:
                return None
            self._failing -= 1
            return self._failure
