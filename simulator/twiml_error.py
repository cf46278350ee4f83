"""What Twilio says of TwiML that it does not run."""


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
