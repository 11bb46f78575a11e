"""What comes in: handlers begin in the order in which their messages were sent, and nobody waits for their ends.

A coroutine function becomes a task. Any other handler has ended when it returns, and is called at once: a task would
cost it a turn of the loop. Only if tasks have not begun yet whose messages came before does it become one behind them.
"""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
import sys
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from . import _core, _methods
from ._errors import UnknownMethodError, describe
from ._loops import is_current
from ._messages import Command, Message
from ._serving import ENDS_LOOPS, OwnAnswer, serving

if TYPE_CHECKING:
    from ._manager import CommsManager

OURS = frozenset({"heart", "beat", "reply", "stop"})
"""Messages that are the manager's too: the runtime's handler is awaited first, then the manager's is scheduled."""

_KNOWN = 1024
"""Methods at most of which a manager keeps in mind that they are plain: a runtime may answer to any name."""

_EAGER = sys.version_info >= (3, 12)


def start(
    loop: asyncio.AbstractEventLoop, comms: CommsManager, work: Callable[..., Coroutine[Any, Any, None]], *args: Any
) -> asyncio.Task[None]:
    """Make a task of what a coroutine function does, which the manager keeps until it is done."""
    comms._made += 1
    task = _as_task(loop, _in_turn(comms, comms._made, work, args))
    if not task.done():
        comms._tasks.add(task)
        task.add_done_callback(comms._tasks.discard)
    return task


def _as_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Make a task of a coroutine; where Python can, one that begins at once."""
    if _EAGER and is_current(loop):
        return asyncio.Task(work, loop=loop, eager_start=True)  # type: ignore[call-arg]
    return loop.create_task(work)


async def _in_turn(
    comms: CommsManager, turn: int, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]
) -> None:
    """Note that a task has begun: the loop begins them in the order in which they were made."""
    comms._begun = turn
    pending = work(*args)
    # Nobody but the handler refers to its arguments now: it may return one of them, uncopied.
    del args
    await pending


def plain_handlers(manager: weakref.ref[CommsManager]) -> Callable[[str], Any]:
    """Make what the core asks for the handler of a method: one that it gives is called by the core.

    That is so for most requests: a plain method is meant that was called before, and no task waits to begin.
    """

    def plain_handler(method: str) -> Any:
        comms = manager()
        if comms is None or not comms._listening or comms._begun != comms._made:
            return None
        plain = comms._plain.get(method)
        if plain is None:
            return None
        handler = getattr(comms._runtime, method, None)
        return handler if getattr(handler, "__func__", None) is plain else None

    return plain_handler


def receiver(
    manager: weakref.ref[CommsManager],
) -> Callable[[str, str, dict[str, Any], Any, _core.Answer], None]:
    """Make what the core calls with every other request. It does not keep the manager alive."""

    def receive(sender: str, method: str, kwargs: dict[str, Any], target: Any, answer: _core.Answer) -> None:
        comms = manager()
        if comms is None:
            return
        if target is None and comms._listening:
            call(comms, sender, method, kwargs, answer)
            return
        command = None
        if target is not None:
            kind, uid, args = target
            command = Command(kind, uid, method, args, kwargs)
        comms._take(sender, as_message(method, kwargs, command, answer))

    return receive


def dispatch(comms: CommsManager, sender: str, message: Message) -> None:
    """Start the handler of a message."""
    if message.cmd is None:
        call(comms, sender, message.method, message.kwargs, message._answer)
        return
    handler = getattr(comms._runtime, "cmd", None) or comms._command_object
    _begin(comms, handler, (sender, message.cmd), {}, message._answer)


def call(comms: CommsManager, sender: str, method: str, kwargs: dict[str, Any], answer: Any) -> None:
    """Start the handler of a message that is no command."""
    if method in OURS:
        assert comms._loop is not None
        start(comms._loop, comms, _run_ours, comms, sender, method, kwargs, answer)
        return
    handler = _methods.find(comms._runtime, method)
    if handler is None:
        _refuse(comms, method, answer)
        return
    if not _is_awaited(handler) and len(comms._plain) < _KNOWN:
        comms._plain[method] = getattr(handler, "__func__", None)
    _begin(comms, handler, (sender,), kwargs, answer)


def _begin(
    comms: CommsManager,
    handler: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    answer: Any,
) -> None:
    loop = comms._loop
    assert loop is not None
    if _is_awaited(handler):
        comms._made += 1
        task = _as_task(loop, _run(comms, comms._made, handler, args, kwargs, answer))
        if not task.done():
            # Its caller can end it.
            comms._running[answer.number] = task
    elif comms._begun != comms._made:
        start(loop, comms, _serve_as_task, handler, args, kwargs, answer)
    else:
        answer.serve(handler, args, kwargs)


def _refuse(comms: CommsManager, method: str, answer: Any) -> None:
    known = _methods.names(comms._runtime)
    similar = difflib.get_close_matches(method, known, 1)
    hint = f", did you mean `{similar[0]}`?" if similar else ""
    told = f"{comms.uid} has no method `{method}`{hint}; it has: {', '.join(known) or 'none'}"
    if isinstance(answer, OwnAnswer):
        answer.raised(UnknownMethodError(told, comms.uid, "not-run"))
    else:
        answer.fail("unknown-method", told, [], None)


async def invoke(handler: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a handler: a coroutine function is awaited, what any other returns is its result."""
    if _is_awaited(handler):
        return await handler(*args, **kwargs)
    return handler(*args, **kwargs)


def _is_awaited(handler: Callable[..., Any]) -> bool:
    """Tell whether it is a coroutine function. To ask takes longer than most else that a call needs."""
    function = getattr(handler, "__func__", None)
    return inspect.iscoroutinefunction(handler) if function is None else _is_coroutine_function(function)


_is_coroutine_function = functools.lru_cache(1024)(inspect.iscoroutinefunction)


async def _run(
    comms: CommsManager,
    turn: int,
    handler: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    answer: Any,
) -> None:
    comms._begun = turn
    serving.set(answer)
    try:
        pending = handler(*args, **kwargs)
        # Nobody but the handler refers to its arguments now: it may return one of them, uncopied.
        args, kwargs = (), {}
        answer.reply([await pending])
    except BaseException as failure:
        _fail(answer, failure)
        if not isinstance(failure, Exception):
            raise
    finally:
        comms._running.pop(answer.number, None)


async def _serve_as_task(
    handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any
) -> None:
    answer.serve(handler, args, kwargs)


def fail_with(answer: Any, failure: BaseException) -> None:
    """Answer with what a plain handler has raised. What ends a loop, and not only what it does now, is raised again."""
    _fail(answer, failure)
    if isinstance(failure, ENDS_LOOPS):
        raise failure


def _fail(answer: Any, failure: BaseException) -> None:
    if isinstance(answer, OwnAnswer):
        answer.raised(failure)
    elif isinstance(failure, asyncio.CancelledError):
        answer.fail("stopped", "the handler was cancelled", [], None)
    else:
        answer.fail(*describe(failure))


async def _run_ours(
    comms: CommsManager, sender: str, method: str, kwargs: dict[str, Any], answer: Any
) -> None:
    # Whoever sent it has nothing to hear: what goes wrong here is never sent back.
    answer.reply([None])
    handler = getattr(comms._runtime, method, None)
    if handler is not None:
        try:
            await invoke(handler, sender, **kwargs)
        except Exception:
            comms.logger.exception("%s: the handler `%s` failed", comms.uid, method)
    assert comms._loop is not None
    start(comms._loop, comms, _run_managers, comms, sender, method, kwargs)


async def _run_managers(comms: CommsManager, sender: str, method: str, kwargs: dict[str, Any]) -> None:
    try:
        pending = getattr(comms, method)(sender, **kwargs)
        if inspect.iscoroutine(pending):
            await pending
    except Exception:
        comms.logger.exception("%s: `%s` failed", comms.uid, method)


async def tell(comms: CommsManager, hook: str, *args: Any, **kwargs: Any) -> None:
    """Call a hook of the runtime, if it has it. What goes wrong in it is logged."""
    handler = getattr(comms._runtime, hook, None)
    if handler is None:
        return
    try:
        await invoke(handler, *args, **kwargs)
    except Exception:
        comms.logger.exception("%s: the hook `%s` failed", comms.uid, hook)


def as_message(method: str, kwargs: dict[str, Any], command: Command | None, answer: Any) -> Message:
    """Make a message of a method and its arguments, or of a command that has both."""
    if command is None:
        return Message(method, kwargs, None, answer.wanted, answer)
    return Message("cmd", {}, command, answer.wanted, answer)
