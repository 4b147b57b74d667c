"""Every tool of every version of the real Codex CLI, called in every way that models call."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from tests.codex import walk
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, VERSIONS, Codex
from tests.codex.scenario import DONE, Scenario, Step, Style, real
from tests.codex.styles import LEAKED, MARKS, Writer, leaked
from tests.conftest import Start

pytestmark = NEEDS_CLI


async def walk_through(
    start: Start,
    codex: Codex,
    steps: list[Step],
    *flags: str,
    style: Style = real,
    options: dict[str, Any] | None = None,
    **model: Any,
) -> str:
    """Let a model take `steps` in one session; what its user saw.

    `flags` are the CLI's, `options` the bridge's, `model` is for the catalog.
    """
    walk.prepare(codex.folder)
    scenario = Scenario(steps, walk.CHILD_STEPS, style)
    setup = await start(scenario, **(options or {}))
    done = await run(codex, setup, *walk.settings(codex.folder, **model), *flags, walk.TASK)
    scenario.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert DONE in done.output
    assert walk.left(codex.folder) == {"notes.txt": walk.NOTES} | scenario.leaves
    return done.output


def own(codex: Codex) -> list[Step]:
    """Codex's own tools, but those for agents and the terminal."""
    plan = [] if codex.version == "0.169.0" else [walk.plan()]
    return [walk.command(), *plan, walk.picture(), walk.patch()]


def searched(codex: Codex) -> list[Step]:
    """The tools of the server and, where they are not declared, those for agents."""
    tools = walk.search("reverse text, show arguments, image picture", "reverse_text")
    agents = [] if codex.version == "0.130.0" else [walk.search("spawn wait agent", "spawn_agent")]
    return [tools, *walk.server(), *agents, *walk.agents()]


@pytest_twisted.ensureDeferred
async def test_declared_tools_work(start: Start, codex: Codex) -> None:
    steps = [*own(codex), *walk.terminal(), *walk.server(), *walk.agents()]
    await walk_through(start, codex, steps, options={"tool_profile": "full"})


@pytest.mark.parametrize("api", ["chat", "ollama"])
@pytest_twisted.ensureDeferred
async def test_tools_found_by_a_search_work(start: Start, codex: Codex, api: str) -> None:
    steps = [*own(codex), *walk.terminal(), *searched(codex)]
    options = {"upstream_api": api}
    await walk_through(start, codex, steps, options=options, supports_search_tool=True)


@pytest_twisted.ensureDeferred
async def test_experimental_tools_work(start: Start, codex: Codex) -> None:
    """Code mode, the second kind of agents, and since 0.169 tools declared by an item."""
    flags = ["--enable", "code_mode", "--enable", "multi_agent_v2"]
    steps = [*own(codex), walk.code(), *walk.server(), *walk.team()]
    options = {"tool_profile": "compact"}
    await walk_through(start, codex, steps, *flags, options=options, use_responses_lite=True)


@pytest.mark.parametrize("write", LEAKED, ids=lambda write: write.__name__)
@pytest.mark.parametrize("codex", VERSIONS[-1:], indirect=True)
@pytest_twisted.ensureDeferred
async def test_calls_written_as_text_work(start: Start, codex: Codex, write: Writer) -> None:
    steps = [*own(codex), *walk.terminal(), *searched(codex)]
    style = leaked(write)
    shown = await walk_through(start, codex, steps, style=style, supports_search_tool=True)
    assert not [mark for mark in MARKS if mark in shown]


@pytest.mark.parametrize("first", range(0, len(LEAKED), 3))
@pytest.mark.parametrize("codex", VERSIONS[:-1], indirect=True)
@pytest_twisted.ensureDeferred
async def test_calls_written_each_in_another_way_work(
    start: Start, codex: Codex, first: int
) -> None:
    """What is written depends on the model, not on Codex: a third of the pairs will do here."""
    steps = [
        evolve(step, style=leaked(LEAKED[(first + n) % len(LEAKED)]))
        for n, step in enumerate([*own(codex), *searched(codex)])
    ]
    shown = await walk_through(start, codex, steps, supports_search_tool=True)
    assert not [mark for mark in MARKS if mark in shown]
