"""An asyncio head with workers in Rust, whose source is `crates/comms/examples/diffusion_worker.rs`.

    python python/examples/rust_workers.py [PROGRAM]

PROGRAM is the worker, which cargo builds if none is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import workers

import mosaic_comms


def build() -> str:
    """Let cargo build the worker, and give its path."""
    workspace = Path(__file__).parents[2]
    command = "cargo build --release -p mosaic-comms --example diffusion_worker --message-format=json-render-diagnostics"
    built = subprocess.run(command.split(), cwd=workspace, stdout=subprocess.PIPE, check=True)
    messages = map(json.loads, built.stdout.splitlines())
    return next(str(message["executable"]) for message in messages if message.get("executable"))


@contextlib.asynccontextmanager
async def started(comms: mosaic_comms.CommsManager, program: str, count: int) -> AsyncIterator[list[str]]:
    """Start workers, and give their uids once they have joined. None is left when the block ends."""
    environment = {**os.environ, "MOSAIC_MONITOR_HOST": comms.address, "MOSAIC_MONITOR_PORT": str(comms.port)}
    processes = [subprocess.Popen([program, f"worker:{number}"], env=environment) for number in range(count)]
    try:
        yield await asyncio.wait_for(comms.wait_for_count("worker:*", count), workers.WITHIN)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            await asyncio.to_thread(process.wait)


async def main(program: str) -> None:
    """Be the head, and the monitor at which the workers join."""
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms, started(comms, program, 2) as uids:
        rods = [np.linspace(0.0, 1.0, 1001) ** power for power in (1, 2, 3)]
        proxies = [comms.proxy(uids[number % len(uids)]) for number in range(len(rods))]
        results = await asyncio.gather(*(w.diffuse(rod=rod, steps=1000) for w, rod in zip(proxies, rods)))
        for rod, result in zip(rods, results):
            print(f"a rod of {result.shape[0]} {result.dtype}: its middle went from {rod[500]:.4f} to {result[500]:.4f}")

        try:
            await proxies[0].diffuse(rod=np.zeros((2, 2)), steps=1)
        except mosaic_comms.RemoteError as error:
            print(f"refused: {error}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else build()))
