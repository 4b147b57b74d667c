"""Every tool of every version of the real Codex CLI, called in every way that models call."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.threads import deferToThread

from tests.codex import walk
from tests.codex.app_server import converse
from tests.codex.conftest import run
from tests.codex.program import NEEDS_CLI, OLDEST_AND_NEWEST, VERSIONS, Codex
from tests.codex.scenario import DONE, Chat, Scenario, Step, Style, real
from tests.codex.styles import LEAKED, MARKS, Writer, leaked
from tests.conftest import Start
from tests.fake_ollama import Playlist, Say

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


DECLARED: dict[tuple[Any, ...], frozenset[str]] = {}


async def declared(codex: Codex, *flags: str, **model: Any) -> frozenset[str]:
    """The names of the tools that this version declares; asked for once."""
    key = (codex.version, flags, tuple(model.items()))
    if key not in DECLARED:
        arguments = [*walk.settings(codex.folder, **model), *flags]
        DECLARED[key] = await deferToThread(codex.declared_tools, *arguments)
    return DECLARED[key]


def own(tools: frozenset[str]) -> list[Step]:
    """Codex's own tools, except those for agents and the terminal.

    Not every version has a tool for plans.
    """
    plan = [walk.plan()] if "update_plan" in tools else []
    return [walk.command(), *plan, walk.picture(), walk.patch()]


def searched(tools: frozenset[str]) -> list[Step]:
    """The tools of the server, and those for agents, which some versions declare at once."""
    of_server = walk.search("reverse text, show arguments, image picture", "reverse_text")
    agents = [] if "spawn_agent" in tools else [walk.search("spawn wait agent", "spawn_agent")]
    return [of_server, *walk.server(), *agents, *walk.agents()]


@pytest_twisted.ensureDeferred
async def test_declared_tools_work(start: Start, codex: Codex) -> None:
    tools = await declared(codex)
    steps = [*own(tools), *walk.terminal(), *walk.server(), *walk.agents()]
    await walk_through(start, codex, steps, options={"tool_profile": "full"})


@pytest.mark.parametrize("api", ["chat", "ollama"])
@pytest_twisted.ensureDeferred
async def test_tools_found_by_a_search_work(start: Start, codex: Codex, api: str) -> None:
    tools = await declared(codex, supports_search_tool=True)
    steps = [*own(tools), *walk.terminal(), *searched(tools)]
    options = {"upstream_api": api}
    await walk_through(start, codex, steps, options=options, supports_search_tool=True)


@pytest_twisted.ensureDeferred
async def test_experimental_tools_work(start: Start, codex: Codex) -> None:
    """Code mode, the second kind of agents, and since 0.169 tools declared by an item."""
    flags = ["--enable", "code_mode", "--enable", "multi_agent_v2"]
    tools = await declared(codex, *flags, use_responses_lite=True)
    steps = [*own(tools), walk.code(), *walk.server(), *walk.team()]
    options = {"tool_profile": "compact"}
    await walk_through(start, codex, steps, *flags, options=options, use_responses_lite=True)


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_programs_can_call_every_tool_though_few_words_describe_them(
    start: Start, codex: Codex
) -> None:
    scenario = Scenario(walk.program())
    walk.prepare(codex.folder)
    setup = await start(scenario)
    flags = ["--enable", "code_mode_only"]
    done = await run(codex, setup, *walk.settings(codex.folder), *flags, walk.TASK)
    scenario.verify(setup.fake.turns)
    assert done.code == 0, done.output
    assert walk.left(codex.folder) == {"notes.txt": walk.NOTES} | scenario.leaves
    (declared,) = (
        tool["function"]
        for tool in setup.fake.turns[0].json["tools"]
        if tool["function"]["name"] == "exec"
    )
    for name in ("exec_command", "apply_patch", "view_image", "spawn_agent", "reverse_text"):
        assert f"{name}(" in declared["description"]
    assert len(declared["description"]) < 6_000


@pytest.mark.parametrize("codex", OLDEST_AND_NEWEST, indirect=True)
@pytest_twisted.ensureDeferred
async def test_the_model_can_ask_the_user_once_codex_has_planned(
    start: Start, codex: Codex
) -> None:
    setup = await start(Playlist(*3 * [[Say("ok")]]))
    modes = ["default", "plan", "default"]
    ended = await deferToThread(converse, codex, setup.url, ["a", "b", "c"], modes)
    assert ended == 3 * ["completed"]
    offered = [Chat(turn.json).offers("request_user_input") for turn in setup.fake.turns]
    assert offered == [False, True, True]


@pytest.mark.parametrize("write", LEAKED, ids=lambda write: write.__name__)
@pytest.mark.parametrize("codex", VERSIONS[-1:], indirect=True)
@pytest_twisted.ensureDeferred
async def test_calls_written_as_text_work(start: Start, codex: Codex, write: Writer) -> None:
    tools = await declared(codex, supports_search_tool=True)
    steps = [*own(tools), *walk.terminal(), *searched(tools)]
    style = leaked(write)
    shown = await walk_through(start, codex, steps, style=style, supports_search_tool=True)
    assert not [mark for mark in MARKS if mark in shown]


@pytest.mark.parametrize("first", range(0, len(LEAKED), 3))
@pytest.mark.parametrize("codex", VERSIONS[:-1], indirect=True)
@pytest_twisted.ensureDeferred
async def test_calls_written_each_in_another_way_work(
    start: Start, codex: Codex, first: int
) -> None:
    """The style depends on the model, not on Codex, so a third of the pairs is enough here."""
    tools = await declared(codex, supports_search_tool=True)
    steps = [
        evolve(step, style=leaked(LEAKED[(first + n) % len(LEAKED)]))
        for n, step in enumerate([*own(tools), *searched(tools)])
    ]
    shown = await walk_through(start, codex, steps, supports_search_tool=True)
    assert not [mark for mark in MARKS if mark in shown]
