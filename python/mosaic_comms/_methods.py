"""What methods a runtime has for others: for those who ask, and for errors that say what there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Described = tuple[str, str, "list[tuple[str, str | None]] | None"]
"""A name, its documentation, and its arguments with what they are where they are left out; None if not all are known."""

_LONGEST = 200
"""Characters of a default value at most."""


def find(runtime: Any, method: str) -> Callable[..., Any] | None:
    """Give a method that others may call."""
    if method.startswith("_"):
        return None
    handler = getattr(runtime, method, None)
    return handler if callable(handler) else None


def names(runtime: Any) -> list[str]:
    """Give the names of all methods that others may call. No property is evaluated for that."""
    return [name for name in dir(runtime) if not name.startswith("_") and _is_method(runtime, name)]


def _is_method(runtime: Any, name: str) -> bool:
    found = inspect.getattr_static(runtime, name, None)
    return callable(found) or isinstance(found, (staticmethod, classmethod))


def describe(runtime: Any) -> list[Described]:
    """Describe all methods, as others are told of them."""
    found = [(name, getattr(runtime, name, None)) for name in names(runtime)]
    return [(name, inspect.getdoc(method) or "", _arguments(method)) for name, method in found]


def _arguments(method: Any) -> list[tuple[str, str | None]] | None:
    """Give the arguments behind the sender, which are all keywords."""
    try:
        parameters = list(inspect.signature(method).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY) for each in parameters):
        return None
    return [(each.name, _default(each)) for each in parameters]


def _default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is parameter.empty:
        return None
    try:
        told = repr(parameter.default)
    except Exception:
        return ".."
    return told if len(told) <= _LONGEST else ".."
