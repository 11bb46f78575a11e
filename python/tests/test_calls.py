"""Calls and messages between processes, and within one."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from conftest import HERE, WITHIN, network, run

import mosaic_comms


class Counter:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.noted: list[Any] = []

    def note(self, sender: str, **kwargs: Any) -> None:
        self.noted.append((sender, kwargs))

    async def slow(self, sender: str, value: int) -> int:
        await asyncio.to_thread(int)
        return value

    def add(self, sender: str, a: float, b: float) -> float:
        return a + b


PLAIN = [
    None,
    True,
    -1,
    2**63,
    -(2**63),
    1.5,
    "täxt",
    b"bytes",
    b"x" * 100_000,
    [1, [2, "three"], {}],
    {"a": {"b": [None]}, 1: "one", None: "none"},
]


def test_a_call_returns_its_result_between_processes(worker: Any) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            assert await monitor.send_recv_async("worker:0", method="add", a=1, b=2.5) == 3.5
            for value in PLAIN:
                assert await monitor.send_recv_async("worker:0", method="echo", value=value) == value

    run(test())


def test_synchronous_calls_work_from_a_thread_and_from_a_script_without_a_loop(worker: Any) -> None:
    monitor = mosaic_comms.CommsManager(mosaic_comms._start.Plain("monitor"), HERE)
    monitor.connect_recv()
    ended = monitor.listen()
    worker("worker:0", monitor.port)
    loop = mosaic_comms.get_event_loop()
    asyncio.run_coroutine_threadsafe(monitor.wait_for("worker:0"), loop).result(60)
    assert monitor.send_recv("worker:0", method="add", a=1, b=2) == 3
    monitor.send("worker:0", method="note", value=7)
    assert monitor.send_recv("worker:0", method="noted") == [7]
    asyncio.run_coroutine_threadsafe(monitor.stop(), loop).result(60)
    ended.result(60)
    monitor.wait()


def test_a_synchronous_call_on_the_loops_own_thread_raises() -> None:
    async def test() -> None:
        async with network(("worker:0", Counter())) as [monitor, _]:
            with pytest.raises(RuntimeError, match="send_recv_async"):
                monitor.send_recv("worker:0", method="add", a=1, b=2)
            with pytest.raises(RuntimeError, match="wait_async|wait"):
                monitor.wait()
            # One-way messages never wait.
            monitor.send("worker:0", method="note", a=1)
            assert await asyncio.to_thread(monitor.send_recv, "worker:0", method="add", a=1, b=2) == 3

    run(test())


def test_messages_of_one_sender_are_handled_in_order() -> None:
    async def test() -> None:
        counter = Counter()
        async with network(("worker:0", counter)) as [monitor, _]:
            for number in range(500):
                monitor.send("worker:0", method="note", number=number)
            await monitor.send_recv_async("worker:0", method="slow", value=0)
        assert [kwargs["number"] for _, kwargs in counter.noted] == list(range(500))

    run(test())


class Turns:
    """Notes in which order its handlers begin: one is a coroutine function, the other is not."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    async def awaited(self, sender: str, number: int) -> None:
        self.begun.append(number)
        await asyncio.to_thread(int)

    def plain(self, sender: str, number: int) -> None:
        self.begun.append(number)


@pytest.mark.parametrize("uid", ["worker:0", "monitor"])
def test_plain_handlers_do_not_overtake_coroutine_functions_that_came_before(uid: str) -> None:
    async def test() -> None:
        turns = Turns()
        async with network(("monitor", turns), ("worker:0", turns)) as [monitor, _]:
            for number in range(300):
                monitor.send(uid, method="plain" if number % 3 else "awaited", number=number)
            await monitor.send_recv_async(uid, method="awaited", number=300)
        assert turns.begun == list(range(301))

    run(test())


class Leaver:
    """Ends the program."""

    def leave(self, sender: str) -> None:
        raise SystemExit(3)


def test_a_plain_handler_may_end_the_program() -> None:
    async def test() -> None:
        async with network(("worker:0", Leaver())) as [monitor, _]:
            with contextlib.suppress(mosaic_comms.RemoteError):
                await monitor.send_recv_async("worker:0", method="leave")
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as raised:
        run(test())
    assert raised.value.code == 3


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Repeated:
    """Plain methods, which are called in another way from the second time on."""

    def echo(self, sender: str, value: Any) -> Any:
        return sender, value

    def without(self, sender: str) -> str:
        return sender

    def set_variable(self, sender: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set("set")
        return before

    def fail(self, sender: str, index: int) -> Any:
        return [][index]

    def give_what_cannot_travel(self, sender: str) -> Any:
        return Repeated()

    def wrong(self, sender: str, known: int) -> None:
        pass

    def coroutine(self, sender: str) -> Any:
        async def work() -> None:
            pass

        self.left = work()
        return self.left

    def end_the_program(self, sender: str, code: int) -> None:
        if code:
            raise SystemExit(code)


def test_a_plain_method_is_served_alike_the_first_time_and_later() -> None:
    async def test() -> None:
        runtime = Repeated()
        async with network(("worker:0", runtime)) as [monitor, _]:
            proxy = monitor.proxy("worker:0")
            for _ in range(3):
                assert await proxy.echo(value=[1, {"two": b"3"}]) == ["monitor", [1, {"two": b"3"}]]
                assert await proxy.without() == "monitor"
                assert await proxy.set_variable() == "unset"
                with pytest.raises(IndexError, match="out of range") as failed:
                    await proxy.fail(index=4)
                assert isinstance(failed.value, mosaic_comms.RemoteError)
                assert "return [][index]" in str(failed.value.traceback)
                with pytest.raises(TypeError, match="Repeated"):
                    await proxy.give_what_cannot_travel()
                with pytest.raises(TypeError, match="unknown"):
                    await proxy.wrong(unknown=1)
                assert await proxy.coroutine() is None
                runtime.left.close()
            await proxy.end_the_program(code=0)
            with contextlib.suppress(mosaic_comms.RemoteError):
                await proxy.end_the_program(code=5)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as raised:
        run(test())
    assert raised.value.code == 5


class Leaving:
    """A plain method that raises what is no `Exception`."""

    def __init__(self) -> None:
        self.noted: list[int] = []

    def cancel(self, sender: str) -> None:
        raise asyncio.CancelledError

    def stop_iterating(self, sender: str) -> None:
        next(iter(()))

    def note(self, sender: str, number: int) -> None:
        self.noted.append(number)


def test_a_plain_handler_that_is_cancelled_ends_nothing_but_its_call() -> None:
    async def test() -> None:
        runtime = Leaving()
        async with network(("worker:0", runtime)) as [monitor, comms]:
            for number in range(3):
                monitor.send("worker:0", "note", number=number)
                with pytest.raises(mosaic_comms.CommsError, match="was cancelled"):
                    await monitor.send_recv_async("worker:0", "cancel")
                with pytest.raises(asyncio.CancelledError):
                    await comms.send_recv_async("worker:0", "cancel")
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await comms.send_recv_async("worker:0", "stop_iterating")
            assert runtime.noted == [0, 1, 2]

    run(test())


def test_what_was_kept_is_dispatched_in_order_whatever_a_handler_raises() -> None:
    async def test() -> None:
        runtime = Leaving()
        async with network() as [monitor]:
            comms = mosaic_comms.CommsManager(runtime, HERE, uid="worker:0")
            comms.connect_recv()
            await comms.handshake("monitor", HERE, monitor.port)
            await monitor.wait_for("worker:0")
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", "cancel"))
            await comms.process_msg(*await comms.recv_async())
            with pytest.raises(mosaic_comms.CommsError, match="was cancelled"):
                await call
            monitor.send("worker:0", "note", number=0)
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", "cancel"))
            await asyncio.to_thread(int)
            monitor.send("worker:0", "note", number=1)
            await comms.process_msg(*await comms.recv_async())
            await asyncio.to_thread(int)
            comms.listen()
            with pytest.raises(mosaic_comms.CommsError, match="was cancelled"):
                await call
            await monitor.send_recv_async("worker:0", "note", number=2)
            assert runtime.noted == [0, 1, 2]
            await comms.stop()

    run(test())


class Stuck(Counter):
    """Never answers, and notes that its caller has given up."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.given_up = threading.Event(), asyncio.Event()

    def fail(self, sender: str) -> None:
        raise ValueError("it broke")

    async def stuck(self, sender: str) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()


@pytest.mark.parametrize("tasks", ["of C", "of Python", "of C, while the loop debugs"])
def test_calls_end_alike_in_tasks_of_every_kind(tasks: str) -> None:
    async def calls(monitor: mosaic_comms.CommsManager, stuck: Stuck) -> None:
        for _ in range(2):
            assert await monitor.send_recv_async("worker:0", "add", a=1, b=2) == 3
            with pytest.raises(ValueError, match="it broke"):
                await monitor.send_recv_async("worker:0", "fail")
        waiting = asyncio.ensure_future(monitor.send_recv_async("worker:0", "stuck"))
        await asyncio.to_thread(stuck.begun.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await stuck.given_up.wait()
        with pytest.raises(mosaic_comms.TimeoutError):
            await monitor.options(timeout=0.001).send_recv_async("worker:0", "stuck")

    async def test() -> None:
        loop = asyncio.get_running_loop()
        if tasks == "of Python":
            loop.set_task_factory(lambda loop, coroutine, **how: asyncio.tasks._PyTask(coroutine, loop=loop, **how))
        loop.set_debug(tasks.endswith("debugs"))
        stuck = Stuck()
        async with network(("worker:0", stuck)) as [monitor, _]:
            await asyncio.create_task(calls(monitor, stuck))

    run(test())


def test_a_method_that_is_replaced_is_found_anew() -> None:
    async def test() -> None:
        runtime = Repeated()
        async with network(("worker:0", runtime)) as [monitor, _]:

            async def replaced(sender: str) -> str:
                return "awaited"

            for _ in range(2):
                assert await monitor.proxy("worker:0").without() == "monitor"
            runtime.without = replaced  # type: ignore[method-assign, assignment]
            assert await monitor.proxy("worker:0").without() == "awaited"
            del runtime.without
            assert await monitor.proxy("worker:0").without() == "monitor"

    run(test())


def test_arguments_may_have_more_names_than_are_kept_in_mind() -> None:
    async def test() -> None:
        counter = Counter()
        async with network(("worker:0", counter)) as [monitor, _]:
            names = {f"{'n' * (number % 90)}{number}": number for number in range(1500)}
            for _ in range(2):
                await monitor.send_recv_async("worker:0", "note", **names)
            assert counter.noted == [("monitor", names)] * 2

    run(test())


def test_many_calls_are_under_way_at_once() -> None:
    async def test() -> None:
        async with network(("worker:0", Counter())) as [monitor, _]:
            calls = [monitor.send_recv_async("worker:0", method="slow", value=value) for value in range(300)]
            assert await asyncio.gather(*calls) == list(range(300))

    run(test())


def test_a_proxy_calls_methods_and_options_are_not_among_the_keywords() -> None:
    async def test() -> None:
        counter = Counter()
        async with network(("worker:0", counter)) as [monitor, _]:
            assert await monitor.proxy("worker:0").add(a=1, b=2) == 3
            note = monitor.proxy("worker:0", timeout=60).note
            await note(timeout=1, express=2, reply=3)
            assert counter.noted == [("monitor", {"timeout": 1, "express": 2, "reply": 3})]

    run(test())


def test_a_reply_is_awaited_later() -> None:
    async def test() -> None:
        async with network(("worker:0", Counter())) as [monitor, _]:
            reply = await monitor.options(reply=True).send_async("worker:0", method="add", a=1, b=2)
            assert reply is not None
            assert await reply == 3
            assert await monitor.send_async("worker:0", method="add", a=1, b=2) is None

    run(test())


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    async def test() -> None:
        async with network(("worker:0", Counter())) as [monitor, _]:
            results: list[float] = []

            def calls() -> None:
                for number in range(50):
                    results.append(monitor.send_recv("worker:0", method="add", a=number, b=1) - number)

            threads = [threading.Thread(target=calls) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert results == [1] * 200

    run(test())


def test_a_loop_on_another_thread_calls_and_cancels_by_the_manager_of_this_one() -> None:
    async def test() -> None:
        waiter = Stuck()
        async with network(("worker:0", waiter)) as [monitor, _]:

            async def elsewhere() -> list[Any]:
                called = await monitor.send_recv_async("worker:0", method="add", a=1, b=2)
                slow = await monitor.send_recv_async("worker:0", method="slow", value=4)
                reply = await monitor.options(reply=True).send_async("worker:0", method="add", a=2, b=3)
                await monitor.send_async("worker:0", method="note", field=np.ones(100_000))
                waiting = asyncio.create_task(monitor.send_recv_async("worker:0", method="stuck"))
                await asyncio.to_thread(waiter.begun.wait)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                return [called, slow, await reply]

            assert await asyncio.to_thread(asyncio.run, elsewhere()) == [3, 4, 5]
            await waiter.given_up.wait()
            assert [sender for sender, _ in waiter.noted] == ["monitor"]

    run(test())


class Passer:
    """Passes a call on along a path of runtimes, and gives how far it came."""

    def __init__(self) -> None:
        self.comms: mosaic_comms.CommsManager | None = None
        self.waits, self.answered = asyncio.Event(), asyncio.Event()
        self.later: asyncio.Task[Any] | None = None
        self.heard: list[str] = []
        self.refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def pass_on(self, sender: str, path: list[str]) -> str:
        if not path:
            return sender
        assert self.comms is not None
        calls = self.comms.options(timeout=WITHIN)
        return str(await calls.send_recv_async(path[0], "pass_on", path=path[1:]))

    def pass_on_later(self, sender: str, path: list[str]) -> None:
        async def passing() -> str:
            await self.answered.wait()
            return await self.pass_on(sender, path)

        self.later = asyncio.create_task(passing())

    def raise_exception(self, sender: str, exc: Any) -> None:
        self.refused.set_result((sender, exc[1]))

    def tell(self, sender: str, peer: str) -> None:
        assert self.comms is not None
        self.comms.send(peer, "hear")

    def hear(self, sender: str) -> None:
        self.heard.append(sender)

    async def wait(self, sender: str) -> None:
        self.waits.set()
        await self.answered.wait()


@contextlib.asynccontextmanager
async def passers() -> AsyncIterator[tuple[mosaic_comms.CommsManager, Passer, Passer]]:
    """Two runtimes that run one handler each."""
    one, other = Passer(), Passer()
    async with network(("worker:0", one), ("worker:1", other), running_handlers=1) as [monitor, *managers]:
        one.comms, other.comms = managers
        yield monitor, one, other


def test_a_call_of_a_handler_is_refused_where_it_might_wait_for_itself() -> None:
    async def test() -> None:
        async with passers() as (monitor, _, _):
            assert await monitor.proxy("worker:0").pass_on(path=["worker:1"]) == "worker:0"
            with pytest.raises(mosaic_comms.OverloadedError, match="worker:0"):
                await monitor.proxy("worker:0").pass_on(path=["worker:1", "worker:0"])

    run(test())


def test_what_a_plain_handler_sends_is_nested_and_does_not_wait_either() -> None:
    async def test() -> None:
        async with passers() as (monitor, one, other):
            for told in range(1, 3):
                waiting = asyncio.create_task(monitor.proxy("worker:1").wait())
                await other.waits.wait()
                await monitor.proxy("worker:0").tell(peer="worker:1")
                peer, refusal = await one.refused
                assert peer == "worker:1" and "handlers" in str(refusal)
                one.refused = asyncio.get_running_loop().create_future()
                other.answered.set()
                await waiting
                assert one.comms is not None
                await monitor.proxy("worker:0").tell(peer="worker:1")
                await one.comms.send_recv_async("worker:1", "pass_on", path=[])
                assert other.heard == ["worker:0"] * told
                other.waits.clear()
                other.answered.clear()

    run(test())


def test_what_a_handler_leaves_behind_is_not_nested_once_it_has_been_answered() -> None:
    async def test() -> None:
        async with passers() as (monitor, one, other):
            await monitor.proxy("worker:0").pass_on_later(path=["worker:1"])
            waiting = asyncio.create_task(monitor.proxy("worker:1").wait())
            await other.waits.wait()
            one.answered.set()
            assert await monitor.proxy("worker:0").pass_on(path=[]) == "monitor"
            assert one.comms is not None and one.later is not None
            # Its call has been sent, and the heart comes behind it.
            await one.comms.ping("worker:1")
            assert not one.later.done()
            other.answered.set()
            assert await one.later == "worker:0"
            await waiting

    run(test())
