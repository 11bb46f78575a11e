"""Calls that fail: the caller gets the original exception, with the traceback as it was in the worker.

    python python/examples/failing.py
"""

from __future__ import annotations

import asyncio
import traceback

import workers

import mosaic_comms


class Worker:
    """Keeps velocities of materials, in m/s."""

    velocities = {"water": 1480.0, "bone": 3500.0}

    def travel_time(self, sender: str, material: str, distance: float) -> float:
        """Give the seconds that sound needs for a distance in metres."""
        return distance / self._velocity(material)

    def _velocity(self, material: str) -> float:
        try:
            return self.velocities[material]
        except KeyError:
            raise ValueError(f"nobody has measured `{material}`") from None


async def main() -> None:
    """Be the head, and the monitor at which the worker joins."""
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms, workers.started(comms, Worker):
        worker = comms.proxy("worker:0")
        print(f"through water: {await worker.travel_time(material='water', distance=0.2) * 1e6:.0f} us")

        try:
            await worker.travel_time(material="cheese", distance=0.2)
        except ValueError as error:  # It is the worker's ValueError, and a mosaic_comms.RemoteError as well.
            traceback.print_exception(error)

        try:
            await worker.travel_tim(material="water", distance=0.2)
        except mosaic_comms.UnknownMethodError as error:
            print(f"unknown method: {error}")

        try:
            await comms.proxy("worker:1").travel_time(material="water", distance=0.2)
        except mosaic_comms.UnknownPeerError as error:
            print(f"unknown peer: {error}")


if __name__ == "__main__":
    asyncio.run(main())
