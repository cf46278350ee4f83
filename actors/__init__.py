"""A call as actors: one that supervises, and one for each socket."""

from actors.assistant import Assistant, AssistantError
from actors.assistants import Assistants
from actors.call import Answer, CallActor
from actors.call_context import CallContext
from actors.clock import Clock
from actors.endpoints import Endpoint, Endpoints
from actors.listener import Listener
from actors.member import CallError, Member, post
from actors.messages import (
    CallEnded,
    DigitPressed,
    Drain,
    HangUp,
    Inject,
    PauseRecording,
    Say,
    SendDigits,
    StartRecording,
    StopRecording,
    StreamStopped,
    ToolFinished,
    Transfer,
)
from actors.meter import Meter
from actors.model_socket import ModelSocket
from actors.phone_reader import PhoneReader
from actors.setup import CallSetup
from actors.sound import SoundError, Sounds
from actors.tool import Tool, ToolError, tool
from actors.twilio import MediaSocket

__all__ = [
    "Answer",
    "Assistant",
    "AssistantError",
    "Assistants",
    "CallActor",
    "CallContext",
    "CallEnded",
    "CallError",
    "CallSetup",
    "Clock",
    "DigitPressed",
    "Drain",
    "Endpoint",
    "Endpoints",
    "HangUp",
    "Inject",
    "Listener",
    "MediaSocket",
    "Member",
    "Meter",
    "ModelSocket",
    "PauseRecording",
    "PhoneReader",
    "Say",
    "SendDigits",
    "SoundError",
    "Sounds",
    "StartRecording",
    "StopRecording",
    "StreamStopped",
    "Tool",
    "ToolError",
    "ToolFinished",
    "Transfer",
    "post",
    "tool",
]
