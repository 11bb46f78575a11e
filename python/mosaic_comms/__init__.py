"""Mosaic comms connects the runtimes of a parallel program and passes messages between them.

A *runtime* is a process, or a part of one, with a name: ``monitor``, ``head``, ``worker:0:3``. Its methods are what the
others may call. Its `CommsManager` binds an address, joins the network at the monitor, connects to the others when they
are needed, and carries calls, results, arrays and errors.
"""

from . import _forking
from ._core import Context, share
from ._defaults import get_comms, get_event_loop, get_zmq_context, init, logger, runtime
from ._errors import (
    CancelledError,
    CommsError,
    DisconnectedError,
    EncodeError,
    InvalidUidError,
    OverloadedError,
    RefusedError,
    RemoteError,
    RemoteTraceback,
    StateError,
    StoppedError,
    TimeoutError,
    TooLargeError,
    UnknownMethodError,
    UnknownObjectError,
    UnknownPeerError,
    UnreachableError,
)
from ._events import Event, Events
from ._manager import CommsManager
from ._messages import Command, Message, Reply
from ._pickling import allow_pickle
from ._proxy import Proxy
from ._sending import Sending
from ._start import start

_forking.install()

__all__ = [
    "CancelledError",
    "Command",
    "CommsError",
    "CommsManager",
    "Context",
    "DisconnectedError",
    "EncodeError",
    "Event",
    "Events",
    "InvalidUidError",
    "Message",
    "OverloadedError",
    "Proxy",
    "RefusedError",
    "RemoteError",
    "RemoteTraceback",
    "Reply",
    "Sending",
    "StateError",
    "StoppedError",
    "TimeoutError",
    "TooLargeError",
    "UnknownMethodError",
    "UnknownObjectError",
    "UnknownPeerError",
    "UnreachableError",
    "allow_pickle",
    "get_comms",
    "get_event_loop",
    "get_zmq_context",
    "init",
    "logger",
    "runtime",
    "share",
    "start",
]
