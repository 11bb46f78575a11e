"""What goes wrong, and how it is told."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from conftest import HERE, WITHIN, network, run

import mosaic_comms


class Fails:
    """Fails in every way."""

    def value(self, sender: str) -> None:
        raise ValueError("it broke")

    def key(self, sender: str) -> None:
        raise KeyError("missing")

    def caused(self, sender: str) -> None:
        try:
            self.value(sender)
        except ValueError as failure:
            raise RuntimeError("and so did this") from failure

    def own(self, sender: str) -> None:
        raise OwnError("mine", 7)

    def unsendable(self, sender: str) -> Any:
        return {"here": object()}

    async def slow(self, sender: str) -> None:
        await asyncio.Event().wait()

    def _hidden(self, sender: str) -> None:
        return None


class OwnError(Exception):
    """An error that takes two arguments."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name} {number}")


async def failure_of(monitor: mosaic_comms.CommsManager, method: str, **kwargs: Any) -> mosaic_comms.RemoteError:
    with pytest.raises(mosaic_comms.RemoteError) as raised:
        await monitor.send_recv_async("worker:0", method, **kwargs)
    return raised.value


def test_an_error_is_of_the_original_class_and_has_the_remote_traceback() -> None:
    async def test() -> None:
        async with network(("worker:0", Fails())) as [monitor, _]:
            failure = await failure_of(monitor, "value")
            assert isinstance(failure, ValueError) and failure.kind == "ValueError" and failure.peer == "worker:0"
            assert "it broke" in str(failure) and failure.execution == "ran" and failure.method == "value"
            assert failure.traceback is not None and 'raise ValueError("it broke")' in failure.traceback
            assert 'raise ValueError("it broke")' in str(failure.__cause__)
            assert isinstance(await failure_of(monitor, "key"), KeyError)
            caused = await failure_of(monitor, "caused")
            assert isinstance(caused, RuntimeError) and caused.causes == ["ValueError: it broke"]
            assert isinstance(await failure_of(monitor, "own"), OwnError)

    run(test())


def test_an_error_of_another_process_is_of_a_class_that_is_known_here(worker: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            assert isinstance(await failure_of(monitor, "fail", name="value"), ValueError)
            unknown = await failure_of(monitor, "fail", name="trouble")
            assert type(unknown) is mosaic_comms.RemoteError and unknown.kind.endswith("Trouble")

    run(test())


def test_an_unknown_method_is_an_error_that_says_what_there_is() -> None:
    async def test() -> None:
        async with network(("worker:0", Fails())) as [monitor, _]:
            failure = await failure_of(monitor, "valu")
            assert isinstance(failure, mosaic_comms.UnknownMethodError) and "did you mean `value`" in str(failure)
            assert failure.execution != "may-have-run"
            assert "did you mean" not in str(await failure_of(monitor, "_hidden"))

    run(test())


def test_arguments_that_do_not_fit_are_a_type_error() -> None:
    async def test() -> None:
        async with network(("worker:0", Fails())) as [monitor, _]:
            assert isinstance(await failure_of(monitor, "value", x=1), TypeError)

    run(test())


def test_a_result_that_does_not_travel_is_an_error_at_the_caller() -> None:
    async def test() -> None:
        async with network(("worker:0", Fails())) as [monitor, _]:
            failure = await failure_of(monitor, "unsendable")
            assert "the result is of type `object`" in str(failure) and isinstance(failure, TypeError)

    run(test())


def test_a_deadline_ends_a_call() -> None:
    async def test() -> None:
        async with network(("worker:0", Fails())) as [monitor, _]:
            with pytest.raises(TimeoutError) as raised:
                await monitor.options(timeout=0.05).send_recv_async("worker:0", method="slow")
            assert isinstance(raised.value, mosaic_comms.TimeoutError) and raised.value.peer == "worker:0"

    run(test())


def test_a_peer_that_is_killed_ends_calls_to_it(worker: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            process = worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="forever"))
            await monitor.send_recv_async("worker:0", method="pid")
            process.end()
            with pytest.raises(mosaic_comms.DisconnectedError) as raised:
                await call
            assert isinstance(raised.value, ConnectionError) and raised.value.execution == "may-have-run"

    run(test())


def test_a_failing_block_is_told_to_somebody_by_send_exception() -> None:
    class Told:
        def __init__(self) -> None:
            self.told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def raise_exception(self, sender: str, exc: Any) -> None:
            self.told.set_result((sender, exc))

    async def test() -> None:
        told = Told()
        async with network(("monitor", told), ("worker:0", None)) as [_, worker]:
            with worker.send_exception("monitor"):
                raise ValueError("in a block")
            sender, (kind, value, _) = await told.told
            assert sender == "worker:0" and issubclass(kind, ValueError) and "in a block" in str(value)

    run(test())


def test_the_callers_cancellation_reaches_the_handler() -> None:
    class Slow:
        def __init__(self) -> None:
            self.begun = asyncio.Event()
            self.ended = asyncio.Event()

        async def slow(self, sender: str) -> None:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended.set()

    async def test() -> None:
        slow = Slow()
        async with network(("worker:0", slow)) as [monitor, _]:
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="slow"))
            await slow.begun.wait()
            call.cancel()
            await slow.ended.wait()

    run(test())


def test_an_interrupt_ends_a_blocking_call(worker: Any) -> None:
    program = f"""
        import asyncio, signal, sys, mosaic_comms
        # Whoever runs the tests in the background may have had it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        comms = mosaic_comms.init("monitor", {HERE!r})
        print(comms.port, flush=True)
        sys.stdin.readline()
        asyncio.run_coroutine_threadsafe(comms.wait_for("worker:0"), mosaic_comms.get_event_loop()).result()
        try:
            print("waiting", flush=True)
            comms.send_recv("worker:0", method="forever")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    line = [sys.executable, "-c", textwrap.dedent(program)]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        worker("worker:0", int(process.stdout.readline()))
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(WITHIN) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
