"""A remote runtime as an object."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._sending import Sending


class Proxy:
    """A remote runtime, whose methods are called by awaiting those of this object.

    Parameters
    ----------
    sending : Sending
        The manager, or its options.
    uid : str
        The uid of the runtime.

    Examples
    --------
    >>> class Adder:
    ...     def add(self, sender, a, b):
    ...         return a + b
    >>> async def main():
    ...     async with mosaic_comms.start("monitor", Adder(), "127.0.0.1") as comms:
    ...         adder = comms.proxy("monitor", timeout=5)
    ...         print(adder, await adder.add(a=1, b=2))
    >>> asyncio.run(main())
    <Proxy of monitor> 3
    """

    def __init__(self, sending: Sending, uid: str) -> None:
        self._sending = sending
        self._uid = uid

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):
            raise AttributeError(f"`{method}` is not for others")
        sending, uid = self._sending, self._uid

        async def call(**kwargs: Any) -> Any:
            return await sending.send_recv_async(uid, method, **kwargs)

        call.__name__ = call.__qualname__ = method
        return call

    def __repr__(self) -> str:
        return f"<Proxy of {self._uid}>"
