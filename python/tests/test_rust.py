"""A runtime in Rust and one in Python call each other."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, network, run

import mosaic_comms

EXAMPLES = Path(__file__).parents[2] / "target" / "debug" / "examples"
PROGRAM = Path(os.environ.get("MOSAIC_TEST_EXAMPLES", EXAMPLES)) / "rust_worker"
COMMAND = PROGRAM.parents[1] / "mosaic"


@pytest.fixture
def rust_worker() -> Iterator[Any]:
    if not PROGRAM.exists():
        pytest.fail(f"{PROGRAM} is not there: cargo build --examples")
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> None:
        started.append(subprocess.Popen([PROGRAM, "worker:0", HERE, str(port)]))

    yield start
    for process in started:
        process.kill()
        process.wait()


class Head:
    """Is called by the worker."""

    async def sum(self, sender: str, field: Any) -> float:
        return float(field.sum())


def test_python_calls_rust_and_rust_calls_python(rust_worker: Any) -> None:
    async def test() -> None:
        async with network(("monitor", Head())) as [monitor]:
            rust_worker(monitor.port)
            await monitor.wait_for("worker:0")
            worker = monitor.proxy("worker:0")
            field = np.arange(1_000_000, dtype="f4")
            assert np.array_equal(await worker.scale(field=field, factor=2.0), field * 2)
            assert np.array_equal(await worker.scale(field=field[:10]), field[:10])
            assert await worker.mean(field=np.array([1.0, 2.0])) == 1.5
            assert await worker.sum_at_yours(field=np.ones(100_000)) == 100_000

    run(test())


def test_an_error_of_rust_is_a_remote_error(rust_worker: Any) -> None:
    async def test() -> None:
        async with network(("monitor", Head())) as [monitor]:
            rust_worker(monitor.port)
            await monitor.wait_for("worker:0")
            worker = monitor.proxy("worker:0")
            with pytest.raises(mosaic_comms.RemoteError, match="the field is empty"):
                await worker.mean(field=np.empty(0))
            with pytest.raises(mosaic_comms.RemoteError, match="argument `field`: expected .* found"):
                await worker.mean(field="no field")
            with pytest.raises(mosaic_comms.UnknownMethodError, match="only `scale`, `mean`"):
                await worker.median(field=field_of(1))
            mosaic_comms.allow_pickle()
            try:
                with pytest.raises(mosaic_comms.RemoteError, match="`field`.*pickle"):
                    await worker.mean(field={1, 2})
            finally:
                mosaic_comms.allow_pickle(False)

    run(test())


class Solver:
    """Has methods of all kinds."""

    def scale(self, sender: str, field: Any, factor: float = 1.0, *, name: str = "none") -> Any:
        """Scale a field.

        In place.
        """

    async def solve(self, sender: str, **settings: Any) -> None: ...

    @staticmethod
    def steps(sender: str) -> int:
        return 100

    @property
    def broken(self) -> Any:
        raise AssertionError("nobody has asked for it")

    def _own(self, sender: str) -> None: ...


def test_the_command_tells_the_methods_of_a_python_runtime() -> None:
    if not COMMAND.exists():
        pytest.fail(f"{COMMAND} is not there: cargo build -p mosaic-cli")

    async def test() -> str:
        async with network(("monitor", Solver())) as [monitor]:
            line = [str(COMMAND), "methods", "monitor", "--monitor", f"{HERE}:{monitor.port}"]
            asked = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=True)
            return asked.stdout

    assert run(test()).splitlines() == [
        "scale(field, factor = 1.0, name = 'none')",
        "    Scale a field.",
        "",
        "    In place.",
        "",
        "solve(..)",
        "",
        "steps()",
    ]


def field_of(count: int) -> Any:
    return np.zeros(count)
