"""How the time for extreme requests and answers grows with their size.

    python -m bench limits [WORD ...]

Each row is one case: its size, the seconds it took, and how many times longer it takes at twice
the size. About 2 is linear, 4 is quadratic; an arrow marks what grows faster than linear. Only
cases whose name contains one of the words are run; without words, all.
"""

from __future__ import annotations

import argparse

from bench.extremes import Case, chosen
from codex_bridge.vocabulary import UpstreamFailure

LONG = 20.0
"""Seconds after which a case is not tried at twice its size."""
SMALLEST, CERTAIN = 0.05, 0.5
"""Seconds: below the first a ratio says nothing, below the second it is measured again."""
SUSPICIOUS = 2.8
"""Ratio above which a case seems to grow faster than linear."""
LARGEST = 64 * 1024 * 1024
"""Size at which a case ends without a verdict."""


def measure(name: str, size: int, case: Case) -> None:
    """Double the size until the ratio is measurable, and on while it is suspicious; print it."""
    while (seconds := best(case, size)) is None:
        size //= 2
    ratio = 0.0
    while ratio == 0 or (ratio > SUSPICIOUS and seconds < LONG):
        size *= 2
        if size > LARGEST:
            break
        longer = best(case, size)
        if longer is None:
            size //= 2
            break
        before, seconds = seconds, longer
        if before >= SMALLEST:
            ratio = seconds / before
            if ratio > SUSPICIOUS and before >= CERTAIN:
                break
    mark = "  <---" if ratio > SUSPICIOUS else ""
    print(f"{name:<52} {size:>10,} {seconds:>9.3f} s {ratio:>6.1f}{mark}", flush=True)


def best(case: Case, size: int) -> float | None:
    """Seconds of the fastest of three runs; of one, if that takes a second or more.

    None if the answer has more calls, or larger ones, than an answer may have.
    """
    try:
        seconds = case(size)
    except UpstreamFailure:
        return None
    return min(seconds, *(case(size) for _ in range(2))) if seconds < 1 else seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="run the cases whose name contains one")
    print(f"{'case':<52} {'size':>10} {'time':>11} {'ratio':>6}")
    for name, size, case in chosen(parser.parse_args().words):
        measure(name, size, case)
