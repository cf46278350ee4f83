"""What the model has called and waits for, and whether it has to be asked to go on once it has all of it.

    has been called      is waited for until
    a function           its output came: we run it
    an MCP tool          it has ended: the server runs it, or its response was cancelled

The model is asked to go on, once, when nothing is waited for any more and no response that has called something is
still being generated: it may be about to call another. What was called in a cancelled response, and is run by the
server, may end without our being told; nothing is owed for that.

Pure. Source: OpenAI Realtime reference, on function calling and MCP tools.
"""


class Outputs:
    """Those of one model session. Not thread-safe: it belongs to the actor that writes the session."""

    def __init__(self) -> None:
        self._calling: set[str] = set()
        """The responses that have called something and have not ended."""
        self._awaited: set[str] = set()
        self._mcp: dict[str, str] = {}
        """The response of each MCP call that has not ended, by the call's item."""
        self._answered = True

    def function_called(self, response_id: str, call_id: str) -> None:
        """A response has called a function, which somebody here runs."""
        self._calling.add(response_id)
        self._awaited.add(call_id)

    def mcp_called(self, response_id: str, item_id: str) -> None:
        """A response has called a tool of an MCP server, which the model's server runs."""
        self._calling.add(response_id)
        self._awaited.add(item_id)
        self._mcp[item_id] = response_id

    def came(self, call_id: str, last: bool, respond: bool) -> None:
        """A function's output went to the model. `last`: of those that the call knows of; `respond`: it is answered.

        Where it is not the last, that says nothing of what was owed before: the call may still know of an MCP tool
        that has ended here.
        """
        self._awaited.discard(call_id)
        if last or not respond:
            self._answered = not respond

    def mcp_ended(self, item_id: str) -> bool:
        """An MCP call has ended. False if it is none that was waited for: said twice, or given up."""
        if self._mcp.pop(item_id, None) is None:
            return False
        self._awaited.discard(item_id)
        self._answered = False
        return True

    def response_done(self, response_id: str) -> bool:
        """A response has ended. Returns whether it had called anything."""
        called = response_id in self._calling
        self._calling.discard(response_id)
        return called

    def give_up(self, response_id: str) -> list[str]:
        """The response was cancelled. Returns the items of its MCP calls, of whose end we may not be told."""
        given_up = [item_id for item_id, response in self._mcp.items() if response == response_id]
        for item_id in given_up:
            del self._mcp[item_id]
            self._awaited.discard(item_id)
        return given_up

    def take_due(self) -> bool:
        """Whether the model has to be asked to go on now. True once for what it was true for."""
        if self._answered or self._awaited or self._calling:
            return False
        self._answered = True
        return True
