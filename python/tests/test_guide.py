"""The programs in Python on the pages of the guide run to their end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import WITHIN

PAGES = Path(__file__).parents[2] / "docs/guide/src"


def listings() -> list[tuple[str, str]]:
    """Every listing in Python, with the name of its page and its number on it."""
    found = []
    for page in sorted(PAGES.glob("*.md")):
        programs = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        found += [(f"{page.stem}-{number}", program) for number, program in enumerate(programs)]
    return found


def test_there_are_programs_to_run() -> None:
    assert len(listings()) >= 2


@pytest.mark.parametrize("program", [pytest.param(program, id=name) for name, program in listings()])
def test_a_program_of_the_guide_runs_to_its_end(program: str) -> None:
    line = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=WITHIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout, "it says what it does"
