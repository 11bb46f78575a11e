"""A process that is forked with live managers: the child closes what it has inherited of them, and begins anew."""

from __future__ import annotations

import os

from . import _core, _defaults, _loops, _manager


def _in_child() -> None:
    descriptors = set(_manager.abandon_all())
    descriptors.update(_loops.forget())
    _defaults.forget()
    _core.leave_to_the_parent(sorted(descriptors))


def install() -> None:
    """Take care of all children from now on."""
    os.register_at_fork(after_in_child=_in_child)
