"""The program of docs/python.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from conftest import WITHIN

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_program_of_the_page_runs(tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text(program)
    line = [sys.executable, "-W", "error", str(tmp_path / "page.py")]
    subprocess.run(line, timeout=WITHIN, check=True)
