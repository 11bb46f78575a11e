"""Messages and replies, as programs see them."""

from __future__ import annotations

import asyncio
import secrets
import weakref
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Command", "Message", "Reply"]


@dataclass(slots=True)
class Command:
    """A call of a method of an object that lives in the runtime.

    Attributes
    ----------
    type, uid : str
        Which object is meant.
    method : str
        The method to call.
    args : tuple
        Positional arguments.
    kwargs : dict
        Keyword arguments.

    Examples
    --------
    A runtime with a method `cmd` handles commands itself:

    >>> class Head:
    ...     def cmd(self, sender, cmd):
    ...         return f"{cmd.method} of {cmd.type} {cmd.uid}, with {cmd.args} and {cmd.kwargs}"
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", Head(), "127.0.0.1") as comms:
    ...         return await comms.cmd_recv_async("monitor", type="table", uid="t1", method="sort", args=("time",))
    >>> asyncio.run(main())
    "sort of table t1, with ('time',) and {}"
    """

    type: str
    uid: str
    method: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Message:
    """A message that was received and has not been handled.

    Attributes
    ----------
    method : str
        The method to call; ``cmd`` for a command.
    kwargs : dict
        Its keyword arguments.
    cmd : Command or None
        The command, if it is one.
    reply : bool
        Whether the sender waits for the result.

    Examples
    --------
    >>> class Log:
    ...     def note(self, sender, line):
    ...         print(f"{sender}: {line}")
    >>> async def main():
    ...     runtime = Log()
    ...     runtime.uid = "monitor"
    ...     comms = mosaic_comms.CommsManager(runtime, "127.0.0.1")
    ...     comms.connect_recv()
    ...     comms.send("monitor", method="note", line="begun")
    ...     sender, message = await comms.recv_async()
    ...     print(message.method, message.kwargs, message.reply)
    ...     await comms.process_msg(sender, message)
    ...     await comms.stop()
    >>> asyncio.run(main())
    note {'line': 'begun'} False
    monitor: begun
    """

    method: str
    kwargs: dict[str, Any]
    cmd: Command | None = None
    reply: bool = False
    _answer: Any = None


class Reply:
    """A future result, which a remote runtime gives.

    Awaiting it gives the result. One that nobody refers to any more is forgotten here; the remote runtime goes on.

    Attributes
    ----------
    uid : str
        By which the reply finds its future.

    Examples
    --------
    >>> class Adder:
    ...     def add(self, sender, a, b):
    ...         return a + b
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", Adder(), "127.0.0.1") as comms:
    ...         reply = await comms.options(reply=True).send_async("monitor", method="add", a=1, b=2)
    ...         return await reply
    >>> asyncio.run(main())
    3
    """

    def __init__(self, uid: str | None = None) -> None:
        self.uid = uid if uid is not None else secrets.token_hex(8)
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # Nobody has to look at the outcome of a reply.
        self._future.add_done_callback(_retrieve)

    def set_result(self, result: Any) -> None:
        """Give the result; once."""
        if not self._future.done():
            self._future.set_result(result)

    def set_exception(self, failure: BaseException) -> None:
        """Give an error instead of a result."""
        if not self._future.done():
            self._future.set_exception(failure)

    def done(self) -> bool:
        """Tell whether the outcome is there."""
        return self._future.done()

    def result(self) -> Any:
        """Give the result that is there, or raise what went wrong."""
        return self._future.result()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._future.__await__()

    def __repr__(self) -> str:
        return f"<Reply {self.uid} {'done' if self.done() else 'pending'}>"


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


Replies = weakref.WeakValueDictionary[str, Reply]
"""The replies that are waited for, by their uids."""
