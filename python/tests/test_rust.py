"""A runtime in Rust and one in Python call each other."""

from __future__ import annotations

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


def field_of(count: int) -> Any:
    return np.zeros(count)
