"""The request that the code of a handler serves, and its answer."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from ._manager import CommsManager

_numbers = itertools.count(1)

ENDS_LOOPS = (SystemExit, KeyboardInterrupt)
"""What asyncio passes on from what a loop runs."""


class OwnAnswer:
    """The answer to a message that a runtime has sent to itself: nothing is encoded."""

    def __init__(self, comms: CommsManager, future: asyncio.Future[Any] | None) -> None:
        self._comms = comms
        self._future = future
        self.wanted = future is not None
        self.number = -next(_numbers)
        answer = serving.get()
        self.within: _core.Answer | None = answer.within if isinstance(answer, OwnAnswer) else answer
        """The request of somebody else that this is a part of."""

    def serve(self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call a handler, which has ended when it returns, in a context of its own, and give what comes of it."""
        contextvars.copy_context().run(self._serve, handler, args, kwargs)

    def _serve(self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        serving.set(self)
        try:
            result = handler(*args, **kwargs)
            # Who awaits a coroutine is the handler's own affair.
            self.reply([None if isinstance(result, CoroutineType) else result])
        except BaseException as failure:
            self.raised(failure)
            if isinstance(failure, ENDS_LOOPS):
                raise

    def reply(self, result: list[Any]) -> None:
        """Give the result."""
        if self._future is not None and not self._future.done():
            self._future.set_result(result[0])

    def raised(self, failure: BaseException) -> None:
        """Give what was raised."""
        if self._future is None:
            self._comms._failed(self._comms.uid, failure)
        elif not self._future.done():
            if isinstance(failure, StopIteration):
                # No future takes it: a generator means something else by it.
                wrapped = RuntimeError(f"the handler raised {failure!r}")
                wrapped.__cause__ = failure
                failure = wrapped
            self._future.set_exception(failure)


serving: contextvars.ContextVar[_core.Answer | OwnAnswer | None] = contextvars.ContextVar(
    "mosaic_comms_serving", default=None
)
"""The answer to the request that the current task handles, or the plain handler of a message to oneself: what they request is
nested in it. What a plain handler serves that the core calls, the core knows by its thread.
"""
