"""Starting a manager in one step."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

from ._manager import CommsManager


class Plain:
    """A runtime without methods of its own.

    Parameters
    ----------
    uid : str
        Its uid.
    """

    def __init__(self, uid: str) -> None:
        self.uid = uid


async def join(comms: CommsManager) -> None:
    """Bind, shake hands with the monitor if one is known, and listen."""
    comms.connect_recv()
    try:
        if comms.monitor is not None and comms.uid != "monitor":
            await comms.handshake("monitor", *comms.monitor)
        comms.listen()
    except BaseException:
        await comms.stop()
        raise


class start:
    """Start the manager of a runtime: bind, join the network at the monitor, listen.

    Parameters
    ----------
    uid : str
        The uid of the runtime: ``monitor`` is the one that everybody meets at.
    runtime : object, optional
        Any object: its methods are what others may call. They get the sender's uid, and the arguments as keywords.
    address, port : optional
        Where to listen. By default the address of the default route, and the first free port.
    monitor : tuple of str and int, optional
        Where the monitor is, unless ``MOSAIC_MONITOR_HOST`` and ``MOSAIC_MONITOR_PORT`` say it.
    settings : optional
        As for `CommsManager`.

    Returns
    -------
    start
        Awaiting it gives the `CommsManager`; ``async with`` stops that at the end.

    Examples
    --------
    >>> import asyncio, mosaic_comms
    >>> class Head:
    ...     def add(self, sender, a, b):
    ...         return a + b
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", Head(), address="127.0.0.1") as comms:
    ...         return await comms.send_recv_async("monitor", method="add", a=1, b=2)
    >>> asyncio.run(main())
    3
    """

    def __init__(
        self,
        uid: str,
        runtime: Any = None,
        address: str | None = None,
        port: int | None = None,
        *,
        monitor: tuple[str, int] | None = None,
        **settings: Any,
    ) -> None:
        self._uid = uid
        self._runtime = runtime
        self._settings = dict(settings, address=address, port=port, monitor=monitor)
        self._comms: CommsManager | None = None

    async def _start(self) -> CommsManager:
        runtime = Plain(self._uid) if self._runtime is None else self._runtime
        comms = CommsManager(runtime, uid=self._uid, **self._settings)
        await join(comms)
        return comms

    def __await__(self) -> Generator[Any, None, CommsManager]:
        return self._start().__await__()

    async def __aenter__(self) -> CommsManager:
        self._comms = await self._start()
        return self._comms

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._comms is not None:
            await self._comms.stop()
