"""The table of docs/api.md names what there is: every member of the reference page, by its own name."""

from __future__ import annotations

import inspect
from pathlib import Path

import mosaic_comms

PAGE = Path(__file__).parents[2] / "docs/api.md"

# Those that the page awaits without saying so by their name.
AWAITED = "beat call call_safe connect disconnect hand handshake heart process_msg shake stop wait_for".split()


def members() -> list[str]:
    """The third column of each row, without the class itself."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [row[3].strip().strip("`") for row in rows][1:]


def test_every_member_of_the_page_exists() -> None:
    assert len(members()) == 39
    assert [name for name in members() if not hasattr(mosaic_comms.CommsManager, name)] == []


def test_what_the_page_awaits_is_a_coroutine_function() -> None:
    wanted = AWAITED + [name for name in members() if name.endswith("_async")]
    manager = mosaic_comms.CommsManager
    assert [name for name in wanted if not inspect.iscoroutinefunction(getattr(manager, name))] == []
