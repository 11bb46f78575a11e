"""The programs in `examples/` do what they say, and leave no process behind however they end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WITHIN

PACKAGE = Path(__file__).parents[1]
EXAMPLES = PACKAGE / "examples"


def run(example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end. Its output ends when none of its processes is left."""
    line = [sys.executable, "-W", "error", str(EXAMPLES / example), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stderr
    return done


def test_arrays_are_computed_with_in_another_process() -> None:
    assert run("arrays.py").stdout.splitlines() == [
        "the warmest point has 60.56",
        "the warmest point has 31.05",
        "the warmest point has 20.87",
        "a field of (512, 512) and float64 came back, its sum is 1000.0",
    ]


def test_a_failing_call_shows_the_traceback_of_the_worker() -> None:
    done = run("failing.py")
    assert done.stdout.splitlines()[0] == "through water: 135 us"
    assert "did you mean `travel_time`?" in done.stdout
    assert "unknown peer: there is no runtime `worker:1`, did you mean `worker:0`?" in done.stdout
    remote, _, local = done.stderr.partition("The above exception was the direct cause of the following exception")
    assert "in _velocity" in remote and "ValueError: nobody has measured `cheese`" in remote
    assert "in main" in local and "ValueError: nobody has measured `cheese` (ValueError in `travel_time` of worker:0)" in local


def test_events_tell_who_comes_and_goes() -> None:
    told = run("events.py").stdout.splitlines()
    connected, others = told[:2], told[2:]
    assert {line.split(":")[1] for line in connected} == {"0", "1"}
    assert all(line.startswith("connected worker") for line in connected)
    assert others[0] == "disconnected worker:0: it left: stopped"
    assert any(line.startswith("disconnected worker:1: its process ended") for line in others[1:])
    assert any(line.startswith("the call ended: worker:1 is disconnected") for line in others[1:])


@pytest.mark.parametrize("arguments", [["--workers", "3"], ["--workers", "2", "--kill-one"]])
def test_a_map_is_computed_by_the_workers_that_are_there(arguments: list[str]) -> None:
    told = run("map_over_workers.py", *arguments).stdout
    assert "78498 primes below 1000000, counted in 20 tasks" in told
    assert sum(int(count) for count in re.findall(r"did (\d+)", told)) == 20
    assert ("--kill-one" in arguments) is ("worker:0" not in told)


def rust_worker() -> str:
    """The worker in Rust, as `cargo build --examples` leaves it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", PACKAGE.parent / "target"))
    program = target / "debug/examples/diffusion_worker"
    if not program.exists():
        pytest.skip("`cargo build --example diffusion_worker` makes the worker that it needs")
    return str(program)


def test_rust_workers_compute_for_a_python_head() -> None:
    assert run("rust_workers.py", rust_worker()).stdout.splitlines() == [
        "a rod of 1001 float64: its middle went from 0.5000 to 0.5000",
        "a rod of 1001 float64: its middle went from 0.2500 to 0.2510",
        "a rod of 1001 float64: its middle went from 0.1250 to 0.1265",
        "refused: a rod has one axis, not 2 (shape in `diffuse` of worker:0)",
    ]


HEAD = """
import asyncio, sys
sys.path.insert(0, {examples!r})
import mosaic_comms, workers, rust_workers
from arrays import Worker

async def main():
    async with mosaic_comms.start("monitor", address=workers.HERE) as comms, {start}:
        print("started", flush=True)
        {then}

asyncio.run(main())
"""

STARTS = ["workers.started(comms, Worker, 2)", "rust_workers.started(comms, {program!r}, 2)"]


def begin(start: str, then: str) -> subprocess.Popen[str]:
    """Run a head until its workers have joined."""
    start = start.format(program=rust_worker()) if "{program" in start else start
    program = HEAD.format(examples=str(EXAMPLES), start=start, then=then)
    head = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert head.stdout is not None
    assert head.stdout.readline() == "started\n"
    return head


@pytest.mark.parametrize("start", STARTS)
def test_workers_end_when_the_head_fails(start: str) -> None:
    head = begin(start, "raise ValueError('the head failed')")
    _, errors = head.communicate(timeout=WITHIN)
    assert head.returncode == 1 and "ValueError: the head failed" in errors


@pytest.mark.parametrize("start", STARTS)
def test_workers_end_when_the_head_is_killed(start: str) -> None:
    head = begin(start, "await asyncio.Event().wait()")
    head.kill()
    # The workers have it open too: it ends when they have ended.
    head.communicate(timeout=WITHIN)
