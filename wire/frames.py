"""The common case of a websocket's frames, read and written without a library: a text message in one frame.

A call gets 50 of them a second from the phone, and as many from the model, and a library in pure Python needs 10 to
60 us for one. Whatever is not that case is left to the library that owns the connection, byte for byte:

    a text frame that is whole       read here
    ping, pong, close                that one frame to the library, and then on here
    anything else                    it and all that follows to the library, for good

Anything else is a fragment, a binary frame, a reserved bit, a mask where there must be none or none where there must
be one, text that is not UTF-8, and a frame that is longer than the limit. What to say of it is the library's matter.

Pure. Source: RFC 6455, 5.2 and 5.3.
"""

from typing import Final

_WHOLE_TEXT = 0x81
_CONTROL = (0x88, 0x89, 0x8A)
_MASKED = 0x80
_LONGEST_CONTROL = 125
_SMALL_READ_BYTES = 479
"""A frame of 20 ms fits in. Who waits holds as much as it asks for, and up to 512 bytes, with the 33 that Python
adds, come from the interpreter's own memory, which all threads share."""
_LARGE_READ_BYTES = 4 * 1024


class FrameReader:
    """What one peer sends. One thread: the one that reads the socket."""

    def __init__(self, masked: bool, limit: int) -> None:
        """`masked`: the peer is a client. `limit`: bytes of payload above which a frame is left to the library."""
        self._mask: Final = _MASKED if masked else 0
        self._limit: Final = limit
        self._data = b""
        self._at = 0
        self._left = False
        self.read_bytes = _SMALL_READ_BYTES
        """How many bytes to ask the kernel for next: more, where all that were asked for last had come."""

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        self.read_bytes = _SMALL_READ_BYTES if len(data) < _SMALL_READ_BYTES else _LARGE_READ_BYTES
        rest = self._data[self._at :] if self._at < len(self._data) else b""
        self._data = rest + data if rest else data
        self._at = 0

    def take(self) -> str | bytes | None:
        """A text message as str, or bytes for the library; None: there is neither until more has come."""
        data, at = self._data, self._at
        if self._left:
            self._at = len(data)
            return data[at:] or None
        start = at + 2
        if len(data) < start:
            return None
        first, size = data[at], data[at + 1] ^ self._mask
        # A mask bit that is not as it must be is still set here, and makes the size one that there is not.
        if first != _WHOLE_TEXT:
            return self._control(first, size)
        if size > 125:
            width = 2 if size == 126 else 8 if size == 127 else 0
            start += width
            if not width:
                return self._leave()
            if len(data) < start:
                return None
            size = int.from_bytes(data[start - width : start])
            if size > self._limit:
                return self._leave()
        if self._mask:
            begin = start + 4
            end = begin + size
            if len(data) < end:
                return None
            # `unmasked`, without the call.
            mask = (data[start:begin] * (size // 4 + 1))[:size]
            payload = (int.from_bytes(data[begin:end], "little") ^ int.from_bytes(mask, "little")).to_bytes(
                size, "little"
            )
        else:
            end = start + size
            if len(data) < end:
                return None
            payload = data[start:end]
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return self._leave()
        self._at = end
        return text

    def _control(self, first: int, size: int) -> bytes | None:
        if first not in _CONTROL or size > _LONGEST_CONTROL:
            return self._leave()
        end = self._at + 2 + (4 if self._mask else 0) + size
        if len(self._data) < end:
            return None
        frame = self._data[self._at : end]
        self._at = end
        return frame

    def _leave(self) -> bytes:
        self._left = True
        rest = self._data[self._at :]
        self._at = len(self._data)
        return rest


def text_frame(text: str) -> bytes:
    """A server's frame."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((_WHOLE_TEXT, size)) + payload
    if size < 0x10000:
        return b"\x81\x7e" + size.to_bytes(2) + payload
    return b"\x81\x7f" + size.to_bytes(8) + payload


def masked_text_frame(text: str, key: bytes) -> bytes:
    """A client's frame. `key`: four bytes that nobody can foresee, new for every frame."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = bytes((_WHOLE_TEXT, _MASKED | size))
    elif size < 0x10000:
        head = b"\x81\xfe" + size.to_bytes(2)
    else:
        head = b"\x81\xff" + size.to_bytes(8)
    return head + key + unmasked(payload, key)


def unmasked(payload: bytes, key: bytes) -> bytes:
    """Take the mask off, or put it on, which is the same."""
    size = len(payload)
    # One operation on one long number, in C; a loop over the bytes would cost more than all else here.
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")
