"""Objects that are not plain data, by pickle: only where both ends have opted in."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from typing import Any

import numpy

_VARIABLE = "MOSAIC_ALLOW_PICKLE"

_allowed = os.environ.get(_VARIABLE, "") not in ("", "0")


def allow_pickle(allow: bool = True) -> None:
    """Allow pickles to be sent and read in this process, or forbid them again.

    Reading a pickle runs whatever code its sender chose. Opting in means to trust everybody who holds the credential
    of the job, or is the same user on the same host; nobody else's pickle is ever read. The environment variable
    ``MOSAIC_ALLOW_PICKLE=1`` does the same.

    Parameters
    ----------
    allow : bool
        Whether they are allowed, which they are not by default.

    Examples
    --------
    >>> mosaic_comms.allow_pickle()
    >>> mosaic_comms.allow_pickle(False)
    """
    global _allowed
    _allowed = allow


def pickle_allowed() -> bool:
    """Tell whether pickles are allowed in this process."""
    return _allowed


def dump(values: list[Any]) -> tuple[bytes, list[numpy.ndarray[Any, Any]]]:
    """Pickle values, with large buffers beside the stream."""
    buffers: list[pickle.PickleBuffer] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            if raw.nbytes < _BESIDE_FROM or len(buffers) >= _MOST_BUFFERS:
                return True
        buffers.append(buffer)
        return False

    try:
        stream = pickle.dumps(values, 5, buffer_callback=beside)
    except Exception as failure:
        buffers.clear()
        stream = _dump_by_cloudpickle(values, beside, failure)
    return stream, [numpy.frombuffer(buffer.raw(), numpy.uint8) for buffer in buffers]


_BESIDE_FROM = 16 << 10
"""Bytes from which a buffer travels beside the stream."""

_MOST_BUFFERS = 256
"""Buffers of a pickle at most: a message takes 1024, arrays among the plain arguments included."""


def _dump_by_cloudpickle(values: list[Any], beside: Any, failure: Exception) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        raise failure from None
    stream: bytes = cloudpickle.dumps(values, 5, buffer_callback=beside)
    return stream


def load(stream: Any, buffers: Sequence[Any], authenticated: bool) -> list[Any]:
    """Read a pickle that a peer has sent."""
    if not authenticated:
        raise PermissionError("it is a Python pickle, which is never read from a peer that nobody vouches for")
    if not _allowed:
        raise PermissionError(
            f"it is a Python pickle, which is not allowed here: set {_VARIABLE}=1 or call mosaic_comms.allow_pickle() "
            "in this process too"
        )
    values = pickle.loads(stream, buffers=buffers)
    if not isinstance(values, list):
        raise ValueError("the pickle is not a list")
    return values
