"""numpy's arrays: what arrives, and who owns them until it has."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import network, run

import mosaic_comms
from mosaic_comms import _delivery

LARGE = 1_000_000
"""Elements of an array that is sent from where it lies."""

DTYPES = ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "c8", "c16", "M8[ns]", "m8[s]", "S5", "U3", ">f4", ">i8"]


def with_worker(worker: Any, test: Callable[[mosaic_comms.CommsManager], Any], **environment: str) -> None:
    """Run a test of a monitor with a worker in another process."""

    async def run_it() -> None:
        async with network() as [monitor]:
            worker("worker:0", monitor.port, **environment)
            await monitor.wait_for("worker:0")
            await test(monitor)

    run(run_it())


def test_arrays_of_every_plain_dtype_come_back_as_they_were(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        for dtype in DTYPES:
            for count in (0, 7, 100_000):
                sent = (np.arange(count) % 2).astype(dtype)
                echo = await monitor.send_recv_async("worker:0", method="echo", value=sent)
                assert echo.dtype == sent.dtype.newbyteorder("=") and (echo == sent).all() and echo.shape == sent.shape

    with_worker(worker, test)


def test_arrays_of_any_order_and_number_of_axes_come_back_as_they_were(worker: Any) -> None:
    base = np.arange(60_000.0).reshape(30, 40, 50)
    layouts = [
        base,
        np.asfortranarray(base),
        base[::2],
        base[:, ::-1],
        base.T,
        base[:, :, 3],
        np.broadcast_to(np.arange(50.0), (40, 50)),
        np.array(2.5),
        np.empty((0, 3)),
        np.float32(1.5),
    ]

    async def test(monitor: mosaic_comms.CommsManager) -> None:
        for sent in layouts:
            echo = await monitor.send_recv_async("worker:0", method="echo", value=sent)
            assert np.shape(echo) == sent.shape and np.array_equal(echo, sent)
        told = await monitor.send_recv_async("worker:0", method="described", value=np.asfortranarray(base))
        assert told["fortran"]

    with_worker(worker, test)


def test_a_received_array_is_writable_and_aligned(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        sent = np.arange(LARGE, dtype="f4").reshape(1000, 1000)
        sent.flags.writeable = False
        told = await monitor.send_recv_async("worker:0", method="described", value=sent)
        assert told["writeable"] and told["aligned"] and told["shape"] == [1000, 1000]
        echo = await monitor.send_recv_async("worker:0", method="echo", value=sent)
        echo += 1
        assert (echo == sent + 1).all()

    with_worker(worker, test)


def test_bfloat16_travels_where_ml_dtypes_is_there(worker: Any) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")

    async def test(monitor: mosaic_comms.CommsManager) -> None:
        sent = np.arange(100_000).astype(ml_dtypes.bfloat16)
        echo = await monitor.send_recv_async("worker:0", method="echo", value=sent)
        assert echo.dtype == sent.dtype and (echo == sent).all()

    with_worker(worker, test)


@pytest.mark.parametrize("dtype", ["O", [("a", "f4"), ("b", "i2")]])
def test_structured_and_object_arrays_are_refused_by_name(dtype: Any) -> None:
    async def test() -> None:
        async with network(("worker:0", None)) as [monitor, _]:
            with pytest.raises(mosaic_comms.EncodeError, match="argument `value` is an array of .* pickle") as raised:
                await monitor.send_recv_async("worker:0", method="echo", value=np.zeros(3, dtype))
            assert isinstance(raised.value, TypeError)

    run(test())


def test_a_masked_array_is_not_taken_for_its_elements() -> None:
    async def test() -> None:
        async with network(("worker:0", None)) as [monitor, _]:
            with pytest.raises(mosaic_comms.EncodeError, match="argument `value` is of type `numpy.ma.*MaskedArray`"):
                await monitor.send_recv_async("worker:0", method="echo", value=np.ma.masked_array([1.0], [True]))

    run(test())


def test_what_a_synchronous_send_was_given_may_be_changed_at_once(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        field = np.zeros(LARGE)
        for number in range(5):
            field[:] = number
            monitor.send("worker:0", method="note", value=field)
            field[:] = -1
        noted = await monitor.send_recv_async("worker:0", method="noted")
        assert [set(np.unique(value)) for value in noted] == [{0}, {1}, {2}, {3}, {4}]

    with_worker(worker, test)


def test_what_send_async_was_given_may_be_changed_when_it_has_ended(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        field = np.zeros(LARGE)
        for number in range(3):
            field[:] = number
            await monitor.send_async("worker:0", method="note", value=field)
            field[:] = -1
        noted = await monitor.send_recv_async("worker:0", method="noted")
        assert [set(np.unique(value)) for value in noted] == [{0}, {1}, {2}]

    with_worker(worker, test)


def test_a_handlers_live_attribute_is_copied_before_it_can_change(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        for number in range(5):
            await monitor.send_recv_async("worker:0", method="fill", value=number)
            pending = asyncio.ensure_future(monitor.send_recv_async("worker:0", method="live"))
            await asyncio.to_thread(int)
            monitor.send("worker:0", method="fill", value=-1)
            assert set(np.unique(await pending)) == {number}

    with_worker(worker, test)


class Giver:
    """Gives arrays in every way."""

    def __init__(self) -> None:
        self.field = np.zeros(LARGE)
        self.given: weakref.ref[Any] | None = None

    def _give(self, array: Any) -> Any:
        self.given = weakref.ref(array)
        return array

    def live(self, sender: str) -> Any:
        return self._give(self.field)

    def nested(self, sender: str) -> Any:
        return {"fields": [self._give(self.field)]}

    def shared(self, sender: str) -> Any:
        return mosaic_comms.share(self._give(self.field))

    def view(self, sender: str) -> Any:
        return self._give(self.field[10:])

    def fresh(self, sender: str) -> Any:
        return self._give(np.ones(LARGE))

    def fresh_and_nested(self, sender: str) -> Any:
        return {"fields": [self.fresh(sender)]}

    def echo(self, sender: str, value: Any) -> None:
        return None

    async def back(self, sender: str, value: Any) -> Any:
        return self._give(value)

    def back_at_once(self, sender: str, value: Any) -> Any:
        return self._give(value)


class Watched:
    """An answer that looks whether the array that it was given is sent from where it lies: then it is kept."""

    def __init__(self, answer: Any, giver: Giver, seen: list[bool]) -> None:
        self._answer, self._giver, self._seen = answer, giver, seen
        self.wanted, self.number = answer.wanted, answer.number

    def serve(self, *handler: Any) -> None:
        self._answer.serve(*handler)
        self._look()

    def reply(self, result: list[Any]) -> None:
        self._answer.reply(result)
        self._look()

    def _look(self) -> None:
        # Whoever has made it has let it go; what is let go since it was sent is let go by the loop, whose turn this is not.
        assert self._giver.given is not None
        array = self._giver.given()
        others = 1 if array is self._giver.field else 0
        # What this function alone has is told as referred to as well.
        ours = object()
        self._seen.append(array is not None and sys.getrefcount(array) - sys.getrefcount(ours) > others)


def test_a_result_is_sent_from_where_it_lies_if_nobody_else_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    giver, seen = Giver(), []
    receiver = _delivery.receiver

    def watched(manager: Any) -> Any:
        receive = receiver(manager)
        return lambda *request: receive(*request[:-1], Watched(request[-1], giver, seen))

    monkeypatch.setattr(_delivery, "receiver", watched)
    monkeypatch.setattr(_delivery, "plain_handlers", lambda manager: lambda method: None)

    async def test() -> None:
        async with network(("worker:0", giver)) as [monitor, _]:

            async def is_sent_from_there(method: str, **kwargs: Any) -> bool:
                await monitor.send_recv_async("worker:0", method, **kwargs)
                return seen.pop()

            for copied in ("live", "view", "nested"):
                assert not await is_sent_from_there(copied), copied
            for sent in ("fresh", "fresh_and_nested", "shared"):
                assert await is_sent_from_there(sent), sent
            if sys.version_info < (3, 12):
                # What was received belongs to the handler, which gives it back.
                assert await is_sent_from_there("back", value=np.ones(LARGE))
                assert await is_sent_from_there("back_at_once", value=np.ones(LARGE))
            giver.field.flags.writeable = False
            assert await is_sent_from_there("live")

    run(test())


async def until_let_go(array: weakref.ref[Any]) -> None:
    """Wait until nobody refers to an array any more."""
    while array() is not None:
        await asyncio.to_thread(gc.collect)


def test_memory_that_was_sent_is_let_go_on_the_loop() -> None:
    async def test() -> None:
        giver = Giver()
        async with network(("worker:0", giver)) as [monitor, _]:
            field = np.ones(LARGE)
            kept = weakref.ref(field)
            await monitor.send_async("worker:0", method="echo", value=field)
            del field
            await until_let_go(kept)
            assert (await monitor.send_recv_async("worker:0", method="fresh")).sum() == LARGE
            assert giver.given is not None
            await until_let_go(giver.given)

    run(test())


def test_large_arrays_that_are_dropped_while_the_lock_is_held_do_no_harm(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        fields = [np.full(LARGE, number, "f4") for number in range(20)]
        calls = [asyncio.ensure_future(monitor.send_recv_async("worker:0", method="echo", value=f)) for f in fields]
        await asyncio.to_thread(int)
        del fields
        calls.reverse()
        for call in calls[::2]:
            call.cancel()
        # The lock is not given away while this computes, and the I/O thread lets go of what it has sent.
        sum(range(2_000_000))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [r[0] for r in results if not isinstance(r, BaseException)] == list(range(18, -1, -2))

    with_worker(worker, test)


def test_an_array_of_64_mib_comes_back(worker: Any) -> None:
    async def test(monitor: mosaic_comms.CommsManager) -> None:
        sent = np.arange(16 << 20, dtype="f4")
        assert np.array_equal(await monitor.send_recv_async("worker:0", method="echo", value=sent), sent)

    with_worker(worker, test)
