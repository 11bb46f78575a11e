"""What can go wrong, as a tree below `CommsError`, with the builtins mixed in that a program would catch."""

from __future__ import annotations

import builtins
import sys
import traceback as tracebacks

__all__ = [
    "CommsError",
    "CancelledError",
    "DisconnectedError",
    "EncodeError",
    "InvalidUidError",
    "OverloadedError",
    "RefusedError",
    "RemoteError",
    "RemoteTraceback",
    "StateError",
    "StoppedError",
    "TimeoutError",
    "TooLargeError",
    "UnknownMethodError",
    "UnknownObjectError",
    "UnknownPeerError",
    "UnreachableError",
]


class CommsError(Exception):
    """Something went wrong in the comms, or in what they carried.

    Attributes
    ----------
    peer : str or None
        The uid of the runtime that it is about.
    execution : str or None
        What is certain about a request: ``not-run``, ``may-have-run`` or ``ran``.

    Examples
    --------
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as comms:
    ...         try:
    ...             await comms.send_recv_async("nobody", method="add", a=1, b=2)
    ...         except mosaic_comms.CommsError as error:  # It is an UnknownPeerError, which is a KeyError too.
    ...             print(error)
    >>> asyncio.run(main())
    there is no runtime `nobody`
    """

    def __init__(self, message: str = "", peer: str | None = None, execution: str | None = None) -> None:
        super().__init__(message)
        self.peer = peer
        self.execution = execution

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DisconnectedError(CommsError, ConnectionError):
    """The peer is gone, or cannot be reached any more."""


class TimeoutError(CommsError, builtins.TimeoutError):
    """The time that was given is over."""


class CancelledError(CommsError):
    """The call was cancelled. That a task was cancelled is `asyncio.CancelledError` as ever."""


class OverloadedError(CommsError):
    """The peer runs as many handlers as it may."""


class UnknownPeerError(CommsError, KeyError):
    """Nobody of that name is in the network."""


class InvalidUidError(CommsError, ValueError):
    """The name cannot be a uid."""


class EncodeError(CommsError, TypeError):
    """A value does not travel: it is not plain data, and pickle is not allowed."""


class TooLargeError(CommsError, ValueError):
    """A message is larger than its receiver takes."""


class StoppedError(CommsError, RuntimeError):
    """This manager has stopped."""


class StateError(CommsError, RuntimeError):
    """Something else has to be done first, or was done before."""


class UnreachableError(CommsError, ConnectionError):
    """No address of the peer could be connected to."""


class RefusedError(CommsError, ConnectionError):
    """The peer does not want the connection."""


class RemoteError(CommsError):
    """A handler elsewhere failed.

    What is raised is also an instance of the original class, where that is known here: `except ValueError` catches the
    `ValueError` of a handler.

    Attributes
    ----------
    kind : str
        A stable name of what went wrong: the original class, or a name such as ``unknown-method``.
    method : str
        The method that was called.
    causes : list of str
        The chain of causes, outermost first.
    traceback : str or None
        The traceback as it was there.

    Examples
    --------
    >>> class Worker:
    ...     def root(self, sender, of):
    ...         if of < 0:
    ...             raise ValueError(f"{of} is negative")
    ...         return of**0.5
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", address="127.0.0.1") as comms:
    ...         place = comms.address, comms.port
    ...         async with mosaic_comms.start("worker:0", Worker(), "127.0.0.1", monitor=place):
    ...             await comms.wait_for("worker:0")
    ...             try:
    ...                 await comms.proxy("worker:0").root(of=-1)
    ...             except ValueError as error:
    ...                 print(error)
    ...                 print(isinstance(error, mosaic_comms.RemoteError), error.kind, error.method)
    >>> asyncio.run(main())
    -1 is negative (ValueError in `root` of worker:0)
    True ValueError root
    """

    kind: str = "error"
    method: str = ""
    causes: list[str] = []
    traceback: str | None = None


class UnknownMethodError(RemoteError, AttributeError):
    """The runtime has no such method."""


class UnknownObjectError(RemoteError, LookupError):
    """The runtime has no such object."""


class RemoteTraceback(Exception):
    """The traceback of a remote error, which stands above it as its cause."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


_BY_KIND: dict[str, type[CommsError]] = {
    "disconnected": DisconnectedError,
    "timeout": TimeoutError,
    "cancelled": CancelledError,
    "overloaded": OverloadedError,
    "unknown-peer": UnknownPeerError,
    "invalid-uid": InvalidUidError,
    "encode": EncodeError,
    "too-large": TooLargeError,
    "stopped": StoppedError,
    "state": StateError,
    "bind": CommsError,
    "unreachable": UnreachableError,
    "refused": RefusedError,
}


def error(kind: str, message: str, peer: str | None = None, execution: str | None = None) -> CommsError:
    """Make the exception of the core's error."""
    return _BY_KIND.get(kind, CommsError)(message, peer, execution)


_REMOTE: dict[str, type[RemoteError]] = {
    "unknown-method": UnknownMethodError,
    "unknown-object": UnknownObjectError,
    "argument": type("ArgumentError", (RemoteError, TypeError, ValueError), {"__module__": __name__}),
    "encode": type("RemoteEncodeError", (RemoteError, TypeError), {"__module__": __name__}),
}


def remote_error(
    kind: str,
    message: str,
    causes: list[str],
    traceback: str | None,
    uid: str,
    method: str,
    execution: str,
) -> RemoteError:
    """Make the exception that stands for an error of a handler elsewhere."""
    told = f"{message} ({kind} in `{method}` of {uid})"
    remote = _class_of(kind)
    made = remote.__new__(remote, told)
    made.args = (told,)
    made.peer, made.execution = uid, execution
    made.kind, made.method, made.causes, made.traceback = kind, method, causes, traceback
    if traceback:
        made.__cause__ = RemoteTraceback(traceback)
    return made


def _class_of(kind: str) -> type[RemoteError]:
    """Find the class for a kind. Nothing is imported: what a peer names must be here already."""
    if kind in _REMOTE:
        return _REMOTE[kind]
    module, _, name = kind.rpartition(".")
    original = getattr(sys.modules.get(module or "builtins"), name, None)
    if not (isinstance(original, type) and issubclass(original, Exception)):
        return RemoteError
    if issubclass(original, CommsError):
        return _mixed(kind, original) if not issubclass(original, RemoteError) else original
    return _mixed(kind, original)


def _mixed(kind: str, original: type[Exception]) -> type[RemoteError]:
    try:
        mixed = type(original.__name__, (RemoteError, original), {"__module__": original.__module__})
    except TypeError:
        # Its memory is laid out in a way of its own.
        return RemoteError
    return _REMOTE.setdefault(kind, mixed)


def describe(failure: BaseException) -> tuple[str, str, list[str], str]:
    """Give the kind, the message, the causes and the traceback by which an exception travels."""
    kind = failure.kind if isinstance(failure, RemoteError) else _name(type(failure))
    message = str(failure.args[0]) if isinstance(failure, KeyError) and failure.args else str(failure)
    causes: list[str] = []
    cause = failure.__cause__
    while cause is not None and len(causes) < 16:
        causes.append(f"{type(cause).__name__}: {cause}")
        cause = cause.__cause__
    return kind, message, causes, "".join(tracebacks.format_exception(failure))


def _name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
