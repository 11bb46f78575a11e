"""Who is there, and who is not: whatever Python does meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import HERE, network, run

import mosaic_comms


def test_events_tell_who_comes_and_who_goes(worker: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            events = monitor.events()
            process = worker("worker:0", monitor.port)
            seen = []
            async for event in events:
                seen.append((event.kind, event.uid))
                if event.kind == "connected":
                    process.end()
                if event.kind == "disconnected":
                    assert "exit" in event.detail or "end" in event.detail
                    break
            assert seen == [("connected", "worker:0"), ("disconnected", "worker:0")]

    run(test())


def test_events_end_with_the_manager() -> None:
    async def test() -> None:
        comms = await mosaic_comms.start("monitor", address=HERE)
        events = comms.events()
        await comms.stop()
        assert [event async for event in events] == []

    run(test())


def test_a_runtime_whose_interpreter_is_held_is_alive(worker: Any) -> None:
    async def test() -> None:
        async with network(dead_after=1.0) as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            seen: list[Any] = []

            async def watch() -> None:
                async for event in monitor.events():
                    seen.append(event)

            watching = asyncio.ensure_future(watch())
            # Three times as long as silence may last, while nothing of Python runs there.
            held = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="hold", seconds=3.0))
            while not held.done():
                await monitor.ping("worker:0")
            await held
            assert await monitor.send_recv_async("worker:0", method="add", a=1, b=2) == 3
            assert not [event for event in seen if event.kind in ("disconnected", "unreachable")], seen
            watching.cancel()

    run(test())


def test_what_a_handler_sends_arrives_while_it_computes(worker: Any, tmp_path: Path) -> None:
    arrived, last = [], tmp_path / "last"

    class Head:
        def note(self, sender: str, number: int) -> None:
            arrived.append(number)
            if number == 99:
                last.touch()

    async def test() -> None:
        async with network(("monitor", Head())) as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            await monitor.send_recv_async("worker:0", method="send_and_compute", path=str(last))
            assert arrived == list(range(100))

    run(test())


def test_a_manager_whose_loop_has_ended_does_not_wait_for_it_to_stop() -> None:
    async def begin() -> list[mosaic_comms.CommsManager]:
        monitor = await mosaic_comms.start("monitor", address=HERE, drain_within=1000.0)
        place = monitor.address, monitor.port
        comms = await mosaic_comms.start("worker:0", address=HERE, monitor=place, drain_within=1000.0)
        await monitor.wait_for("worker:0")
        with pytest.raises(mosaic_comms.RemoteError):
            await comms.send_recv_async("monitor", method="absent")
        return [monitor, comms]

    for comms in run(begin()):
        run(comms.stop())


def test_a_child_that_leaves_the_handler_that_forked_it_answers_nothing(worker: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            proxy = monitor.proxy("worker:0")
            for how, status in [("raise", 7), ("return", 8)] * 2:
                # They come while it computes, and so in one turn: what is before and behind is the parent's, once.
                before = [proxy.hold(seconds=0.05), *(proxy.note(value=how) for _ in range(3))]
                behind = [proxy.note(value=how) for _ in range(3)]
                *_, left, _, _, _ = await asyncio.gather(*before, proxy.fork_and_leave(how=how), *behind)
                assert left == status
            assert await proxy.noted() == (["raise"] * 6 + ["return"] * 6) * 2

    run(test())


def test_the_end_of_a_worker_is_seen_although_its_child_lives(worker: Any, record_property: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            process = worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            child = await monitor.send_recv_async("worker:0", method="fork")
            try:
                events = monitor.events()
                killed = time.perf_counter()
                os.kill(process.pid, signal.SIGKILL)
                event = await events.__anext__()
                record_property("seen_after_seconds", time.perf_counter() - killed)
                assert (event.kind, event.uid) == ("disconnected", "worker:0")
                # It is the end of the process that was seen, not its silence.
                assert "silent" not in event.detail, event.detail
                os.kill(child, 0)
            finally:
                os.kill(child, signal.SIGKILL)

    run(test())
