"""A call as actors: one that supervises, and one for each socket."""

from actors.assistant import Assistant, AssistantError
from actors.call import Answer, CallActor, CallSetup
from actors.clock import Clock
from actors.member import CallError, Member, post
from actors.messages import HangUp, StreamStopped
from actors.meter import Meter
from actors.model_socket import ModelSocket
from actors.twilio import MediaSocket, PhoneReader

__all__ = [
    "Answer",
    "Assistant",
    "AssistantError",
    "CallActor",
    "CallError",
    "CallSetup",
    "Clock",
    "HangUp",
    "MediaSocket",
    "Member",
    "Meter",
    "ModelSocket",
    "PhoneReader",
    "StreamStopped",
    "post",
]
