"""What the examples have in common: worker processes that join the head, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator, Callable
from multiprocessing.context import SpawnProcess
from typing import Any

import mosaic_comms

HERE = "127.0.0.1"
WITHIN = 60
"""Seconds that workers have to join: one that cannot start never does."""


@contextlib.asynccontextmanager
async def started(
    comms: mosaic_comms.CommsManager, runtime: Callable[[], Any], count: int = 1
) -> AsyncIterator[dict[str, SpawnProcess]]:
    """Start worker processes, and give them by their uids once they have joined. None is left when the block ends."""
    place, spawn = (comms.address, comms.port), multiprocessing.get_context("spawn")
    uids = [f"worker:{number}" for number in range(count)]
    processes = {uid: spawn.Process(target=_work, args=(uid, runtime, place), daemon=True) for uid in uids}
    for process in processes.values():
        process.start()
    try:
        await asyncio.wait_for(comms.wait_for_count("worker:*", count), WITHIN)
        yield processes
        for uid in comms.peers("worker:*"):
            await comms.send_async(uid, method="stop")
    except BaseException:
        for process in processes.values():
            process.kill()
        raise
    finally:
        for process in processes.values():
            await asyncio.to_thread(process.join)


def _work(uid: str, runtime: Callable[[], Any], monitor: tuple[str, int]) -> None:
    """Be a worker, in a process of its own."""
    asyncio.run(_serve(uid, runtime(), monitor))


async def _serve(uid: str, runtime: Any, monitor: tuple[str, int]) -> None:
    """Serve until somebody stops this runtime, which ends its events, or the monitor is gone."""
    async with mosaic_comms.start(uid, runtime, HERE, monitor=monitor) as comms:
        async for event in comms.events():
            if (event.kind, event.uid) == ("disconnected", "monitor"):
                break
