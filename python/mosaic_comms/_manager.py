"""The manager: what a runtime has of the network, member by member as on the reference page."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from typing import Any

from . import _core, _defaults, _delivery, _methods
from ._errors import StateError, StoppedError, UnknownObjectError, describe
from ._events import Events
from ._heartbeats import Heartbeats
from ._loops import background_loop, drive, driver_of, is_current, run_on
from ._messages import Command, Message, Replies, Reply
from ._proxy import Proxy
from ._sending import Sending
from ._serving import OwnAnswer, serving

__all__ = ["CommsManager"]

_NOBODY = "0" * 16
"""The instance of a runtime of which none is known."""

_managers: weakref.WeakSet[CommsManager] = weakref.WeakSet()


class CommsManager(Sending):
    """Manages the connections of a runtime, and the messages between it and the others.

    Parameters
    ----------
    runtime : object, optional
        The runtime: any object with a ``uid``, whose methods are what others may call. By default that of the process.
    address : str, optional
        The address to listen at, by default that of the default route.
    port : int, optional
        The port to listen at, by default the first free one.
    context : Context, optional
        What managers of a process share, by default that of the process.
    loop : asyncio.AbstractEventLoop, optional
        The loop on which the runtime lives: by default the one that runs when it is first needed or, outside of one,
        the loop of the process, which has a thread of its own.
    uid : str, optional
        The uid, if it is not the runtime's.
    settings : optional
        ``monitor`` (host and port), ``interface``, ``security`` (``secure`` or ``insecure``), ``key_file``,
        ``unix_sockets``, ``accept_stop_from``, ``refusals_prove_death``, ``dead_after``, ``handshake_within``,
        ``drain_within`` (seconds) and ``running_handlers``.

    Examples
    --------
    `start` does these steps at once.

    >>> class Worker:
    ...     uid = "worker:0"
    ...     def add(self, sender, a, b):
    ...         return a + b
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as monitor:
    ...         comms = mosaic_comms.CommsManager(Worker(), "127.0.0.1")
    ...         comms.connect_recv()
    ...         await comms.handshake("monitor", monitor.address, monitor.port)
    ...         listening = comms.listen()
    ...         await monitor.wait_for("worker:0")
    ...         print(await monitor.send_recv_async("worker:0", method="add", a=1, b=2))
    ...         await comms.stop()
    >>> asyncio.run(main())
    3
    """

    def __init__(
        self,
        runtime: Any = None,
        address: str | None = None,
        port: int | None = None,
        context: _core.Context | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        uid: str | None = None,
        **settings: Any,
    ) -> None:
        runtime = _defaults.runtime() if runtime is None else runtime
        if runtime is None:
            raise TypeError("a manager has a runtime: give one, or make that of the process by mosaic_comms.init()")
        super().__init__(self, None, False, False)
        self.uid: str = runtime.uid if uid is None else uid
        self._runtime = runtime
        self._context = _defaults.get_zmq_context() if context is None else context
        settings.update(address=address, port=port)
        manager = weakref.ref(self)
        plain, receive, observe = _delivery.plain_handlers(manager), _delivery.receiver(manager), _observer(manager)
        self._core = _core.Comms(self.uid, plain, receive, observe, self._context, settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: _core.Driver | None = None
        self._wanted_loop = loop
        self._over = False
        self._stopping = False
        self._listening = False
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._kept: deque[tuple[str, Message]] = deque()
        self._waiting_for_message: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._made = self._begun = 0
        self._plain: dict[str, Any] = {}
        self._running: dict[int, asyncio.Task[Any]] = {}
        self._announced: set[str] = set()
        self._dialled: set[str] = set()
        self._replies = Replies()
        self._heartbeats = Heartbeats(self)
        self.objects: dict[tuple[str, str], Any] = {}
        _managers.add(self)

    def __repr__(self) -> str:
        where = f" at {self.address}:{self.port}" if self.port else ""
        return f"<{type(self).__name__} {self.uid}{where}>"

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait_async().__await__()

    # ---- who and where ----

    @property
    def address(self) -> str:
        """Connection address: where others reach this runtime; empty before `connect_recv`."""
        return self._core.address

    @property
    def port(self) -> int:
        """Connection port; 0 before `connect_recv`."""
        return self._core.port

    @property
    def pubsub_port(self) -> int:
        """The port for news, which come over the same one."""
        return self.port

    @property
    def monitor(self) -> tuple[str, int] | None:
        """Where the monitor is said to be."""
        return self._core.monitor

    @property
    def logger(self) -> Any:
        """Runtime logger, or that of the package while the runtime has none."""
        own = getattr(self._runtime, "logger", None)
        return _defaults.logger() if own is None else own

    def connected(self, uid: str) -> bool:
        """Check whether remote UID is connected: it is in the network, or is this runtime itself."""
        return self._core.connected(uid)

    def shaken(self, uid: str) -> bool:
        """Check whether remote UID has completed handshake. It may be called from any thread."""
        return self._core.shaken(uid)

    def uid_address(self, uid: str) -> str:
        """Find remote address given UID."""
        return self._core.uid_address(uid)

    def uid_port(self, uid: str) -> int:
        """Find remote port given UID."""
        return self._core.uid_port(uid)

    def topology(self) -> dict[str, tuple[str, int]]:
        """Give the address and the port of everybody in the network."""
        return {uid: (address, port) for uid, (address, port, _) in self._core.topology().items()}

    def peers(self, pattern: str = "*") -> list[str]:
        """Give the uids of the others that fit a pattern, in which ``*`` stands for anything."""
        return self._core.peers(pattern)

    # ---- connections ----

    def connect_recv(self) -> None:
        """Connect inbound connection. It is bound when this returns."""
        self._core.connect_recv().wait()

    def connect_send(self, uid: str, address: str, port: int) -> None:
        """Create and connect outbound connection for a remote runtime, with a given address and port.

        On the loop's thread it does not wait until the connection is up.
        """
        driver = self._live()
        self._dialled.add(uid)
        operation = self._core.connect_send(uid, address, port)
        if self._on_loop():
            driver.spawn(operation)
        else:
            operation.wait()

    async def connect(self, sender_id: str, uid: str, address: str, port: int, notify: bool = False) -> None:
        """Create and connect outbound connection for a remote runtime, with a given address and port.

        Parameters
        ----------
        sender_id : str
            Who says so.
        uid : str
            Remote UID.
        address : str
            Remote address.
        port : int
            Remote port.
        notify : bool, optional
            Whether or not to notify others of a new connection, defaults to False.
        """
        if uid == self.uid:
            return
        self._live()
        self._dialled.add(uid)
        _, _, instance = self._core.topology().get(uid, ("", 0, _NOBODY))
        if instance == _NOBODY:
            await drive(self._core.connect_send(uid, address, port))
        else:
            await drive(self._core.connect(sender_id, uid, address, port, instance, notify=notify))

    async def disconnect(self, sender_id: str, uid: str, notify: bool = False) -> None:
        """Disconnect a remote endpoint.

        Parameters
        ----------
        sender_id : str
            Who says so.
        uid : str
            Remote UID to disconnect.
        notify : bool, optional
            Whether or not to notify others of the disconnection, defaults to False.
        """
        self._live()
        self._dialled.discard(uid)
        await drive(self._core.disconnect_peer(sender_id, uid, notify=notify))

    def disconnect_recv(self) -> None:
        """Disconnect inbound connection: nobody new can connect."""
        self._core.disconnect_recv()

    def disconnect_send(self) -> None:
        """Disconnect all outbound connections. On the loop's thread it does not wait until they are closed."""
        driver = self._live()
        operation = self._core.disconnect_send()
        if self._on_loop():
            driver.spawn(operation)
        else:
            operation.wait()

    async def handshake(self, uid: str, address: str, port: int, pubsub_port: int | None = None) -> None:
        """Start handshake with remote uid, located at a certain address and port.

        On return the network is known, and the runtime's `connect` and `shake` have been called.

        Parameters
        ----------
        uid : str
            Remote UID.
        address : str
            Remote address.
        port : int
            Remote port.
        pubsub_port : int, optional
            Taken and not needed.
        """
        self._live()
        if uid == self.uid:
            return
        # It is announced here, with the place that is known once the hands are shaken.
        self._announced.add(uid)
        try:
            await drive(self._core.handshake(uid, address, port))
        except BaseException:
            self._announced.discard(uid)
            raise
        network = self.topology()
        await _delivery.tell(self, "connect", uid, uid, address, port)
        for other, (at, by) in network.items():
            await self._announce(uid, other, at, by)
        await _delivery.tell(self, "shake", uid, network=network)

    async def hand(self, sender_id: str, address: str, port: int) -> None:
        """Handle incoming handshake.

        Parameters
        ----------
        sender_id : str
            Remote UID.
        address : str
            Remote address.
        port : int
            Remote port.
        """
        self._live()
        await drive(self._core.hand(sender_id, address, port))

    async def shake(self, sender_id: str, network: Mapping[str, tuple[Any, ...]]) -> None:
        """Handle confirmation of complete handshake.

        Parameters
        ----------
        sender_id : str
            Remote UID.
        network : dict
            Existing topology: the address and the port of each uid.
        """
        self._live()
        known = self._core.topology()
        places = [
            (uid, place[0], place[1], place[2] if len(place) > 2 else known.get(uid, (0, 0, _NOBODY))[2])
            for uid, place in network.items()
        ]
        await drive(self._core.shake(sender_id, places))

    async def wait_for(self, uid: str, timeout: float | None = None) -> None:
        """Wait until remote endpoint has connected.

        Parameters
        ----------
        uid : str
            Remote UID.
        timeout : float, optional
            Seconds after which to give up.
        """
        self._live()
        await drive(self._core.wait_for(uid, timeout))

    async def wait_for_count(self, pattern: str, count: int) -> list[str]:
        """Wait until so many others whose uids fit the pattern have connected, and give their uids."""
        self._live()
        uids: list[str] = await drive(self._core.wait_for_count(pattern, count))
        return uids

    # ---- liveness ----

    async def heart(self, sender_id: str) -> None:
        """Received heart message, respond with beat."""
        self._core.heart(sender_id)
        await self.send_async(sender_id, "beat")

    async def beat(self, sender_id: str) -> None:
        """Received beat message, the remote endpoint is alive."""
        self._core.beat(sender_id)

    def start_heartbeat(self, uid: str) -> None:
        """Begin to send heart messages to a runtime, whose `heart` handler is called with each.

        That a runtime is alive is known without them: see `events`.
        """
        self._live()
        self._heartbeats.start(uid)

    async def ping(self, uid: str) -> tuple[float, float]:
        """Measure the time to a runtime and back, and how late it says it is, in seconds."""
        self._live()
        round_trip, lag = await drive(self._core.ping(uid))
        return round_trip, lag

    # ---- listening ----

    def listen(self) -> concurrent.futures.Future[None]:
        """Start the listening loop.

        Returns
        -------
        concurrent.futures.Future
            Future associated with the running loop: it is done when the manager has stopped.
        """
        self._live()
        if not self._listening and not self._over:
            self._core.describe(_methods.describe(self._runtime))
            self._core.listen()
            assert self._loop is not None
            if self._on_loop():
                self._begin_to_listen()
            else:
                self._loop.call_soon_threadsafe(self._begin_to_listen)
        return self._ended

    async def listen_async(self) -> None:
        """Asynchronous listening loop, until the manager has stopped."""
        await asyncio.shield(asyncio.wrap_future(self.listen()))

    def recv(self, **kwargs: Any) -> tuple[str, Message]:
        """Synchronously receive message from remote runtime: see `recv_async`."""
        self._live()
        self._must_not_be_the_loop("recv")
        assert self._loop is not None
        received: Any = run_on(self._loop, self.recv_async(**kwargs))
        return received[0], received[1]

    async def recv_async(self) -> tuple[str, Message]:
        """Wait for received message from the inbound connection, instead of listening.

        Returns
        -------
        str
            Sender UID.
        Message
            Received message, for `process_msg`.
        """
        self._live()
        if self._listening:
            raise StateError("the listening loop is running: messages go to their handlers")
        self._core.listen()
        while not self._kept:
            if self._over:
                raise StoppedError("this runtime has stopped")
            self._waiting_for_message = asyncio.get_running_loop().create_future()
            await self._waiting_for_message
        return self._kept.popleft()

    async def process_msg(self, sender_id: str, msg: Message) -> None:
        """Process a received message to decide what to do with it.

        Parameters
        ----------
        sender_id : str
            UID of the remote endpoint.
        msg : Message
            Message object.
        """
        self._live()
        # The handler is given the arguments, and the message remains the caller's.
        _delivery.dispatch(self, sender_id, dataclasses.replace(msg, kwargs=dict(msg.kwargs)))

    async def call(self, sender_id: str, method: Any, reply: Any, /, **kwargs: Any) -> None:
        """Run method in the loop.

        Parameters
        ----------
        sender_id : str
            UID of the remote endpoint.
        method : callable
            Method to execute.
        reply : False or str
            Whether a reply is needed and, if so, the UID of the reply.
        kwargs : optional
            Keyword arguments for the method.
        """
        result = await _delivery.invoke(method, sender_id, **kwargs)
        if reply:
            await self.send_async(sender_id, "reply", uid=reply, result=result)

    async def call_safe(self, sender_id: str, method: Any, reply: Any, /, **kwargs: Any) -> None:
        """Run method in the loop, and send exceptions back to the sender: see `call`."""
        with self.send_exception(sender_id):
            await self.call(sender_id, method, reply, **kwargs)

    # ---- replies and errors ----

    def register_reply_future(self, future: Reply) -> None:
        """Register a Reply to be accessible later on, as long as somebody refers to it."""
        self._replies[future.uid] = future

    def reply(self, sender_id: str, uid: str, result: Any) -> None:
        """Process reply from remote runtime.

        Parameters
        ----------
        sender_id : str
            UID of the remote endpoint.
        uid : str
            UID of the associated Reply.
        result : object
            Result of the reply.
        """
        future = self._replies.pop(uid, None)
        if future is not None:
            future.set_result(result)

    @contextlib.contextmanager
    def send_exception(self, uid: str) -> Iterator[None]:
        """Context manager that handles exceptions by sending them back to the uid."""
        try:
            yield
        except Exception as failure:
            if uid == self.uid:
                self._failed(uid, failure)
            elif not self._over:
                self._live().spawn(self._core.send_failure(uid, *describe(failure)))

    # ---- the end ----

    def wait(self) -> None:
        """Wait until the listening loop of the comms is done."""
        self._must_not_be_the_loop("wait")
        self._ended.result()

    async def stop(self, sender_id: str | None = None) -> None:
        """Stop the CommsManager: deliver what was sent, say goodbye, close everything.

        Parameters
        ----------
        sender_id : str, optional
            Remote UID.
        """
        if self._over:
            return
        self._live()
        answer = serving.get()
        if answer is not None and not isinstance(answer, OwnAnswer):
            # The request that is handled here must not keep its own end from coming.
            answer.reply([None])
        self._heartbeats.stop()
        self._stopping = True
        if self._loop is not None and not self._loop.is_running():
            self._core.detach()
        await drive(self._core.stop())
        self._finish()

    # ---- beside the reference page ----

    def options(
        self, *, timeout: float | None = None, express: bool = False, reply: bool = False
    ) -> Sending:
        """Give the same ways to send with options, which are never among a message's own keywords.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which a call gives up.
        express : bool
            Whether to overtake whatever waits; for messages of at most 64 KiB.
        reply : bool
            Whether `send_async` and `cmd_async` ask for a reply and give it as a `Reply`.
        """
        return Sending(self, timeout, express, reply)

    def proxy(self, uid: str, **options: Any) -> Proxy:
        """Give an object whose methods are those of a remote runtime, to be awaited."""
        return Proxy(self.options(**options) if options else self, uid)

    def events(self) -> Events:
        """Give what happens in the network from now on, for ``async for``."""
        self._live()
        return Events(self._core.events())

    def dropped(self) -> int:
        """Count the messages and replies that were dropped because nobody was there to take them."""
        return self._core.dropped()

    # ---- within the package ----

    def _live(self) -> _core.Driver:
        """Give the driver of the loop on which the runtime lives, which is decided with the first need of it."""
        if self._driver is None:
            loop = self._wanted_loop or asyncio._get_running_loop() or background_loop()
            self._loop, self._driver = loop, driver_of(loop)
            self._core.attach(self._driver)
            events, watcher = self._core.events(), _watch(weakref.ref(self), self._core.events())
            del events
            if is_current(loop):
                self._watcher: Any = loop.create_task(watcher)
            else:
                self._watcher = asyncio.run_coroutine_threadsafe(watcher, loop)
        return self._driver

    def _on_loop(self) -> bool:
        return self._loop is not None and is_current(self._loop)

    def _must_not_be_the_loop(self, name: str) -> None:
        if self._on_loop():
            raise RuntimeError(
                f"`{name}` waits for what this very thread's loop has to do: use `await {name}_async(..)` here"
            )

    def _is_there(self, uid: str, or_asked_for: bool = False) -> bool:
        """Tell whether to send to somebody; what is for the departed is dropped."""
        if self._core.connected(uid):
            return True
        reason = self._core.departed(uid)
        if reason is not None:
            self.logger.warning("%s: a message to %s was dropped: it %s", self.uid, uid, reason)
            return False
        if or_asked_for or uid in self._dialled:
            return True
        self._core.uid_address(uid)
        return True

    def _observe(self, kind: str, uid: str, detail: Any) -> None:
        """Learn from the core what has happened, on the loop's thread."""
        if kind == "cancelled":
            handler = self._running.get(detail)
            if handler is not None and self._loop is not None:
                # Not before it has begun, which it does in this turn of the loop.
                self._loop.call_soon(handler.cancel)
        elif kind == "connected":
            self._spawn(self._joined, uid)
        else:
            self._announced.discard(uid)
            self._heartbeats.end(uid)
            self._spawn(_delivery.tell, self, "disconnect", uid, uid)

    def _take(self, sender: str, message: Message) -> None:
        if self._listening:
            _delivery.dispatch(self, sender, message)
            return
        self._kept.append((sender, message))
        if self._waiting_for_message is not None and not self._waiting_for_message.done():
            self._waiting_for_message.set_result(None)

    def _begin_to_listen(self) -> None:
        """Dispatch what has come before; from then on what comes."""
        while self._kept:
            try:
                _delivery.dispatch(self, *self._kept.popleft())
            except BaseException:
                # A handler ends the loop. If that goes on nevertheless, so does this.
                assert self._loop is not None
                self._loop.call_soon(self._begin_to_listen)
                raise
        self._listening = True

    def _spawn(self, work: Any, *args: Any) -> None:
        assert self._loop is not None
        _delivery.start(self._loop, self, work, *args)

    def _send_to_self(
        self,
        method: str,
        kwargs: dict[str, Any],
        target: Command | None,
        future: asyncio.Future[Any] | None,
    ) -> None:
        """Send a message to this very runtime: the same objects arrive."""
        assert self._loop is not None
        message = _delivery.as_message(method, kwargs, target, OwnAnswer(self, future))
        if self._on_loop():
            self._loop.call_soon(self._take, self.uid, message)
        else:
            self._loop.call_soon_threadsafe(self._take, self.uid, message)

    def _command_object(self, sender: str, command: Command) -> Any:
        """Handle a command for a runtime that has no `cmd`: by the objects that are registered."""
        target = self.objects.get((command.type, command.uid))
        if target is None:
            known = ", ".join(f"{kind} {uid}" for kind, uid in self.objects) or "none"
            told = f"there is no object `{command.uid}` of type `{command.type}`; there are: {known}"
            failure = UnknownObjectError(told, self.uid, "not-run")
            failure.kind = "unknown-object"
            raise failure
        if command.method.startswith("_"):
            raise AttributeError(f"`{command.method}` is not for others")
        return getattr(target, command.method)(*command.args, **command.kwargs)

    async def _joined(self, uid: str) -> None:
        try:
            address, port = await drive(self._core.wait_for_place(uid))
        except StoppedError:
            return
        if uid not in self._announced and self.uid == "monitor":
            await _delivery.tell(self, "hand", uid, address=address, port=port)
        await self._announce(uid if self.uid == "monitor" else "monitor", uid, address, port)

    async def _announce(self, sender: str, uid: str, address: str, port: int) -> None:
        if uid != self.uid and uid not in self._announced:
            self._announced.add(uid)
            await _delivery.tell(self, "connect", sender, uid, address, port)

    def _failed(self, uid: str, failure: BaseException) -> None:
        """Tell the runtime that a message of its own has failed elsewhere."""
        if getattr(self._runtime, "raise_exception", None) is None:
            self.logger.warning("%s: a message to %s failed: %s", self.uid, uid, failure)
            return
        raised = (type(failure), failure, failure.__traceback__)
        self._spawn(functools.partial(_delivery.tell, self, "raise_exception", uid, exc=raised))

    async def _wait_async(self) -> None:
        await asyncio.shield(asyncio.wrap_future(self._ended))

    def _finish(self) -> None:
        self._over = True
        self._core.conclude()
        if not self._ended.done():
            self._ended.set_result(None)
        if self._waiting_for_message is not None and not self._waiting_for_message.done():
            self._waiting_for_message.set_result(None)

    def _abandon(self) -> list[int]:
        """Leave everything to the parent process, in a forked child, and give the descriptors to close."""
        self._over = True
        return self._context.descriptors()


def _observer(manager: weakref.ref[CommsManager]) -> Callable[[str, str, Any], None]:
    """Make what the core calls with what happens besides requests. It does not keep the manager alive."""

    def observe(kind: str, uid: str, detail: Any) -> None:
        comms = manager()
        if comms is not None:
            comms._observe(kind, uid, detail)

    return observe


async def _watch(manager: weakref.ref[CommsManager], events: _core.Events) -> None:
    """Tell the runtime which of its messages have failed, until the manager has stopped."""
    while True:
        event: Any = await drive(events.next())
        comms = manager()
        if comms is None or event is None:
            return
        kind, uid, detail = event
        if kind == "failed":
            comms._failed(uid, detail)
        del comms


def abandon_all() -> list[int]:
    """Leave all managers to the parent process, in a forked child."""
    descriptors: set[int] = set()
    for comms in list(_managers):
        descriptors.update(comms._abandon())
    _managers.clear()
    return sorted(descriptors)


logging.getLogger("mosaic_comms").addHandler(logging.NullHandler())
