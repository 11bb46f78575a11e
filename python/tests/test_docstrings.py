"""Everything public says what it is, and the examples in its docstrings run. They need no imports, as in numpy's own."""

from __future__ import annotations

import asyncio
import doctest
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import mosaic_comms
from mosaic_comms import _defaults

PUBLIC = {name: getattr(mosaic_comms, name) for name in mosaic_comms.__all__}

SPEAK_FOR_THEMSELVES = {"get_comms", "get_event_loop", "get_zmq_context", "logger", "runtime"}
"""Functions that only give something; the example of `init` shows them."""


def members(name: str, public: Any) -> Iterator[tuple[str, Any]]:
    """The public members that a class defines or inherits from a class of ours."""
    for member in dir(public) if isinstance(public, type) else ():
        found = inspect.getattr_static(public, member)
        if not member.startswith("_") and (inspect.isroutine(found) or isinstance(found, property)):
            if not (issubclass(public, BaseException) and hasattr(BaseException, member)):
                yield f"{name}.{member}", found


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_has_a_docstring(name: str) -> None:
    for path, found in [(name, PUBLIC[name]), *members(name, PUBLIC[name])]:
        assert inspect.getdoc(found), path


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_of_docstrings_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What `init` makes of the process is no other test's.
    for default in ("_runtime", "_comms"):
        monkeypatch.setattr(_defaults, default, None)
    finder = doctest.DocTestFinder(exclude_empty=True)
    globals_ = {"asyncio": asyncio, "mosaic_comms": mosaic_comms, "np": np}
    found = [test for test in finder.find(PUBLIC[name], name, globs=globals_, module=False) if test.examples]
    is_an_error = isinstance(PUBLIC[name], type) and issubclass(PUBLIC[name], Exception)
    assert found or is_an_error or name in SPEAK_FOR_THEMSELVES, "there is no example"
    for test in found:
        told: list[str] = []
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
        assert not result.failed, "".join(told)
