"""Who comes and goes: two workers join, one is stopped, the other is killed, and the head hears of each.

    python python/examples/events.py
"""

from __future__ import annotations

import asyncio

import workers

import mosaic_comms


class Worker:
    """Has nothing to do but to be there."""

    async def forever(self, sender: str) -> None:
        """Begin something that has no end."""
        await asyncio.get_running_loop().create_future()


async def tell(events: mosaic_comms.Events, until: int) -> None:
    """Print what happens, until so many are gone."""
    async for event in events:
        print(f"{event.kind} {event.uid}: {event.detail}", flush=True)
        until -= event.kind == "disconnected"
        if until == 0:
            break


async def main() -> None:
    """Be the head, and the monitor at which the workers join."""
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms:
        telling = asyncio.create_task(tell(comms.events(), until=2))
        async with workers.started(comms, Worker, count=2) as processes:
            await comms.send_async("worker:0", method="stop")
            await asyncio.to_thread(processes["worker:0"].join)

            # A call to somebody who dies ends as well.
            call = asyncio.create_task(comms.proxy("worker:1").forever())
            processes["worker:1"].kill()
            try:
                await call
            except mosaic_comms.DisconnectedError as error:
                print(f"the call ended: {error}", flush=True)
            await telling


if __name__ == "__main__":
    asyncio.run(main())
