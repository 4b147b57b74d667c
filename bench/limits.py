"""What extreme requests and answers cost, in time, at one size and at twice that.

    .venv/bin/pip install -e '.[test]' && .venv/bin/python bench/limits.py [WORD ...]

Each row is one case: its size, the seconds it took, and how many times longer twice the size
takes. About 2 is linear, 4 is quadratic. Words choose the cases whose name holds one of them.
"""

from __future__ import annotations

import argparse

from extremes import ANSWERS, DECODERS, REQUESTS, Case

LONG = 20.0
"""Seconds after which a case is not tried at twice its size."""
SMALLEST, CERTAIN = 0.05, 0.5
"""Seconds: what takes less says nothing about a ratio, or not for certain."""
SUSPICIOUS = 2.8
LARGEST = 64 * 1024 * 1024


def measure(name: str, size: int, case: Case) -> None:
    """Double the size until the time says something; then see whether the ratio stays high."""
    seconds, ratio = best(case, size), 0.0
    while ratio == 0 or (ratio > SUSPICIOUS and seconds < LONG):
        size *= 2
        if size > LARGEST:
            break
        before, seconds = seconds, best(case, size)
        if before >= SMALLEST:
            ratio = seconds / before
            if ratio > SUSPICIOUS and before >= CERTAIN:
                break
    mark = "  <---" if ratio > SUSPICIOUS else ""
    print(f"{name:<52} {size:>10,} {seconds:>9.3f} s {ratio:>6.1f}{mark}", flush=True)


def best(case: Case, size: int) -> float:
    """The least of a few runs, where they are short enough."""
    seconds = case(size)
    return min(seconds, *(case(size) for _ in range(2))) if seconds < 1 else seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="choose the cases whose name holds one")
    words = parser.parse_args().words
    print(f"{'case':<52} {'size':>10} {'time':>11} {'ratio':>6}")
    for room, cases in (("request", REQUESTS), ("answer", ANSWERS), ("bytes", DECODERS)):
        for name, (size, case) in cases.items():
            full = f"{room}: {name}"
            if not words or any(word in full for word in words):
                measure(full, size, case)


if __name__ == "__main__":
    main()
