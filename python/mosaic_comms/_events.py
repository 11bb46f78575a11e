"""What happens in the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import _core
from ._loops import drive

__all__ = ["Event", "Events"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in the network.

    Attributes
    ----------
    kind : str
        ``connected`` or ``disconnected`` (once for each life of a runtime), ``suspected``, ``unreachable`` (from here;
        others may reach it), ``failed`` (a handler of the peer, with a one-way message of ours), ``condemned`` (the
        monitor has declared us dead), ``missed`` (this listener was too slow).
    uid : str
        Whose it is; empty where it is nobody else's.
    detail : object
        The address and port of a runtime that has connected, the reason of an end, the exception of a failure, or how
        many events were missed.

    Examples
    --------
    >>> mosaic_comms.Event("disconnected", "worker:0", "it left: stopped").kind
    'disconnected'
    """

    kind: str
    uid: str
    detail: Any


class Events:
    """Events from the moment on at which they were asked for. The iteration ends when the manager has stopped.

    Examples
    --------
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as comms:
    ...         events = comms.events()
    ...         place = comms.address, comms.port
    ...         async with mosaic_comms.start("worker:0", address="127.0.0.1", monitor=place):
    ...             pass
    ...         async for event in events:
    ...             print(event.kind, event.uid)
    ...             if event.kind == "disconnected":
    ...                 break
    >>> asyncio.run(main())
    connected worker:0
    disconnected worker:0
    """

    def __init__(self, events: _core.Events) -> None:
        self._events = events

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        event: Any = await drive(self._events.next())
        if event is None:
            raise StopAsyncIteration
        return Event(*event)
