"""A worker process for the tests: its uid, the monitor's host and port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

import numpy as np

import mosaic_comms


class Trouble(ValueError):
    """An error that only this program knows."""


class Worker:
    """What the tests call."""

    def __init__(self) -> None:
        self.field = np.zeros(100_000)
        self.seen: list[Any] = []
        self.comms: mosaic_comms.CommsManager | None = None
        self.process = os.getpid()

    def add(self, sender: str, a: float, b: float) -> float:
        return a + b

    def echo(self, sender: str, **kwargs: Any) -> Any:
        return kwargs["value"] if list(kwargs) == ["value"] else kwargs

    async def scale(self, sender: str, field: Any, factor: float) -> Any:
        await asyncio.to_thread(int)
        return field * factor

    def live(self, sender: str) -> Any:
        return self.field

    def fill(self, sender: str, value: float) -> None:
        self.field[:] = value

    def described(self, sender: str, value: Any) -> dict[str, Any]:
        flags = value.flags
        return {
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "writeable": flags.writeable,
            "aligned": value.ctypes.data % 64 == 0,
            "fortran": flags.f_contiguous,
        }

    def fail(self, sender: str, name: str) -> None:
        raise {"value": ValueError, "key": KeyError, "trouble": Trouble}[name]("it broke")

    def note(self, sender: str, value: Any) -> None:
        if os.getpid() != self.process:
            os._exit(9)
        self.seen.append(value)

    def noted(self, sender: str) -> list[Any]:
        return self.seen

    def pid(self, sender: str) -> int:
        return os.getpid()

    def hold(self, sender: str, seconds: float) -> None:
        """Hold the interpreter's lock: nothing else of Python runs in this process meanwhile."""
        sys.setswitchinterval(3600)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    def send_and_compute(self, sender: str, path: str) -> None:
        """Send messages, and leave the loop no turn until the last has arrived: whoever gets it makes a file."""
        assert self.comms is not None
        for number in range(100):
            self.comms.send(sender, method="note", number=number)
        while not os.path.exists(path):
            pass

    def fork(self, sender: str) -> int:
        """Fork a child that does nothing and outlives us unless somebody ends it."""
        child = os.fork()
        if child == 0:
            _doze()
        return child

    def fork_and_leave(self, sender: str, how: str) -> int:
        """Fork a child that leaves this handler as well, and tell how it ended."""
        child = os.fork()
        if child == 0:
            if how == "raise":
                raise SystemExit(7)
            # It goes on with the loop for a moment, as if it were its own.
            signal.signal(signal.SIGALRM, lambda *_: os._exit(8))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return -1
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    async def forever(self, sender: str) -> None:
        await asyncio.Event().wait()


def _doze() -> None:
    signal.alarm(60)
    while True:
        signal.pause()


async def main(uid: str, host: str, port: str) -> None:
    runtime = Worker()
    runtime.comms = await mosaic_comms.start(uid, runtime, host, monitor=(host, int(port)))
    await runtime.comms


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
