"""twistd on a machine that sleeps, and whose wall clock is set.

    python -P bench/soak/jumpy.py FILE [twistd's arguments]

FILE holds what the clocks of this process are ahead of the real ones, and the soak changes it. It
runs as a script, without its package, since Twisted must find the clocks replaced already.
"""

from __future__ import annotations

import mmap
import sys
import time
from functools import partial
from pathlib import Path

PLACES = {time.CLOCK_REALTIME: 0, time.CLOCK_BOOTTIME: 1}
"""Where the file has the seconds by which a clock is ahead."""


class Clocks:
    """The clocks of one process, shared through a file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._ahead = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")

    @classmethod
    def make(cls, path: Path) -> Clocks:
        """Make the file, with clocks that are right."""
        path.write_bytes(bytes(8 * len(PLACES)))
        return cls(path)

    @property
    def wall(self) -> float:
        """Seconds by which the wall clock is ahead."""
        return self._ahead[PLACES[time.CLOCK_REALTIME]]

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self._ahead[PLACES[time.CLOCK_REALTIME]] += seconds

    def sleep(self, seconds: float) -> None:
        """What a sleep of the machine does: only the monotonic clock stands meanwhile."""
        self._ahead[PLACES[time.CLOCK_BOOTTIME]] += seconds
        self.jump(seconds)

    def install(self) -> None:
        """Let this process have these clocks."""
        real = time.clock_gettime_ns

        def nanoseconds(clock: int) -> int:
            ahead = self._ahead[PLACES[clock]] if clock in PLACES else 0.0
            return real(clock) + int(ahead * 1e9)

        def seconds(clock: int) -> float:
            return nanoseconds(clock) / 1e9

        time.clock_gettime_ns, time.clock_gettime = nanoseconds, seconds
        time.time_ns = partial(nanoseconds, time.CLOCK_REALTIME)
        time.time = partial(seconds, time.CLOCK_REALTIME)


def main() -> None:
    Clocks(Path(sys.argv[1])).install()
    sys.argv = ["twistd", *sys.argv[2:]]
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
