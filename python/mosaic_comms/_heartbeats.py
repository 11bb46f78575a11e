"""Heart messages to those runtimes that want to see them. Who is alive is known without: the core's links know it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._manager import CommsManager

INTERVAL = 0.5
"""Seconds between two heart messages: that of the links."""


class Heartbeats:
    """The runtimes that are sent heart messages, each by a timer of its own."""

    def __init__(self, comms: CommsManager) -> None:
        self._comms = comms
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def start(self, uid: str) -> None:
        """Begin with a runtime. Beginning again changes nothing."""
        loop = self._comms._loop
        assert loop is not None
        if uid not in self._timers:
            if self._comms._on_loop():
                self._send(uid)
            else:
                loop.call_soon_threadsafe(self._send, uid)

    def _send(self, uid: str) -> None:
        loop = self._comms._loop
        assert loop is not None
        if not self._comms._over:
            self._comms.options(express=True).send(uid, "heart")
            self._timers[uid] = loop.call_later(INTERVAL, self._send, uid)

    def end(self, uid: str) -> None:
        """End with a runtime, which is gone."""
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """End with everybody."""
        for uid in list(self._timers):
            self.end(uid)
