"""What a process has one of: its runtime, its manager, its context, its loop and its logger."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from . import _core
from ._loops import background_loop

if TYPE_CHECKING:
    from ._manager import CommsManager

_logger = logging.getLogger("mosaic_comms")
_runtime: Any = None
_comms: CommsManager | None = None
_context: _core.Context | None = None


def init(
    runtime: Any = None,
    address: str | None = None,
    port: int | None = None,
    **settings: Any,
) -> CommsManager:
    """Make the runtime and the manager of this process, and let it join the network.

    Parameters
    ----------
    runtime : object or str, optional
        The runtime, or the uid of one without methods. ``monitor`` by default.
    address : str, optional
        The address to listen at.
    port : int, optional
        The port to listen at.
    settings : optional
        As for `CommsManager`.

    Returns
    -------
    CommsManager
        Which `get_comms` gives from now on. Its loop runs on a thread of its own.

    Examples
    --------
    >>> comms = mosaic_comms.init("monitor", address="127.0.0.1")
    >>> comms is mosaic_comms.get_comms(), mosaic_comms.runtime().uid
    (True, 'monitor')
    >>> asyncio.run(comms.stop())
    """
    global _runtime, _comms
    from ._start import Plain, join

    if asyncio._get_running_loop() is not None:
        raise RuntimeError("init() waits until the network is joined: inside of a running loop, await start() instead")
    from ._manager import CommsManager

    _runtime = Plain(runtime) if isinstance(runtime, str) else runtime or Plain("monitor")
    comms = CommsManager(_runtime, address, port, loop=background_loop(), **settings)
    asyncio.run_coroutine_threadsafe(join(comms), background_loop()).result()
    _comms = comms
    return comms


def runtime() -> Any:
    """Give the runtime of this process; None before `init`."""
    return _runtime


def get_comms() -> CommsManager | None:
    """Give the manager of this process; None before `init`."""
    return _comms


def get_event_loop() -> asyncio.AbstractEventLoop:
    """Give the loop that runs now or, outside of one, the loop of this process, which has a thread of its own."""
    return asyncio._get_running_loop() or background_loop()


def get_zmq_context() -> _core.Context:
    """Give the context of this process, which stands where a ZeroMQ context would."""
    global _context
    if _context is None:
        _context = _core.Context()
    return _context


def logger() -> logging.Logger:
    """Give the logger of the package."""
    return _logger


def forget() -> None:
    """Forget everything in a forked child."""
    global _runtime, _comms, _context
    _runtime = _comms = _context = None
