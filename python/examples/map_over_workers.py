"""A map over worker processes: each takes the next task as soon as it has none, so quick workers do more of them.

    python python/examples/map_over_workers.py [--workers N] [--kill-one]

A task whose worker is lost goes to another one; `--kill-one` shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
from collections.abc import Iterable
from typing import Any

import numpy as np
import workers

import mosaic_comms


class Worker:
    """What is mapped."""

    def primes(self, sender: str, start: int, stop: int) -> int:
        """Count the primes of a range."""
        numbers = np.arange(max(start, 2), stop)
        for divisor in range(2, int(stop**0.5) + 1):
            numbers = numbers[(numbers % divisor != 0) | (numbers == divisor)]
        return len(numbers)


class Pool:
    """The workers that are there, those of them that have nothing to do, and how many tasks each has done."""

    def __init__(self, comms: mosaic_comms.CommsManager, uids: Iterable[str]) -> None:
        self.comms = comms
        self.there = set(uids)
        self.idle: asyncio.Queue[str] = asyncio.Queue()
        self.done = collections.Counter[str]()
        for uid in self.there:
            self.idle.put_nowait(uid)

    async def map(self, method: str, tasks: Iterable[dict[str, Any]]) -> list[Any]:
        """Call a method with the arguments of each task, and give the results in their order."""
        return await asyncio.gather(*(self._run(method, task) for task in tasks))

    async def _run(self, method: str, task: dict[str, Any]) -> Any:
        while self.there:
            uid = await self.idle.get()
            try:
                result = await self.comms.send_recv_async(uid, method, **task)
            except (mosaic_comms.DisconnectedError, mosaic_comms.UnknownPeerError):
                self.there.discard(uid)
                continue
            self.done[uid] += 1
            self.idle.put_nowait(uid)
            return result
        raise RuntimeError("all workers are lost")


async def main(count: int, kill_one: bool) -> None:
    """Be the head, and the monitor at which the workers join."""
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms:
        async with workers.started(comms, Worker, count) as processes:
            pool, edges = Pool(comms, processes), range(0, 1_000_001, 50_000)
            mapping = pool.map("primes", ({"start": edge, "stop": edge + edges.step} for edge in edges[:-1]))
            if kill_one:
                asyncio.get_running_loop().call_soon(processes["worker:0"].kill)
            counts = await mapping
            print(f"{sum(counts)} primes below {edges[-1]}, counted in {len(counts)} tasks")
            print(", ".join(f"{uid} did {tasks}" for uid, tasks in sorted(pool.done.items())))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Counts primes by worker processes.")
    parser.add_argument("--workers", type=int, default=3, metavar="N")
    parser.add_argument("--kill-one", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.workers, arguments.kill_one))
