"""What Ollama tells of its models, and how often it is asked."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from codex_bridge.engines.engine import ContextPolicy
from codex_bridge.engines.models import ModelTable
from codex_bridge.engines.ollama import canonical, running_facts, shown_info, version_number
from codex_bridge.vocabulary import FailureKind, Json, ModelInfo, UpstreamFailure
from tests.engines.servers import logger_into

SHOWN: Json = {
    "parameters": "temperature                    0.7\ntop_p                          0.8\n"
    'stop                           "<|im_end|>"\nnum_ctx                        16384\n',
    "template": "{{ .Tools }}<tool_call>",
    "details": {"family": "qwen3"},
    "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
    "capabilities": ["completion", "tools"],
}


def test_what_show_says() -> None:
    assert shown_info("qwen3:14b", SHOWN) == ModelInfo(
        "qwen3:14b",
        capabilities=frozenset({"completion", "tools"}),
        family="qwen3",
        template="{{ .Tools }}<tool_call>",
        trained_context=40960,
        own_context=16384,
        temperature=0.7,
        top_p=0.8,
    )


@pytest.mark.parametrize(
    "shown", [{}, {"parameters": 5, "details": [], "model_info": None, "capabilities": "x"}]
)
def test_what_show_does_not_say_is_unknown(shown: Json) -> None:
    assert shown_info("m", shown) == ModelInfo("m")


@pytest.mark.parametrize(
    ("name", "running", "allocated"),
    [
        ("qwen3", [{"name": "qwen3:latest", "context_length": 4096}], 4096),
        ("Qwen3:14b", [{"name": "qwen3:14b", "context_length": 8192}], 8192),
        ("qwen3:14b", [{"name": "qwen3:8b", "context_length": 8192}], None),
        ("qwen3:14b", [{"name": "qwen3:14b"}], None),
        ("qwen3:14b", [5], None),
    ],
)
def test_what_it_is_loaded_with(name: str, running: Any, allocated: int | None) -> None:
    assert running_facts(name, {"models": running}).get("allocated_context") == allocated


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.33.0-rc2", (0, 33, 0)), ("v0.9.6", (0, 9, 6)), ("banana", None), (None, None)],
)
def test_versions(text: Any, number: Any) -> None:
    assert version_number(text) == number


class Ollama:
    """Answers at once, or when it is told to."""

    def __init__(self, api: str = "auto", **policy: Any) -> None:
        self.asked: list[str] = []
        self.log: list[str] = []
        self.missing = False
        self.trouble: dict[str, UpstreamFailure] = {}
        self.version: Json | None = {"version": "0.33.0"}
        self.hold: Deferred[Any] | None = None
        self.clock = Clock()
        log = logger_into(self.log)
        self.table = ModelTable(self.ask, ContextPolicy(api, **policy), self.clock, log)

    def ask(self, method: str, path: str, body: Json | None) -> Deferred[Json | None]:
        self.asked.append(path)
        if path in self.trouble:
            return fail(self.trouble[path])
        if path == "/api/version":
            return self.hold or succeed(self.version)
        if path == "/api/show":
            return succeed(None if self.missing else SHOWN)
        return succeed({"models": []})

    def info(self, name: str = "m") -> Deferred[ModelInfo]:
        return Deferred.fromCoroutine(self.table.info(name))


ROUND = ["/api/version", "/api/show", "/api/ps"]


@pytest_twisted.ensureDeferred
async def test_a_warm_model_is_never_waited_for() -> None:
    ollama = Ollama()
    assert (await ollama.info()).temperature == 0.7
    assert ollama.asked == ROUND
    ollama.clock.advance(29)
    await ollama.info()
    assert ollama.asked == ROUND
    ollama.clock.advance(1)
    ollama.hold = Deferred()
    # Old, so it is asked for again, behind the answer.
    assert (await ollama.info()).temperature == 0.7
    assert (await ollama.info()).temperature == 0.7
    assert ollama.asked == [*ROUND, "/api/version"]
    ollama.hold.callback({"version": "0.34.0"})
    assert (await ollama.info()).server_version == (0, 34, 0)


@pytest_twisted.ensureDeferred
async def test_questions_at_the_same_time_share_one_answer_and_one_may_leave() -> None:
    ollama = Ollama()
    ollama.hold = Deferred()
    first, second = ollama.info(), ollama.info()
    first.addErrback(lambda failure: failure.trap(CancelledError))
    first.cancel()
    ollama.hold.callback({"version": "0.33.0"})
    assert (await second).temperature == 0.7
    assert ollama.asked == ROUND


@pytest_twisted.ensureDeferred
async def test_a_missing_model_is_asked_for_again_each_time() -> None:
    ollama = Ollama()
    ollama.missing = True
    assert await ollama.info() == ModelInfo("m", server_version=(0, 33, 0))
    ollama.missing = False
    assert (await ollama.info()).temperature == 0.7


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_forgotten_is_asked_for_before_it_is_used() -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.table.forget("m")
    await ollama.info()
    assert ollama.asked == ROUND + ROUND


@pytest_twisted.ensureDeferred
async def test_what_is_very_old_is_asked_for_before_it_is_used() -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.version = {"version": "0.34.0"}
    ollama.clock.advance(50)
    assert (await ollama.info()).server_version == (0, 34, 0)


@pytest.mark.parametrize("name", ["m", None])
@pytest_twisted.ensureDeferred
async def test_what_is_doubted_is_asked_for_before_it_is_used(name: str | None) -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.table.doubt("another")
    await ollama.info("another")
    ollama.asked.clear()
    assert ollama.asked == []
    ollama.table.doubt(name)
    await ollama.info()
    await ollama.info()
    assert ollama.asked == ROUND


@pytest_twisted.ensureDeferred
async def test_renewing_does_not_share_an_answer_that_began_before() -> None:
    ollama = Ollama()
    ollama.hold = Deferred()
    early = ollama.info()
    late = Deferred.fromCoroutine(ollama.table.renewed("m"))
    hold, ollama.hold = ollama.hold, None
    hold.callback({"version": "0.33.0"})
    await early
    assert (await late).temperature == 0.7
    assert ollama.asked == ROUND + ROUND


DOWN = UpstreamFailure(FailureKind.UNREACHABLE, "no answer within 20 s")
OFF = UpstreamFailure(FailureKind.NOT_RUNNING, "connection refused")
ILL = UpstreamFailure(FailureKind.REFUSED, "HTTP status 500", 500)


@pytest.mark.parametrize("failure", [DOWN, OFF])
@pytest_twisted.ensureDeferred
async def test_no_answer_where_nothing_is_known_is_no_fact(failure: UpstreamFailure) -> None:
    ollama = Ollama()
    ollama.trouble = {"/api/version": failure}
    for _ in range(2):
        with pytest.raises(UpstreamFailure) as caught:
            await ollama.info()
        assert caught.value is failure
    ollama.trouble.clear()
    assert (await ollama.info()).temperature == 0.7


@pytest.mark.parametrize("path", ["/api/version", "/api/show"])
@pytest.mark.parametrize("failure", [DOWN, ILL])
@pytest_twisted.ensureDeferred
async def test_no_answer_changes_nothing_of_what_is_known(
    path: str, failure: UpstreamFailure
) -> None:
    ollama = Ollama()
    known = await ollama.info()
    ollama.trouble = {path: failure}
    for wait in (30, 1.0, 50, 1.0):
        ollama.clock.advance(wait)
        assert await ollama.info() == known
    # Not every exchange waits for such a server.
    asked = len(ollama.asked)
    await ollama.info()
    assert len(ollama.asked) == asked


@pytest_twisted.ensureDeferred
async def test_a_doubted_server_has_to_answer() -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.table.doubt()
    for failure in (DOWN, ILL):
        ollama.trouble = {"/api/version": failure}
        with pytest.raises(UpstreamFailure):
            await ollama.info()


@pytest.mark.parametrize("failure", [DOWN, ILL])
@pytest_twisted.ensureDeferred
async def test_an_ollama_that_does_not_tell_of_its_models_is_ollama(
    failure: UpstreamFailure,
) -> None:
    ollama = Ollama()
    ollama.trouble = {"/api/show": failure}
    assert await ollama.info() == ModelInfo("m", server_version=(0, 33, 0))
    ollama.trouble = {"/api/ps": failure}
    info = await ollama.info()
    assert (info.temperature, info.allocated_context) == (0.7, None)


@pytest.mark.parametrize("version", [None, {}, {"version": None}, {"status": "ok"}])
@pytest_twisted.ensureDeferred
async def test_only_what_has_a_version_is_ollama(version: Json | None) -> None:
    ollama = Ollama()
    ollama.version = version
    assert await ollama.info() == ModelInfo("m")
    ollama.trouble = {"/api/version": ILL}
    ollama.table.doubt()
    assert await ollama.info() == ModelInfo("m")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("glm-4.6:cloud", {}),
        ("GLM-4.6:Cloud", {}),
        ("qwen3-coder:480b-cloud", {}),
        ("mine", {"remote_model": "glm-4.6"}),
        ("mine", {"remote_host": "https://ollama.com:443"}),
    ],
)
def test_models_in_the_cloud_are_told_by_name_or_by_ollama(name: str, shown: Json) -> None:
    assert shown_info(name, SHOWN | shown).is_remote
    assert not shown_info("cloudy:14b", SHOWN).is_remote


SPELLINGS = (
    *("qwen3", "Qwen3:latest", "library/qwen3", "registry.ollama.ai/library/QWEN3:Latest"),
)


def test_one_model_has_one_name_however_it_is_spelled() -> None:
    assert {canonical(name) for name in SPELLINGS} == {"qwen3:latest"}
    others = ("qwen3:14b", "me/qwen3", "hf.co/me/Qwen3:Q4", "hf.co:443/me/qwen3", "qwen")
    assert len({canonical(name) for name in others}) == len(others)
    assert canonical("hf.co:443/me/qwen3") == "hf.co:443/me/qwen3:latest"


@pytest_twisted.ensureDeferred
async def test_all_spellings_share_one_entry() -> None:
    ollama = Ollama()
    for name in SPELLINGS:
        assert (await ollama.info(name)).is_described
    assert ollama.asked == ROUND
    (model,) = ollama.table
    assert model.name == SPELLINGS[0]


@pytest_twisted.ensureDeferred
async def test_other_servers_tell_names_apart_by_every_letter() -> None:
    ollama = Ollama()
    ollama.version = None
    for name in ("Model", "model", "model:latest", "Model"):
        assert await ollama.info(name) == ModelInfo(name)
    assert [model.name for model in ollama.table] == ["model", "model:latest", "Model"]
    assert ollama.asked == ["/api/version", "/v1/models"] * 3


@pytest_twisted.ensureDeferred
async def test_the_table_is_bounded_and_the_model_unused_for_longest_goes_first() -> None:
    ollama = Ollama()
    for n in range(64):
        await ollama.info(f"m{n}")
    await ollama.info("m0")
    await ollama.info("new")
    ollama.asked.clear()
    for name in ("new", "m0", "m63"):
        await ollama.info(name)
    assert ollama.asked == []
    assert len(list(ollama.table)) == 64
    await ollama.info("m1")
    assert ollama.asked == ROUND


def test_a_model_that_was_loaded_to_learn_of_it_goes_last() -> None:
    """A long list of models must not make the one that is worked with load again."""
    table = Ollama().table
    loaded = table.get("loaded")
    loaded.default_context = 4096
    for n in range(130):
        table.get(f"m{n}")
    assert table.get("loaded") is loaded


@pytest_twisted.ensureDeferred
async def test_a_model_that_is_in_use_keeps_its_entry() -> None:
    ollama = Ollama()
    ollama.hold = Deferred()
    asking = ollama.info("asked")
    asked, held = ollama.table.get("asked"), ollama.table.get("held")
    held.loading.acquire()
    for n in range(130):
        ollama.table.get(f"m{n}")
    assert ollama.table.get("asked") is asked
    assert ollama.table.get("held") is held
    ollama.hold.callback({"version": "0.33.0"})
    await asking
    held.loading.release()
    for n in range(130):
        ollama.table.get(f"m{n}")
    assert len(list(ollama.table)) == 64
    assert held not in list(ollama.table)


def test_a_new_model_gets_its_entry_though_all_others_are_in_use() -> None:
    table = Ollama().table
    for n in range(64):
        table.get(f"m{n}").loading.acquire()
    new = table.get("new")
    assert table.get("new") is new


@pytest.mark.parametrize(
    ("api", "version", "path"),
    [
        ("auto", {"version": "0.33.0"}, "/api/chat"),
        ("auto", {"version": "banana"}, "/api/chat"),
        ("auto", None, "/v1/chat/completions"),
        ("ollama", None, "/api/chat"),
        ("ollama", {"version": "0.33.0"}, "/api/chat"),
        ("chat", {"version": "0.33.0"}, "/v1/chat/completions"),
        ("chat", None, "/v1/chat/completions"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_engine_is_chosen_by_the_users_word_or_by_who_answers(
    api: str, version: Json | None, path: str
) -> None:
    ollama = Ollama(api)
    ollama.version = version
    await ollama.info()
    assert ollama.table.engine.path == path


@pytest_twisted.ensureDeferred
async def test_the_engine_is_chosen_once_and_anew_only_for_another_server() -> None:
    ollama = Ollama()
    await ollama.info()
    engine = ollama.table.engine
    ollama.table.doubt()
    await ollama.info()
    await ollama.info("another")
    ollama.trouble = {"/api/version": ILL}
    await ollama.info("a third")
    assert ollama.table.engine is engine
    ollama.trouble = {}
    ollama.version = None
    ollama.table.doubt()
    await ollama.info()
    assert ollama.table.engine.path == "/v1/chat/completions"


@pytest_twisted.ensureDeferred
async def test_the_word_ollama_makes_the_facts_asked_for_whoever_answers() -> None:
    ollama = Ollama("ollama")
    ollama.version = None
    assert (await ollama.info()).temperature == 0.7


@pytest_twisted.ensureDeferred
async def test_an_ollama_that_is_too_old_is_told_once() -> None:
    ollama = Ollama()
    ollama.version = {"version": "0.9.6"}
    for name in ("m", "n"):
        assert (await ollama.info(name)).server_version == (0, 9, 6)
        ollama.table.doubt()
        await ollama.info(name)
    assert ollama.log == [
        "Ollama 0.9.6 is older than 0.13.4, the oldest that codex-bridge supports: update it"
    ]


@pytest.mark.parametrize("policy", [{"num_ctx": 8192}, {"keep_alive": "5m"}])
@pytest_twisted.ensureDeferred
async def test_options_that_a_server_cannot_follow_are_told_once(policy: Any) -> None:
    other = Ollama(**policy)
    other.version = None
    for name in ("m", "n"):
        await other.info(name)
    assert other.log == ["--num-ctx and --keep-alive have no effect: the upstream is not Ollama"]


@pytest.mark.parametrize("version", ["0.13.4", "0.33.0-rc2", "0.0.0", "banana"])
@pytest_twisted.ensureDeferred
async def test_no_other_version_is_remarked_on(version: str) -> None:
    ollama = Ollama()
    ollama.version = {"version": version}
    await ollama.info()
    assert ollama.log == []


@pytest_twisted.ensureDeferred
async def test_what_a_model_was_refused_is_kept_over_an_idle_close_and_forgotten_in_time() -> None:
    ollama = Ollama()
    await ollama.info()
    ollama.clock.advance(1000)
    ollama.table.note_lack("m", "tools")
    ollama.table.doubt()
    assert not (await ollama.info()).can("tools")
    ollama.clock.advance(599)
    assert not (await ollama.info()).can("tools")
    ollama.clock.advance(1)
    assert (await ollama.info()).lacks == frozenset()


@pytest_twisted.ensureDeferred
async def test_whether_a_model_is_shown_tools_is_not_tried_again_for_ten_minutes() -> None:
    ollama = Ollama()
    # The clock of a machine that has been up for long.
    ollama.clock.advance(100_000)
    await ollama.info()
    ollama.table.note_trial("m")
    for seconds, is_known in ((0, True), (599, True), (1, False)):
        ollama.clock.advance(seconds)
        await ollama.info()
        assert ollama.table.get("m").is_tried is is_known
