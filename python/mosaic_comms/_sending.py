"""What goes out: messages, calls and commands, with or without waiting for what comes of them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _core
from ._errors import TimeoutError
from ._loops import drive, is_current, run_on
from ._messages import Command, Reply
from ._serving import serving

if TYPE_CHECKING:
    from ._manager import CommsManager


class Sending:
    """The ways to send, with options that all messages sent through it have.

    A message's own keywords are its arguments, whatever they are called; its method is given as ``method=`` or, where an
    argument has that name, as the second positional argument.

    Examples
    --------
    >>> class Counter:
    ...     def count(self, sender, method):
    ...         return f"{method} was counted for {sender}"
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", Counter(), "127.0.0.1") as comms:
    ...         urgent = comms.options(timeout=5, express=True)
    ...         return await urgent.send_recv_async("monitor", "count", method="this argument")
    >>> asyncio.run(main())
    'this argument was counted for monitor'
    """

    def __init__(self, comms: CommsManager, timeout: float | None, express: bool, reply: bool) -> None:
        self._comms = comms
        self._timeout = timeout
        self._express = express
        self._reply = reply

    # ---- messages ----

    def send(self, send_uid: str, /, *args: Any, **kwargs: Any) -> None:
        """Send a message one way, without waiting for anything.

        Arrays are copied: they may be changed at once.

        Parameters
        ----------
        send_uid : str
            UID of the remote runtime.
        args : tuple, optional
            The method, if it is not given as a keyword.
        kwargs : optional
            ``method``, and the arguments of the message.

        Raises
        ------
        UnknownPeerError
            Nobody of that name is in the network.

        Examples
        --------
        >>> class Log:
        ...     def note(self, sender, line):
        ...         print(f"{sender}: {line}")
        >>> async def main():
        ...     async with mosaic_comms.start("monitor", Log(), "127.0.0.1") as comms:
        ...         comms.send("monitor", method="note", line="begun")
        ...         await comms.send_recv_async("monitor", method="note", line="went on")
        >>> asyncio.run(main())
        monitor: begun
        monitor: went on
        """
        method = _method(args, kwargs)
        self._post(send_uid, method, kwargs, None)

    async def send_async(self, send_uid: str, /, *args: Any, **kwargs: Any) -> Reply | None:
        """Send a message one way.

        It ends when the message has been accepted; one with an array of at least 64 KiB ends when the peer has it, so
        that the array may be changed then.

        Parameters
        ----------
        send_uid : str
            UID of the remote runtime.
        args : tuple, optional
            The method, if it is not given as a keyword.
        kwargs : optional
            ``method``, and the arguments of the message.

        Returns
        -------
        Reply or None
            The future result, if ``options(reply=True)`` asks for it.
        """
        method = _method(args, kwargs)
        if self._reply:
            return self._ask(send_uid, method, kwargs, None)
        left = self._message(send_uid, method, kwargs, None, False)
        if left is not None:
            await drive(left)
        return None

    def send_recv(self, send_uid: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a remote runtime and wait for its result, on a thread that may wait.

        Parameters
        ----------
        send_uid : str
            UID of the remote runtime.
        args : tuple, optional
            The method, if it is not given as a keyword.
        kwargs : optional
            ``method``, and the arguments of the call.

        Returns
        -------
        object
            What the method returned.

        Raises
        ------
        RuntimeError
            On the thread of the loop that would have to receive the result.
        RemoteError
            The method failed: it is an instance of the original class as well.

        Examples
        --------
        In a script without a loop, the runtime lives on a thread of its own:

        >>> class Adder:
        ...     uid = "monitor"
        ...     def add(self, sender, a, b):
        ...         return a + b
        >>> comms = mosaic_comms.CommsManager(Adder(), "127.0.0.1")
        >>> comms.connect_recv()
        >>> listening = comms.listen()
        >>> comms.send_recv("monitor", method="add", a=1, b=2)
        3
        >>> asyncio.run(comms.stop())
        """
        method = _method(args, kwargs)
        return self._call(send_uid, method, kwargs, None, "send_recv")

    async def send_recv_async(self, send_uid: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of a remote runtime and wait for its result.

        Arrays are sent from where they lie, and must not be changed until it ends. Cancelling it cancels the call.

        Parameters
        ----------
        send_uid : str
            UID of the remote runtime.
        args : tuple, optional
            The method, if it is not given as a keyword.
        kwargs : optional
            ``method``, and the arguments of the call.

        Returns
        -------
        object
            What the method returned.

        Raises
        ------
        UnknownPeerError
            Nobody of that name is in the network.
        DisconnectedError
            The runtime is gone, or went before it replied.
        RemoteError
            The method failed: it is an instance of the original class as well.

        Examples
        --------
        >>> class Scaler:
        ...     def scale(self, sender, field, factor):
        ...         return field * factor
        >>> async def main():
        ...     async with mosaic_comms.start("monitor", Scaler(), "127.0.0.1") as comms:
        ...         return await comms.send_recv_async("monitor", method="scale", field=np.arange(3), factor=2)
        >>> asyncio.run(main())
        array([0, 2, 4])
        """
        method = _method(args, kwargs)
        comms = self._comms
        if send_uid == comms.uid:
            return await self._call_self(method, kwargs, None)
        if comms._over:
            return None
        waiting = self._begin(send_uid, method, kwargs, None)
        # Nobody but the core refers to the arguments now.
        del kwargs
        await waiting
        return waiting.result()

    # ---- commands ----

    def cmd(self, send_uid: str, /, **command: Any) -> None:
        """Send a command to an object of a remote runtime one way: see `cmd_async`."""
        target = _command(**command)
        self._post(send_uid, target.method, target.kwargs, target)

    async def cmd_async(self, send_uid: str, /, **command: Any) -> Reply | None:
        """Send a command to an object of a remote runtime one way.

        Parameters
        ----------
        send_uid : str
            UID of the remote runtime.
        command : optional
            ``type`` and ``uid`` of the object, the ``method`` to call, its positional ``args`` and its ``kwargs``.

        Returns
        -------
        Reply or None
            The future result, if ``options(reply=True)`` asks for it.
        """
        target = _command(**command)
        if self._reply:
            return self._ask(send_uid, target.method, target.kwargs, target)
        left = self._message(send_uid, target.method, target.kwargs, target, False)
        if left is not None:
            await drive(left)
        return None

    def cmd_recv(self, send_uid: str, /, **command: Any) -> Any:
        """Call a method of an object of a remote runtime and wait for its result: see `cmd_async` and `send_recv`."""
        target = _command(**command)
        return self._call(send_uid, target.method, target.kwargs, target, "cmd_recv")

    async def cmd_recv_async(self, send_uid: str, /, **command: Any) -> Any:
        """Call a method of an object of a remote runtime and wait for its result: see `cmd_async`.

        Examples
        --------
        >>> class Table:
        ...     def __init__(self):
        ...         self.rows = {"water": 1480}
        ...     def velocity(self, material):
        ...         return self.rows[material]
        >>> async def main():
        ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as comms:
        ...         comms.objects["table", "materials"] = Table()
        ...         return await comms.cmd_recv_async(
        ...             "monitor", type="table", uid="materials", method="velocity", args=("water",)
        ...         )
        >>> asyncio.run(main())
        1480
        """
        target = _command(**command)
        comms = self._comms
        if send_uid == comms.uid:
            return await self._call_self(target.method, target.kwargs, target)
        if comms._over:
            return None
        waiting = self._begin(send_uid, target.method, target.kwargs, target)
        del command, target
        await waiting
        return waiting.result()

    # ---- how ----

    def _request(self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None) -> _core.Operation:
        """Make a call of it. What a handler requests is nested in the call that it serves."""
        at = _as_target(target)
        return self._comms._core.call(uid, method, kwargs, at, self._express, serving.get(), self._timeout)

    def _begin(self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None) -> _core.Operation:
        """The same, begun on the loop that runs now."""
        comms = self._comms
        driver, loop = comms._driver or comms._live(), comms._loop
        assert loop is not None
        at = None if target is None else _as_target(target)
        core, express, timeout = comms._core, self._express, self._timeout
        return core.begin(driver, loop, uid, method, kwargs, at, express, serving.get(), timeout)

    def _message(
        self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None, copied: bool
    ) -> _core.Operation | None:
        """Send it one way, and give what there is left to wait for. One that copies waits for nobody to be found."""
        comms = self._comms
        if comms._over:
            return None
        if comms._driver is None:
            comms._live()
        if uid == comms.uid:
            comms._send_to_self(method, kwargs, target, None)
        elif comms._is_there(uid, or_asked_for=not copied):
            at = _as_target(target)
            return comms._core.send(uid, method, kwargs, at, self._express, serving.get(), copied)
        return None

    def _post(self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None) -> None:
        left = self._message(uid, method, kwargs, target, True)
        if left is not None:
            self._comms._live().spawn(left)

    def _ask(self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None) -> Reply | None:
        comms = self._comms
        if comms._over:
            return None
        comms._live()
        reply = Reply()
        if uid == comms.uid:
            comms._send_to_self(method, kwargs, target, reply._future)
            return reply
        forward = _forwarding_to(reply)
        operation = self._begin(uid, method, kwargs, target)
        if operation.done():
            forward(operation)
        else:
            operation.add_done_callback(forward)
        return reply

    async def _call_self(self, method: str, kwargs: dict[str, Any], target: Command | None) -> Any:
        comms = self._comms
        if comms._over:
            return None
        comms._live()
        loop = comms._loop
        assert loop is not None
        if not is_current(loop):
            return await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(self._call_self(method, kwargs, target), loop)
            )
        future: asyncio.Future[Any] = loop.create_future()
        comms._send_to_self(method, kwargs, target, future)
        try:
            return await asyncio.wait_for(future, self._timeout)
        except asyncio.TimeoutError as late:
            if future.done() and not future.cancelled():
                raise
            message = f"{comms.uid} did not reply within {self._timeout} s"
            raise TimeoutError(message, comms.uid, "may-have-run") from late

    def _call(
        self, uid: str, method: str, kwargs: dict[str, Any], target: Command | None, name: str
    ) -> Any:
        comms = self._comms
        if comms._over:
            return None
        comms._live()
        comms._must_not_be_the_loop(name)
        if uid == comms.uid:
            assert comms._loop is not None
            return run_on(comms._loop, self._call_self(method, kwargs, target))
        return self._request(uid, method, kwargs, target).wait()


def _method(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Take the method out of what was given."""
    if not args:
        if "method" not in kwargs:
            raise TypeError("a message has a method: give it as method=..., or as the second positional argument")
        method: str = kwargs.pop("method")
        return method
    if len(args) > 1:
        raise TypeError("the arguments of a message are given by their names")
    return args[0]  # type: ignore[no-any-return]


def _command(
    *,
    type: str,
    uid: str,
    method: str,
    args: tuple[Any, ...] | list[Any] = (),
    kwargs: dict[str, Any] | None = None,
) -> Command:
    return Command(type, uid, method, tuple(args), dict(kwargs or {}))


def _as_target(command: Command | None) -> tuple[str, str, tuple[Any, ...]] | None:
    return None if command is None else (command.type, command.uid, command.args)


def _forwarding_to(reply: Reply) -> Callable[[_core.Operation], None]:
    """Make what tells a reply its outcome, if somebody still refers to it."""
    waiting = weakref.ref(reply)

    def forward(done: _core.Operation) -> None:
        reply = waiting()
        if reply is None:
            return
        try:
            reply.set_result(done.result())
        except Exception as failure:
            reply.set_exception(failure)

    return forward
