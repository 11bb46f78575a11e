"""What an existing Python installation needs of its comms, rule by rule. The numbers are those of docs/python.md."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import threading
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import HERE, network, run

import mosaic_comms
from mosaic_comms import CommsManager


class Runtime:
    """A runtime that notes which of its handlers were called, in which order."""

    mode = "local"
    is_monitor = False
    logger: Any = None

    def __init__(self, uid: str = "runtime") -> None:
        self.uid = uid
        self.called: list[Any] = []
        self.changed = asyncio.Event()

    def _note(self, *call: Any) -> None:
        self.called.append(call)
        self.changed.set()

    async def until(self, *call: Any) -> None:
        while call not in self.called:
            self.changed.clear()
            await self.changed.wait()

    def hand(self, sender: str, address: str, port: int) -> None:
        self._note("hand", sender, address, port)

    def shake(self, sender: str, network: Any) -> None:
        self._note("shake", sender, network)

    async def connect(self, sender: str, uid: str, address: str, port: int) -> None:
        self._note("connect", sender, uid, address, port)

    def disconnect(self, sender: str, uid: str) -> None:
        self._note("disconnect", uid)

    def note(self, sender: str, /, **kwargs: Any) -> None:
        self._note("note", sender, kwargs)

    async def wait_on(self, sender: str, event: str) -> None:
        self._note("begin", event)
        await self.until("note", sender, {"value": event})

    def raise_exception(self, sender: str, exc: Any) -> None:
        self._note("raise_exception", sender, exc[0], str(exc[1]))

    def fail(self, sender: str) -> None:
        raise ValueError("it broke")

    async def cmd(self, sender: str, cmd: Any) -> Any:
        self._note("cmd", cmd.type, cmd.uid, cmd.method, cmd.args, cmd.kwargs)
        return cmd.method

    def heart(self, sender: str) -> None:
        self._note("heart", sender)

    def thread(self, sender: str) -> bool:
        return threading.get_ident() == self.loop_thread

    def returns_coroutine(self, sender: str) -> Any:
        async def never() -> None:
            self._note("ran")

        self.coroutine = never()
        return self.coroutine

    def nothing(self, sender: str) -> None:
        return None

    def identity(self, sender: str, value: Any) -> Any:
        self.identical = value
        return value


@pytest.fixture
def pickle() -> Iterator[None]:
    mosaic_comms.allow_pickle()
    yield
    mosaic_comms.allow_pickle(False)


@pytest.fixture
def opted_out() -> Iterator[None]:
    yield
    mosaic_comms.allow_pickle(False)


async def pair(runtime: Runtime, monitor: Runtime | None = None) -> tuple[CommsManager, CommsManager]:
    """Start a monitor, and a runtime step by step as an installation does it."""
    first = CommsManager(monitor or Runtime("monitor"), HERE)
    first.connect_recv()
    first.listen()
    comms = CommsManager(runtime=runtime, address=HERE, port=None)
    comms.connect_recv()
    await comms.handshake("monitor", first.address, first.port)
    comms.listen()
    await first.wait_for(runtime.uid)
    return first, comms


async def stop(*managers: CommsManager) -> None:
    for comms in reversed(managers):
        await comms.stop("monitor")


def test_01_a_manager_is_made_outside_of_a_loop_and_inside_of_one() -> None:
    outside = CommsManager(runtime=Runtime("worker:0"), address=HERE, port=None)
    outside.connect_recv()
    assert outside.port > 0 and outside.address == HERE

    async def test() -> None:
        inside = CommsManager(runtime=Runtime("monitor"), address=HERE, port=None)
        inside.connect_recv()
        assert inside.port > 0 and inside.pubsub_port == inside.port
        inside.listen()
        await outside.handshake("monitor", inside.address, inside.port, pubsub_port=inside.pubsub_port)
        outside.listen()
        assert outside.uid_port("monitor") == inside.port and outside.uid_address("monitor") == HERE
        await stop(inside, outside)

    run(test())


def test_02_an_unknown_uid_is_a_key_error_at_once() -> None:
    async def test() -> None:
        monitor, comms = await pair(Runtime("worker:0"))
        for ask in (comms.uid_address, comms.uid_port):
            with pytest.raises(KeyError):
                ask("worker:9")
        with pytest.raises(KeyError, match="did you mean `worker:0`"):
            monitor.send("worker:9", method="note")
        with pytest.raises(KeyError):
            await monitor.send_async("worker:9", method="note")
        with pytest.raises(KeyError):
            await monitor.send_recv_async("worker:9", method="note")
        await stop(monitor, comms)

    run(test())


def test_03_a_handshake_tells_the_runtime_of_the_network_before_it_returns() -> None:
    async def test() -> None:
        first, runtime = Runtime("monitor"), Runtime("worker:0")
        monitor, comms = await pair(runtime, first)
        place = (HERE, monitor.port)
        assert runtime.called[0] == ("connect", "monitor", "monitor", *place)
        assert runtime.called[1] == ("shake", "monitor", {"monitor": place, "worker:0": (HERE, comms.port)})
        await first.until("hand", "worker:0", HERE, comms.port)
        await first.until("connect", "worker:0", "worker:0", HERE, comms.port)
        await stop(monitor, comms)
        assert first.called.count(("hand", "worker:0", HERE, comms.port)) == 1

    run(test())


def test_04_what_comes_before_listening_is_kept_in_order() -> None:
    async def test() -> None:
        monitor = CommsManager(Runtime("monitor"), HERE)
        monitor.connect_recv()
        monitor.listen()
        runtime = Runtime("worker:0")
        comms = CommsManager(runtime, HERE)
        comms.connect_recv()
        await comms.handshake("monitor", monitor.address, monitor.port)
        await monitor.wait_for("worker:0")
        for number in range(10):
            await monitor.send_async("worker:0", method="note", number=number)
        assert not [call for call in runtime.called if call[0] == "note"]
        comms.listen()
        await runtime.until("note", "monitor", {"number": 9})
        noted = [call[2]["number"] for call in runtime.called if call[0] == "note"]
        assert noted == list(range(10))
        await stop(monitor, comms)

    run(test())


def test_05_only_those_who_were_asked_for_see_heart_messages() -> None:
    async def test() -> None:
        runtime = Runtime("node:0")
        monitor, comms = await pair(runtime)
        await monitor.ping("node:0")
        assert ("heart", "monitor") not in runtime.called
        monitor.start_heartbeat("node:0")
        await runtime.until("heart", "monitor")
        await stop(monitor, comms)

    run(test())


def test_06_shaken_is_asked_from_any_thread() -> None:
    async def test() -> None:
        monitor, comms = await pair(Runtime("worker:0"))
        assert await asyncio.to_thread(comms.shaken, "monitor")
        assert not await asyncio.to_thread(comms.shaken, "worker:9")
        await stop(monitor, comms)

    run(test())


def test_07_awaitables_come_from_coroutine_functions() -> None:
    for name in ("send_async", "send_recv_async", "cmd_async", "cmd_recv_async", "stop", "handshake", "wait_for",
                 "listen_async", "recv_async", "process_msg", "call", "call_safe", "connect", "disconnect", "hand",
                 "shake", "heart", "beat"):
        assert inspect.iscoroutinefunction(getattr(CommsManager, name)), name
    for name in ("send", "send_recv", "cmd", "cmd_recv", "listen", "connect_recv", "shaken", "wait", "recv"):
        assert not inspect.iscoroutinefunction(getattr(CommsManager, name)), name


def test_08_no_keyword_of_a_message_collides_with_ours() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        names = dict.fromkeys(
            ["uid", "reply", "sync", "cmd", "send_uid", "self", "args", "kwargs", "timeout", "type", "sender_id"], 1
        )
        await monitor.send_async("worker:0", method="note", **names)
        await runtime.until("note", "monitor", names)
        await monitor.send_async("worker:0", "note", method="own")
        await runtime.until("note", "monitor", {"method": "own"})
        monitor.send("worker:0", "note", method="own", uid=2)
        await runtime.until("note", "monitor", {"method": "own", "uid": 2})
        command: dict[str, Any] = dict(type="Task", uid="task-1", method="run", args=(1, "two"), kwargs=names)
        assert await monitor.cmd_recv_async("worker:0", **command) == "run"
        assert ("cmd", "Task", "task-1", "run", (1, "two"), names) in runtime.called
        await stop(monitor, comms)

    run(test())


def test_09_each_message_is_a_task_of_its_own_started_in_order() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        waiting = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="wait_on", event="go"))
        await runtime.until("begin", "go")
        monitor.send("worker:0", method="wait_on", event="also")
        monitor.send("worker:0", method="note", value="also")
        monitor.send("worker:0", method="note", value="go")
        await waiting
        order = [call for call in runtime.called if call[0] in ("begin", "note")]
        assert [call[-1] for call in order] == ["go", "also", {"value": "also"}, {"value": "go"}]
        await stop(monitor, comms)

    run(test())


def test_10_a_handler_runs_on_the_loops_thread() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        runtime.loop_thread = threading.get_ident()
        monitor, comms = await pair(runtime)
        assert await monitor.send_recv_async("worker:0", method="thread")
        await stop(monitor, comms)

    run(test())


def test_11_a_coroutine_that_a_plain_handler_returns_is_left_alone() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        assert await monitor.send_recv_async("worker:0", method="returns_coroutine") is None
        assert ("ran",) not in runtime.called
        await runtime.coroutine
        await stop(monitor, comms)

    run(test())


def test_12_a_reply_is_sent_if_one_was_asked_for_and_none_is_one() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        assert await monitor.send_recv_async("worker:0", method="nothing") is None
        # What cannot be sent as a result does no harm where nobody asked for it.
        monitor.send("worker:0", method="identity", value=1)
        assert await monitor.send_async("worker:0", method="identity", value=2) is None
        await stop(monitor, comms)

    run(test())


def test_13_a_send_to_oneself_passes_the_same_objects() -> None:
    async def test() -> None:
        runtime = Runtime("monitor")
        async with network(("monitor", runtime)) as [comms]:
            thing = object()
            assert await comms.send_recv_async("monitor", method="identity", value=thing) is thing
            await comms.send_async("monitor", method="note", value=thing)
            await runtime.until("note", "monitor", {"value": thing})
            with pytest.raises(ValueError, match="it broke"):
                await comms.send_recv_async("monitor", method="fail")

    run(test())


def test_14_a_send_to_the_departed_warns_and_returns_none(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        runtime, first = Runtime("worker:0"), Runtime("monitor")
        monitor, comms = await pair(runtime, first)
        await comms.stop("worker:0")
        await first.until("disconnect", "worker:0")
        with caplog.at_level(logging.WARNING, "mosaic_comms"):
            assert monitor.send("worker:0", method="note") is None
            assert await monitor.send_async("worker:0", method="note") is None
        assert len([record for record in caplog.records if "worker:0" in record.message]) == 2
        await stop(monitor)

    run(test())


def test_15_after_a_stop_everything_is_a_silent_no_op(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        monitor, comms = await pair(Runtime("worker:0"))
        await comms.stop("worker:0")
        with caplog.at_level(logging.WARNING, "mosaic_comms"):
            comms.send("monitor", method="note")
            assert await comms.send_async("monitor", method="note") is None
            assert await comms.send_recv_async("monitor", method="note") is None
            assert comms.send_recv("monitor", method="note") is None
            assert await comms.cmd_recv_async("monitor", type="t", uid="u", method="m") is None
            await comms.stop("worker:0")
        assert not caplog.records
        await stop(monitor)

    run(test())


def test_16_messages_that_are_queued_are_delivered_before_the_end() -> None:
    async def test() -> None:
        first = Runtime("monitor")
        monitor, comms = await pair(Runtime("worker:0"), first)
        for number in range(200):
            comms.send("monitor", method="note", number=number)
        comms.send("monitor", method="stop")
        await comms.stop("worker:0")
        await monitor
        noted = [call[2]["number"] for call in first.called if call[0] == "note"]
        assert noted == list(range(200))

    run(test())


def test_17_a_reply_that_nobody_holds_is_not_cancelled_at_the_peer() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        reply = await monitor.options(reply=True).send_async("worker:0", method="wait_on", event="go")
        await runtime.until("begin", "go")
        forgotten = weakref.ref(reply)
        del reply
        gc.collect()
        assert forgotten() is None
        await monitor.send_async("worker:0", method="note", value="go")
        assert await monitor.send_recv_async("worker:0", method="nothing") is None
        await stop(monitor, comms)

    run(test())


def test_18_a_registered_reply_is_found_as_long_as_somebody_holds_it() -> None:
    async def test() -> None:
        monitor, comms = await pair(Runtime("worker:0"))
        reply = mosaic_comms.Reply()
        monitor.register_reply_future(reply)
        await comms.send_async("monitor", method="reply", uid=reply.uid, result=7)
        assert await reply == 7
        other = mosaic_comms.Reply()
        monitor.register_reply_future(other)
        uid = other.uid
        del other
        gc.collect()
        monitor.reply("worker:0", uid, 8)
        await stop(monitor, comms)

    run(test())


def test_19_what_fails_in_a_one_way_message_comes_back_to_its_sender() -> None:
    async def test() -> None:
        first = Runtime("monitor")
        monitor, comms = await pair(Runtime("worker:0"), first)
        await monitor.send_async("worker:0", method="fail")
        while not (raised := [call for call in first.called if call[0] == "raise_exception"]):
            first.changed.clear()
            await first.changed.wait()
        _, sender, kind, message = raised[0]
        assert sender == "worker:0" and issubclass(kind, ValueError) and "it broke" in message
        await stop(monitor, comms)

    run(test())


def test_20_what_fails_in_raise_exception_or_stop_is_never_sent_back() -> None:
    class Bad(Runtime):
        def raise_exception(self, sender: str, exc: Any) -> None:
            self._note("raised")
            raise RuntimeError("while raising")

        def stop(self, sender: str) -> None:
            self._note("stopping")
            raise RuntimeError("while stopping")

    async def test() -> None:
        first, runtime = Bad("monitor"), Bad("worker:0")
        monitor, comms = await pair(runtime, first)
        await monitor.send_async("worker:0", method="fail")
        await first.until("raised")
        await monitor.send_async("worker:0", method="stop")
        await comms
        await first.until("disconnect", "worker:0")
        assert first.called.count(("raised",)) == 1 and ("raised",) not in runtime.called
        assert ("stopping",) in runtime.called
        await stop(monitor)

    run(test())


class Sends:
    """Sends a message and makes a task while it is unpickled, as proxies of an actor library do."""

    def __init__(self, uid: str) -> None:
        self.uid = uid

    def __reduce__(self) -> Any:
        return _arrive, (self.uid,)


arriving: list[Any] = []


def _arrive(uid: str) -> Sends:
    comms = arriving[0]
    comms.send("monitor", method="note", value="unpickled")
    arriving.append((asyncio.get_running_loop().create_task(asyncio.to_thread(int)), threading.get_ident()))
    return Sends(uid)


def test_21_unpickling_may_send_and_make_tasks(pickle: None) -> None:
    async def test() -> None:
        first, runtime = Runtime("monitor"), Runtime("worker:0")
        monitor, comms = await pair(runtime, first)
        arriving[:] = [comms]
        value = await monitor.send_recv_async("worker:0", method="identity", value=[Sends("x")])
        assert value[0].uid == "x"
        await first.until("note", "worker:0", {"value": "unpickled"})
        for task, thread in arriving[1:]:
            await task
            assert thread == threading.get_ident()
        await stop(monitor, comms)

    run(test())


class Thing:
    """Has an array, and a name."""

    def __init__(self, field: Any) -> None:
        self.field = field


def test_22_arbitrary_objects_travel_where_both_ends_allow_it(pickle: None) -> None:
    async def test() -> None:
        monitor, comms = await pair(Runtime("worker:0"))
        thing = Thing(np.arange(100_000.0))
        factor = 3
        got = await monitor.send_recv_async("worker:0", method="identity", value=[thing, thing, lambda x: factor * x])
        assert got[0] is got[1] and got[0] is not thing and got[2](2) == 6
        assert np.array_equal(got[0].field, thing.field)
        got[0].field += 1
        for value in ((1, (2,)), {3, 4}, 1 + 2j, 2**100, {(1, 2): 3}):
            back = await monitor.send_recv_async("worker:0", method="identity", value=value)
            assert back == value and type(back) is type(value)
        await stop(monitor, comms)

    run(test())


def test_23_a_pickle_needs_the_consent_of_both_ends(worker: Any, opted_out: None) -> None:
    async def test() -> None:
        async with network() as [monitor]:
            worker("worker:0", monitor.port)
            await monitor.wait_for("worker:0")
            with pytest.raises(mosaic_comms.EncodeError, match="argument `value` is of type .*Thing.*MOSAIC_ALLOW_PICKLE"):
                await monitor.send_recv_async("worker:0", method="echo", value=Thing(1))
            mosaic_comms.allow_pickle()
            with pytest.raises(mosaic_comms.RemoteError, match="argument `value` can't be read: it is a Python pickle"):
                await monitor.send_recv_async("worker:0", method="echo", value=Thing(1))
            assert await monitor.send_recv_async("worker:0", method="add", a=1, b=2) == 3

    run(test())


def test_24_a_call_may_be_dropped_at_any_time() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        for _ in range(50):
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="wait_on", event="go"))
            await asyncio.to_thread(int)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert await monitor.send_recv_async("worker:0", method="nothing") is None
        await monitor.send_async("worker:0", method="note", value="go")
        await stop(monitor, comms)

    run(test())


def test_25_a_forked_child_leaves_everything_to_its_parent_and_begins_anew() -> None:
    async def test() -> None:
        first = Runtime("monitor")
        monitor, comms = await pair(Runtime("worker:0"), first)
        inherited = _open(monitor._context.descriptors())
        assert len(inherited) > 5
        port = monitor.port
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert not inherited.items() & _open(list(inherited)).items()
                monitor.send("worker:0", method="note")
                del monitor, comms
                gc.collect()
                asyncio.run(asyncio.wait_for(_as_child(port), 30))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        await first.until("note", "child", {"pid": child})
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status == 0
        assert await monitor.send_recv_async("worker:0", method="nothing") is None
        await stop(monitor, comms)

    run(test())


def _open(descriptors: list[int]) -> dict[int, str]:
    """What these descriptors refer to, as far as they are open."""
    found = {}
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            found[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
    return found


async def _as_child(port: int) -> None:
    async with mosaic_comms.start("child", address=HERE, monitor=(HERE, port)) as comms:
        await comms.send_async("monitor", method="note", pid=os.getpid())


def test_26_a_manager_says_what_it_is() -> None:
    async def test() -> None:
        async with network() as [comms]:
            assert repr(comms) == f"<CommsManager monitor at {HERE}:{comms.port}>"

    run(test())


def test_27_uvloop_does_as_well() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        calls = [monitor.send_recv_async("worker:0", method="identity", value=n) for n in range(100)]
        assert await asyncio.gather(*calls) == list(range(100))
        await stop(monitor, comms)

    uvloop.run(asyncio.wait_for(test(), 60))


def test_28_many_messages_come_with_one_wake_up() -> None:
    async def test() -> None:
        runtime = Runtime("worker:0")
        monitor, comms = await pair(runtime)
        wake_ups = []
        loop, driver = asyncio.get_running_loop(), comms._driver
        assert driver is not None

        def drain() -> None:
            wake_ups.append(1)
            driver.drain()

        loop.add_reader(driver.fileno(), drain)
        calls = [monitor.send_recv_async("worker:0", method="identity", value=n) for n in range(500)]
        await asyncio.gather(*calls)
        assert len(wake_ups) < 500
        await stop(monitor, comms)

    run(test())
