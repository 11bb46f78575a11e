"""Two processes: a head gives a worker a field, lets it compute, and gets the result.

    python python/examples/arrays.py

Arrays travel as they lie in memory, without being copied on the way. What arrives belongs to the receiver.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import workers

import mosaic_comms


class Worker:
    """Holds a field between calls. Each of its methods may be called from elsewhere."""

    def __init__(self) -> None:
        self.field: Any = None

    def load(self, sender: str, field: Any) -> None:
        """Take a field: from now on it is this process's own, and may be changed."""
        self.field = field

    def diffuse(self, sender: str, steps: int) -> float:
        """Let each point become the mean of its four neighbours, and give the warmest one."""
        for _ in range(steps):
            self.field = sum(np.roll(self.field, shift, axis) for axis in (0, 1) for shift in (-1, 1)) / 4
        return float(self.field.max())

    def result(self, sender: str) -> Any:
        """Give the field."""
        return self.field


async def main() -> None:
    """Be the head, and the monitor at which the worker joins."""
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms, workers.started(comms, Worker):
        worker = comms.proxy("worker:0")

        field = np.zeros((512, 512))
        field[256, 256] = 1000.0
        await worker.load(field=field)
        for _ in range(3):
            print(f"the warmest point has {await worker.diffuse(steps=10):.2f}")

        result = await worker.result()
        print(f"a field of {result.shape} and {result.dtype} came back, its sum is {result.sum():.1f}")


if __name__ == "__main__":
    asyncio.run(main())
