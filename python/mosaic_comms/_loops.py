"""The loops on which runtimes live: one driver each, and a loop of our own for programs that have none."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable
from typing import Any, cast

from . import _core

_drivers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _core.Driver] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class _NoLoop:
    """The loop of a future that nobody waits for."""

    def get_debug(self) -> bool:
        return False


ENDED: asyncio.Future[None] = asyncio.Future(loop=cast(asyncio.AbstractEventLoop, _NoLoop()))
"""A future that is over: what a task is told by the core whose operation is."""

ENDED.set_result(None)


def driver_of(loop: asyncio.AbstractEventLoop) -> _core.Driver:
    """Give the driver of a loop, which the loop watches from now on."""
    driver = _drivers.get(loop)
    if driver is None:
        with _lock:
            driver = _drivers.get(loop)
            if driver is None:
                driver = _core.Driver()
                _watch(loop, driver)
                _drivers[loop] = driver
    return driver


def _watch(loop: asyncio.AbstractEventLoop, driver: _core.Driver) -> None:
    if is_current(loop) or not loop.is_running():
        loop.add_reader(driver.fileno(), driver.drain)
    else:
        loop.call_soon_threadsafe(loop.add_reader, driver.fileno(), driver.drain)


def is_current(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether this thread runs the loop now."""
    return asyncio._get_running_loop() is loop


def start(operation: _core.Operation) -> None:
    """Start an operation on the loop that runs now, for whoever awaits it there."""
    loop = asyncio.get_running_loop()
    driver_of(loop).start(operation, loop)


async def drive(operation: _core.Operation) -> Any:
    """Wait for an operation on the loop that runs now. Whoever stops waiting ends it."""
    start(operation)
    await operation
    return operation.result()


class BackgroundLoop:
    """A loop on a thread of its own, which ends with the process."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mosaic-loop", daemon=True)
        started = threading.Event()
        self.loop.call_soon(started.set)
        self._thread.start()
        started.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()


_background: BackgroundLoop | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """Give the loop for programs that have none, which is started when it is first asked for."""
    global _background
    with _lock:
        if _background is None:
            _background = BackgroundLoop()
        return _background.loop


def run_on(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[object]) -> object:
    """Wait on this thread for something that another thread's loop does."""

    async def wait() -> object:
        return await awaitable

    return asyncio.run_coroutine_threadsafe(wait(), loop).result()


def forget() -> list[int]:
    """Forget all loops in a forked child, and give the descriptors of their drivers."""
    global _background, _lock, _drivers
    descriptors = [each for driver in _drivers.values() for each in driver.descriptors()]
    _background, _lock, _drivers = None, threading.Lock(), weakref.WeakKeyDictionary()
    return descriptors
