"""Which kinds of servers read ahead: those that keep a prompt and stop when the bridge leaves."""

from __future__ import annotations

import pytest
import pytest_twisted

from codex_bridge.responses.request import read
from tests.harness import CODEX, REQUEST
from tests.servers.conftest import Begin
from tests.servers.double import Double, Kind
from tests.servers.kinds import KINDS, LLAMA_SWAP, MODEL, OTHER, ROUTER, SPOKEN

READS = {"vLLM", "SGLang", "llama-swap", "llama.cpp"}
ALL = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def readings(double: Double) -> int:
    """How often it was asked to read instructions."""
    return sum("Read this." in str(body["messages"]) for body in double.short)


@ALL
@pytest_twisted.ensureDeferred
async def test_a_server_reads_ahead_if_leaving_it_ends_the_reading(
    begin: Begin, kind: Kind
) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    body = REQUEST | {"model": MODEL, "instructions": "Read this."}
    for _ in range(2):
        await setup.service.read_ahead.begin(read(body | {"input": []}))
    # The second time the server has it.
    assert readings(double) == (kind.name in READS)
    await setup.ask(body, CODEX)
    await setup.service.read_ahead.begin(read(body | {"input": []}))
    assert readings(double) == (kind.name in READS)


@pytest.mark.parametrize("kind", [LLAMA_SWAP, ROUTER], ids=["llama-swap", "router"])
@pytest_twisted.ensureDeferred
async def test_no_model_is_loaded_in_the_place_of_another_one(begin: Begin, kind: Kind) -> None:
    double, setup = await begin(kind, kind.stream(*SPOKEN[kind.name]))
    body = REQUEST | {"model": OTHER, "instructions": "Read this.", "input": []}
    await setup.service.read_ahead.begin(read(body))
    assert double.short == []
