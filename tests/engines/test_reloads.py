"""Loads that other programs cause, told apart from all others."""

from __future__ import annotations

import pytest
import pytest_twisted

from codex_bridge.engines.reloads import Before, ReloadWatch, remedy
from codex_bridge.vocabulary import FailureKind, Json, UpstreamFailure
from tests.engines.servers import Server, info

LOAD = 2.9
"""Seconds that a load takes."""
NAME = "qwen3:14b"


class Scene(Server):
    """A bridge that has asked a model once, so that it knows the model's context: 32768."""

    def __init__(self) -> None:
        super().__init__(4096)
        self.watch = ReloadWatch(self.models, self.ask, self.logger)

    async def begin(self) -> None:
        await self.planned()
        self.log.clear()
        await self.request(self.loaded, LOAD)

    async def request(self, found: int | None, load_seconds: float) -> None:
        """A request that finds the model loaded with a context, or not loaded."""
        self.loaded = found
        before = await self.watch.before(NAME)
        self.loaded = 32768
        self.watch.after(info(), before, load_seconds)

    @property
    def total(self) -> int:
        return self.models.get(NAME).reloads.total


@pytest_twisted.ensureDeferred
async def test_the_third_load_of_the_last_ten_requests_is_told_and_no_later_one() -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(2):
        await scene.request(8192, LOAD)
    await scene.request(32768, 0.006)
    assert scene.log == []
    await scene.request(32768, LOAD)
    await scene.request(8192, LOAD)
    assert scene.log == [
        f"{NAME}: Ollama loaded it anew 3 times in the last 6 requests, because other programs use "
        f"it with a context of 8192 tokens, and Codex with 32768: {remedy(info(), 32768)}"
    ]
    for _ in range(20):
        await scene.request(8192, LOAD)
    assert len(scene.log) == 1


@pytest_twisted.ensureDeferred
async def test_loads_that_are_far_apart_are_no_pattern() -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(5):
        await scene.request(32768, LOAD)
        await scene.request(8192, LOAD)
        for _ in range(8):
            await scene.request(32768, 0.006)
    assert (scene.total, scene.log) == (5, [])


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        # It was not in memory: its time was over, or another model needed the memory.
        (None, LOAD),
        # Ollama needs so long to look at the file of a model that is in memory.
        (32768, 0.7),
        # Ollama gives another context than it was asked for, and loads nothing anew.
        (30000, 0.006),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_no_other_program_causes_is_not_counted(
    found: int | None, seconds: float
) -> None:
    scene = Scene()
    await scene.begin()
    for _ in range(20):
        await scene.request(found, seconds)
    assert (scene.total, scene.log) == (0, [])


@pytest_twisted.ensureDeferred
async def test_several_requests_at_a_time_that_see_one_change_count_one_load() -> None:
    scene = Scene()
    await scene.begin()
    scene.loaded = 8192
    seen = [await scene.watch.before(NAME) for _ in range(5)]
    for before in seen:
        scene.watch.after(info(), before, LOAD)
    assert (scene.total, scene.log) == (1, [])


@pytest_twisted.ensureDeferred
async def test_a_model_that_was_not_asked_yet_is_not_looked_at() -> None:
    server = Server(4096)
    server.loaded = 8192
    watch = ReloadWatch(server.models, server.ask, server.logger)
    assert await watch.before(NAME) == Before(None, 0)


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_tell_what_is_loaded_fails_no_request() -> None:
    scene = Scene()
    await scene.begin()

    async def fails(method: str, path: str, body: Json | None) -> Json | None:
        raise UpstreamFailure(FailureKind.UNREACHABLE, "gone")

    watch = ReloadWatch(scene.models, fails, scene.logger)
    assert await watch.before(NAME) == Before(None, 0)


@pytest.mark.parametrize(
    ("own", "helps"),
    [
        (None, "set OLLAMA_CONTEXT_LENGTH=32768 for Ollama, or start the bridge with"),
        # A Modelfile's context counts more than that variable.
        (8192, "start the bridge with"),
    ],
)
def test_the_remedy_is_one_that_helps(own: int | None, helps: str) -> None:
    assert remedy(info(own_context=own), 32768) == (
        f"{helps} --share-context, if they go through it; those that name a context in their "
        f"requests have to name this one"
    )
