"""What the scripts that measure a peer in Python have in common: the two processes and the sheet of figures.

A script is started as `SCRIPT measure PINNING MILLISECONDS [VARIANT]` and prints a line `FIGURE VALUE` a figure, in seconds,
bytes, or so many a second; which figures there are is in `yardsticks/src/figures.rs`. It starts itself again as the process that
serves. Both end when their standard input does.
"""

import os
import subprocess
import sys
import threading
import time

#: How often something is done at most, however quick it is.
MOST = 200_000


class Sheet:
    """Where figures are written, each after `span` seconds of measuring."""

    def __init__(self, milliseconds):
        self.span = milliseconds / 1000

    def write(self, figure, value):
        print(figure, repr(float(value)), flush=True)

    def write_times(self, figure, times):
        """Writes the median and the 99th percentile of times."""
        times = sorted(times)
        self.write(f"{figure}-p50", times[len(times) // 2])
        self.write(f"{figure}-p99", times[min(len(times) * 99 // 100, len(times) - 1)])

    def times(self, action):
        """The times that `action` takes for a span, and at least three; a fifth of it before does not count."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < self.span / 5:
            action()
        times, begun = [], time.perf_counter()
        while len(times) < 3 or (time.perf_counter() - begun < self.span and len(times) < MOST):
            start = time.perf_counter()
            action()
            times.append(time.perf_counter() - start)
        return times

    async def times_async(self, action):
        """As `times`, for an action that is awaited."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < self.span / 5:
            await action()
        times, begun = [], time.perf_counter()
        while len(times) < 3 or (time.perf_counter() - begun < self.span and len(times) < MOST):
            start = time.perf_counter()
            await action()
            times.append(time.perf_counter() - start)
        return times


def end_with_parent():
    """Ends this process as soon as its standard input ends."""

    def wait():
        # From the descriptor itself: the buffered reader's lock would be held as the interpreter ends.
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Server:
    """The serving process, which is this script again; killed on leaving the `with`."""

    def __init__(self, *details):
        command = [sys.executable, sys.argv[0], "serve", *details]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self):
        """The next line that it prints, such as its address."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the serving process ended early")
        return line.strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def main(serve, measure):
    """Runs `serve(*details)` or `measure(sheet, *variant)`, as the command line says."""
    end_with_parent()
    match sys.argv[1:]:
        case ["serve", *details]:
            serve(*details)
        case ["measure", pinning, milliseconds, *variant]:
            if pinning == "pinned":
                os.sched_setaffinity(0, {0})
            measure(Sheet(float(milliseconds)), *variant)
        case _:
            sys.exit(f"usage: {sys.argv[0]} measure pinned|default MILLISECONDS [VARIANT]")
