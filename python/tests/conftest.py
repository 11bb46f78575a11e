"""What the tests of several files share: networks in this process, and workers in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import mosaic_comms

HERE = "127.0.0.1"
WITHIN = 60
"""Seconds after which a test is given up that waits for something. Nothing is timed by it."""


@pytest.fixture(scope="session", autouse=True)
def credential(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All runtimes of the tests belong to one job, which no home folder knows."""
    os.environ.setdefault("MOSAIC_KEY_FILE", str(tmp_path_factory.mktemp("job") / "job.key"))


@pytest.fixture(scope="session", autouse=True)
def sockets() -> Iterator[None]:
    """What killed processes had bound goes when all is over: of those that nobody knew, nobody else removes it."""
    yield
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime, "mosaic") if runtime else Path(f"/tmp/mosaic-{os.geteuid()}")
    for path in folder.glob("*.sock"):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Run a test on a loop of its own."""
    return asyncio.run(asyncio.wait_for(test, WITHIN))


@contextlib.asynccontextmanager
async def network(*runtimes: tuple[str, Any], **settings: Any) -> AsyncIterator[list[mosaic_comms.CommsManager]]:
    """Start a monitor and other runtimes, all in this process. The first one may be the monitor itself."""
    if not runtimes or runtimes[0][0] != "monitor":
        runtimes = (("monitor", None), *runtimes)
    managers: list[mosaic_comms.CommsManager] = []
    async with contextlib.AsyncExitStack() as stack:
        for uid, runtime in runtimes:
            place = (HERE, managers[0].port) if managers else None
            start = mosaic_comms.start(uid, runtime, HERE, monitor=place, **settings)
            managers.append(await stack.enter_async_context(start))
        for comms in managers:
            for uid, _ in runtimes:
                await comms.wait_for(uid)
        yield managers


class Process:
    """A worker in a process of its own, which ends with the test."""

    def __init__(self, uid: str, port: int, environment: dict[str, str]) -> None:
        program = Path(__file__).with_name("worker.py")
        line = [sys.executable, str(program), uid, HERE, str(port)]
        self.process = subprocess.Popen(line, env={**os.environ, **environment})

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def worker() -> Iterator[Callable[..., Process]]:
    """Start a worker process: its uid, the monitor's port, variables of its environment."""
    started: list[Process] = []

    def start(uid: str, port: int, **environment: str) -> Process:
        started.append(Process(uid, port, environment))
        return started[-1]

    yield start
    for process in started:
        process.end()
