"""The members of the reference page take what it says, and do what it says. That they exist is tested in test_api.py."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from conftest import HERE, network, run

import mosaic_comms
from mosaic_comms import CommsManager

PARAMETERS = {
    "beat": ["sender_id"],
    "call": ["sender_id", "method", "reply", "kwargs"],
    "call_safe": ["sender_id", "method", "reply", "kwargs"],
    "connect": ["sender_id", "uid", "address", "port", "notify"],
    "connect_recv": [],
    "connect_send": ["uid", "address", "port"],
    "connected": ["uid"],
    "disconnect": ["sender_id", "uid", "notify"],
    "disconnect_recv": [],
    "disconnect_send": [],
    "hand": ["sender_id", "address", "port"],
    "handshake": ["uid", "address", "port"],
    "heart": ["sender_id"],
    "listen": [],
    "listen_async": [],
    "process_msg": ["sender_id", "msg"],
    "recv": ["kwargs"],
    "recv_async": [],
    "register_reply_future": ["future"],
    "reply": ["sender_id", "uid", "result"],
    "send": ["send_uid", "args", "kwargs"],
    "send_async": ["send_uid", "args", "kwargs"],
    "send_exception": ["uid"],
    "send_recv": ["send_uid", "args", "kwargs"],
    "send_recv_async": ["send_uid", "args", "kwargs"],
    "shake": ["sender_id", "network"],
    "shaken": ["uid"],
    "stop": ["sender_id"],
    "uid_address": ["uid"],
    "uid_port": ["uid"],
    "wait": [],
    "wait_for": ["uid"],
}


@pytest.mark.parametrize("member", PARAMETERS)
def test_the_parameters_are_those_of_the_reference_page(member: str) -> None:
    names = list(inspect.signature(getattr(CommsManager, member)).parameters)[1:]
    assert names[: len(PARAMETERS[member])] == PARAMETERS[member]


def test_the_constructor_is_that_of_the_reference_page() -> None:
    names = list(inspect.signature(CommsManager).parameters)
    assert names[:5] == ["runtime", "address", "port", "context", "loop"]


class Worker:
    """Has a method, and an object."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def add(self, sender: str, a: float, b: float) -> float:
        return a + b

    def note(self, sender: str, **kwargs: Any) -> None:
        self.told.append((sender, kwargs))


class Solver:
    """An object in a runtime."""

    def steps(self, factor: int, more: int = 0) -> int:
        return 100 * factor + more


def test_messages_are_pulled_and_processed_by_hand() -> None:
    async def test() -> None:
        worker = Worker()
        async with network() as [monitor]:
            comms = CommsManager(worker, HERE, uid="worker:0")
            comms.connect_recv()
            await comms.handshake("monitor", HERE, monitor.port)
            await monitor.wait_for("worker:0")
            call = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="add", a=1, b=2))
            sender, message = await comms.recv_async()
            assert (sender, message.method, message.kwargs, message.reply) == ("monitor", "add", {"a": 1, "b": 2}, True)
            await comms.process_msg(sender, message)
            assert await call == 3
            monitor.send("worker:0", method="note", x=1)
            sender, message = await asyncio.to_thread(comms.recv)
            assert (message.method, message.reply) == ("note", False)
            comms.listen()
            with pytest.raises(mosaic_comms.StateError):
                await comms.recv_async()
            await comms.stop()

    run(test())


def test_commands_reach_objects_of_a_runtime_without_a_method_for_them() -> None:
    async def test() -> None:
        async with network(("worker:0", Worker())) as [monitor, comms]:
            comms.objects["Solver", "1"] = Solver()
            command: dict[str, Any] = dict(type="Solver", uid="1", method="steps", args=(2,), kwargs={"more": 5})
            assert await monitor.cmd_recv_async("worker:0", **command) == 205
            assert await asyncio.to_thread(lambda: monitor.cmd_recv("worker:0", **command)) == 205
            monitor.cmd("worker:0", **command)
            assert await monitor.cmd_async("worker:0", **command) is None
            with pytest.raises(mosaic_comms.RemoteError, match="no object `2` of type `Solver`"):
                await monitor.cmd_recv_async("worker:0", type="Solver", uid="2", method="steps")

    run(test())


def test_call_runs_a_method_and_replies_where_a_reply_is_asked_for() -> None:
    async def test() -> None:
        worker = Worker()
        async with network(("worker:0", worker)) as [monitor, comms]:
            reply = mosaic_comms.Reply()
            monitor.register_reply_future(reply)
            await comms.call("monitor", worker.add, reply.uid, a=1, b=2)
            assert await reply == 3
            await comms.call_safe("monitor", worker.note, False, sender="own")
            await comms.call_safe("monitor", worker.add, False, a=1)

    run(test())


def test_connections_are_made_and_closed_by_hand() -> None:
    async def test() -> None:
        async with network(("worker:0", Worker()), ("worker:1", Worker())) as [monitor, first, second]:
            second.connect_send("worker:0", first.address, first.port)
            await second.connect("monitor", "worker:0", first.address, first.port)
            assert await second.send_recv_async("worker:0", method="add", a=1, b=1) == 2
            await monitor.hand("worker:0", first.address, first.port)
            await first.shake("monitor", network={"worker:1": (second.address, second.port)})
            await first.heart("monitor")
            await first.beat("monitor")
            assert first.connected("worker:1") and monitor.topology()["worker:0"] == (HERE, first.port)
            second.disconnect_send()
            second.disconnect_recv()
            await monitor.disconnect("worker:1", "worker:1", notify=True)
            await first.wait_for("worker:0")

    run(test())


def test_the_process_has_a_runtime_a_manager_a_context_a_loop_and_a_logger() -> None:
    comms = mosaic_comms.init("monitor", HERE)
    try:
        assert mosaic_comms.get_comms() is comms and mosaic_comms.runtime().uid == "monitor"
        assert mosaic_comms.get_zmq_context() is mosaic_comms.get_zmq_context()
        assert isinstance(mosaic_comms.get_zmq_context(), mosaic_comms.Context)
        assert comms.logger is mosaic_comms.logger()
        assert mosaic_comms.get_event_loop().is_running()
        assert comms.connected("monitor") and comms.dropped() == 0
    finally:
        asyncio.run_coroutine_threadsafe(comms.stop(), mosaic_comms.get_event_loop()).result()
