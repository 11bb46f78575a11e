"""This library's Python package with everything on, a runtime in each of two processes, joined by a Unix socket.

The variant is the loop of both: `asyncio` or `uvloop`.
"""

import asyncio
import time

import numpy

import mosaic_comms
from measuring import Server, main

HERE, WORKER = "127.0.0.1", "worker"


class Worker:
    """What the serving process does."""

    def echo(self, sender, value):
        return value

    def take(self, sender, value):
        return value.nbytes

    def note(self, sender, value):
        pass


def run(work, loop):
    """Runs a coroutine on a loop of this kind."""
    if loop == "uvloop":
        import uvloop

        return uvloop.run(work)
    return asyncio.run(work)


def serve(port, loop):
    async def work():
        await (await mosaic_comms.start(WORKER, Worker(), HERE, monitor=(HERE, int(port))))

    run(work(), loop)


def measure(sheet, loop):
    async def work():
        async with mosaic_comms.start("monitor", address=HERE) as comms:
            with Server(str(comms.port), loop):
                await comms.wait_for(WORKER)
                await figures(comms, sheet)

    run(work(), loop)


async def figures(comms, sheet):
    for figure, size in [("64", 64), ("1k", 1 << 10), ("64k", 64 << 10)]:
        payload = bytes(size)
        times = await sheet.times_async(lambda: comms.send_recv_async(WORKER, "echo", value=payload))
        sheet.write_times(f"round-trip-{figure}", times)
    await outstanding(comms, sheet)
    await one_way(comms, sheet)
    for figure, size in [("array-1m", 1 << 20), ("array-64m", 64 << 20)]:
        array = numpy.ones(size // 8)
        times = sorted(await sheet.times_async(lambda: comms.send_recv_async(WORKER, "take", value=array)))
        sheet.write(figure, size / times[len(times) // 2])


async def outstanding(comms, sheet):
    payload, counts = bytes(64), [0] * 64
    begun = time.perf_counter()

    async def caller(number):
        while time.perf_counter() - begun < sheet.span:
            await comms.send_recv_async(WORKER, "echo", value=payload)
            counts[number] += 1

    await asyncio.gather(*map(caller, range(64)))
    sheet.write("outstanding-64", sum(counts) / (time.perf_counter() - begun))


async def one_way(comms, sheet):
    payload = bytes(64)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < sheet.span:
        for _ in range(1000):
            await comms.send_async(WORKER, "note", value=payload)
        count += 1000
    await comms.send_recv_async(WORKER, "echo", value=payload)
    sheet.write("one-way-64", count / (time.perf_counter() - begun))


main(serve, measure)
