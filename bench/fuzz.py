"""Runs the random tests for longer than a test may run, with new seeds each time.

    python -m bench fuzz --seconds 600 [PROPERTY ...]

Prints how many examples each property was tried with. An example that breaks one is reduced to
its smallest form and printed.
"""

from __future__ import annotations

import argparse
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from codex_bridge.tools.shown import ToolProfile
from codex_bridge.tools.toolbox import Toolbox
from tests import fuzzing

EXAMPLES = 2000
"""Examples in one round of one property; each round has a seed of its own."""
profiles = st.sampled_from(list(ToolProfile))


def decoding(data: st.DataObject, decoder: Any, foreign: bool) -> None:
    strategies = fuzzing.ANSWERS
    answer = st.one_of(*strategies.values()) if foreign else strategies[decoder]
    fuzzing.decoded_alike(decoder, data.draw(answer), data.draw(fuzzing.cuts))


def streaming(reads: Any, tools: list[Any], failure: Any, repair: bool) -> None:
    fuzzing.streamed(reads, Toolbox.from_request(tools), failure, repair=repair)


PROPERTIES: dict[str, tuple[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    "request": (fuzzing.translated, (fuzzing.requests, fuzzing.infos, profiles)),
    "decoder": (decoding, (st.data(), st.sampled_from(list(fuzzing.ANSWERS)), st.booleans())),
    "stream": (
        streaming,
        (fuzzing.answers, fuzzing.toolboxes, fuzzing.failures, st.booleans()),
    ),
    "cuts": (fuzzing.streamed_alike, (fuzzing.texts, fuzzing.cuts)),
    "scanner": (fuzzing.scanned_alike, (fuzzing.texts, fuzzing.cuts)),
}


def run(name: str, number: int, counted: Counter[str]) -> bool:
    """Run one round of a property with the seed `number`; whether the property held."""
    check, strategies = PROPERTIES[name]

    def counting(values: Any) -> None:
        counted[name] += 1
        check(*values)

    test = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )(seed(number)(given(st.tuples(*strategies))(counting)))
    try:
        test()
    except Exception:
        print(f"--- {name}, seed {number}")
        traceback.print_exc()
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PROPERTIES)}; all by default")
    options = parser.parse_args()
    counted: Counter[str] = Counter()
    broken: Counter[str] = Counter()
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        for name in options.names or PROPERTIES:
            broken[name] += not run(name, random.getrandbits(64), counted)
            if time.monotonic() >= end:
                break
    for name, number in counted.items():
        print(f"{name:<10} {number:>10,} examples, {broken[name]} broken rounds")
