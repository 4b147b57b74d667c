"""Ollama through its own API: what it tells of its models, and how they are asked."""

from __future__ import annotations

import re
from typing import Any

import orjson
from attrs import evolve, frozen
from twisted.web.http_headers import Headers

from codex_bridge.engines import ollama_chat, openai_chat
from codex_bridge.engines.engine import (
    DEFAULT_NUM_CTX,
    Ask,
    ContextPolicy,
    Decoder,
    Engine,
    Plan,
    Version,
)
from codex_bridge.engines.parsing import decimal, object_in, objects_in, whole_number
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo, ServerWords, UpstreamFailure

OLDEST = (0, 13, 4)
"""The oldest version that is supported; Codex refuses older ones. An Ollama whose version is not a
number is taken for this one."""
COUNTS_ALL_SINCE = (0, 30)
"""Older versions leave out of the count what they have in their cache."""
RENDERS_SINCE = (0, 11, 10)
"""Older versions do not know `_debug_render_only`, and would generate an answer."""
PLAIN_MARKS = ("<tool_call>", "<function=")
"""Marks of calls that are ordinary tokens, and so stand in raw text."""
LEAST_CONTEXT = 16384
"""Tokens of context that Codex needs: its instructions and tools, and as much again for work."""
PARAMETER = re.compile(r"^(\w+)[ \t]+(.+?)[ \t]*$", re.MULTILINE)


@frozen
class _Ollama(Engine):
    """What is the same in both dialects that Ollama speaks."""

    policy: ContextPolicy
    version: Version
    release: str = ""
    server = "Ollama"
    is_ollama = True
    can_read_ahead = True

    @property
    def warning(self) -> str:
        # 0.0.0 is an Ollama that was built from source.
        if not (0, 0, 0) < self.version < OLDEST:
            return ""
        version, oldest = (".".join(map(str, each)) for each in (self.version, OLDEST))
        return (
            f"Ollama {version} is older than {oldest}, the oldest that codex-bridge supports: "
            f"update it"
        )

    @property
    def counts_whole_prompt(self) -> bool:
        return self.version >= COUNTS_ALL_SINCE

    def words(self, url: str) -> ServerWords:
        return ServerWords(url, context_remedy=self.remedy)

    def key(self, model: str) -> str:
        return canonical(model)

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        return await describe(model, self.version, ask)

    def expected_context(
        self, info: ModelInfo, default: int | None, estimate: int | None
    ) -> int | None:
        context = self.plan(info, default or estimate).context
        if context is None and not info.is_remote:
            # The least that Ollama may give would make Codex compact all the time.
            return capped(info, DEFAULT_NUM_CTX)
        return context

    def load_request(self, info: ModelInfo) -> tuple[str, bytes] | None:
        # Ollama's default counts for a model that is known, local, and has no context of its own.
        if info.is_missing or info.own_context or info.is_remote:
            return None
        return "/api/generate", orjson.dumps({"model": info.name})


@frozen
class OllamaEngine(_Ollama):
    """Asks through /api/chat.

    Only this dialect sets the context, tells an error inside of an answer, and refuses a prompt
    that is too long in place of cutting it.
    """

    name = "ollama"
    path = ollama_chat.PATH
    remedy = "--num-ctx"

    @property
    def cuts_in_silence(self) -> bool:
        return not self.policy.guard

    def plan(self, info: ModelInfo, default: int | None) -> Plan:
        if info.is_remote:
            return Plan(info.trained_context, "it runs in the cloud")
        wanted = capped(info, self.policy.num_ctx or DEFAULT_NUM_CTX)
        if self.policy.num_ctx:
            return Plan(wanted, "--num-ctx", wanted)
        own = info.own_context or default
        if own is None:
            return Plan(wanted, "what Ollama allocates is unknown", wanted)
        own = capped(info, own)
        if own < min(LEAST_CONTEXT, wanted):
            return Plan(wanted, f"by itself Ollama allocates {own}", wanted)
        giver = "its Modelfile" if info.own_context else "Ollama"
        # Ask for this context nevertheless: Ollama may be restarted with a smaller default. The
        # model is loaded with it, so that causes no reload (needsReload in Ollama's
        # server/sched.go).
        return Plan(own, f"{giver} sets enough", own, is_default=True)

    def load_request(self, info: ModelInfo) -> tuple[str, bytes] | None:
        return super().load_request(info) if self.policy.num_ctx is None else None

    def encode(
        self, request: ChatRequest, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes]:
        body = ollama_chat.encode(
            request,
            stream=stream,
            # Unlike chat completions, /api/chat refuses `think` for a model that cannot think.
            thinks=info.capabilities is not None and info.can("thinking"),
            num_ctx=plan.num_ctx,
            keep_alive=self.policy.keep_alive,
            truncate=self.cuts_in_silence,
        )
        return self.path, body

    def render_request(
        self, request: ChatRequest, info: ModelInfo, plan: Plan
    ) -> tuple[str, bytes] | None:
        if info.is_remote or self.version < RENDERS_SINCE:
            return None
        # One token is all that an Ollama costs which does not know the option any more.
        shortest = evolve(request, max_tokens=1)
        path, body = self.encode(shortest, info, plan, stream=False)
        return path, orjson.dumps(orjson.loads(body) | {"_debug_render_only": True})

    def own_words_request(
        self, request: ChatRequest, prompt: str, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes] | None:
        # llama.cpp leaves special tokens out of raw text. The marks of Qwen's forms are ordinary
        # ones; those of Mistral, Llama, Gemma, gpt-oss and others are not, so their calls could not
        # be told from the text.
        is_written_out = any(mark in info.template for mark in PLAIN_MARKS)
        if not (is_written_out or info.family.startswith("qwen")) or request.has_images:
            return None
        body = ollama_chat.encode_own_words(
            request,
            prompt,
            stream=stream,
            num_ctx=plan.num_ctx,
            keep_alive=self.policy.keep_alive,
            truncate=self.cuts_in_silence,
        )
        return ollama_chat.OWN_WORDS_PATH, body

    def rendered(self, answer: Json) -> str:
        return str(object_in(answer.get("_debug_info")).get("rendered_template") or "")

    def decoder(self, headers: Headers, *, stream: bool) -> Decoder:
        return ollama_chat.LineDecoder()


@frozen
class OllamaThroughChat(_Ollama):
    """Asks through /v1/chat/completions, for --upstream-api chat.

    In it Ollama ignores a context, and silently cuts a prompt that is too long.
    """

    name = "chat"
    path = openai_chat.PATH
    remedy = "codex-bridge prepare, or OLLAMA_CONTEXT_LENGTH for Ollama"
    cuts_in_silence = True

    def plan(self, info: ModelInfo, default: int | None) -> Plan:
        if info.is_remote:
            return Plan(info.trained_context, "it runs in the cloud")
        own = info.own_context or default
        context = capped(info, own) if own else None
        return Plan(context, "--upstream-api chat", is_default=context is not None)

    def encode(
        self, request: ChatRequest, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes]:
        return self.path, openai_chat.encode(request, stream=stream)

    def decoder(self, headers: Headers, *, stream: bool) -> Decoder:
        return openai_chat.decoder(headers, stream=stream)


def canonical(model: str) -> str:
    """The one name for all spellings of a model: "Qwen3" -> "qwen3:latest"."""
    name = model.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def capped(info: ModelInfo, tokens: int) -> int:
    """`tokens` of context, or the most that the model was made for."""
    return min(tokens, info.trained_context or tokens)


async def describe(model: str, version: Version, ask: Ask) -> ModelInfo:
    """What /api/show and /api/ps tell of a model. Raises UpstreamFailure."""
    shown = await ask("POST", "/api/show", {"model": model}) or {}
    info = evolve(shown_info(model, shown), server_version=version)
    if not info.is_described:
        return info
    try:
        running = await ask("GET", "/api/ps", None) or {}
    except UpstreamFailure:
        return info
    return evolve(info, **running_facts(model, running))


def shown_info(name: str, shown: Json) -> ModelInfo:
    """What an answer of /api/show says of a model."""
    parameters = dict(PARAMETER.findall(str(shown.get("parameters") or "")))
    model_info, details = object_in(shown.get("model_info")), object_in(shown.get("details"))
    architecture = model_info.get("general.architecture")
    capabilities = shown.get("capabilities")
    return ModelInfo(
        name=name,
        capabilities=frozenset(map(str, capabilities)) if isinstance(capabilities, list) else None,
        family=str(details.get("family") or architecture or ""),
        template=str(shown.get("template") or ""),
        trained_context=whole_number(model_info.get(f"{architecture}.context_length")) or None,
        own_context=whole_number(decimal(parameters.get("num_ctx"))) or None,
        remote=bool(shown.get("remote_model") or shown.get("remote_host")),
        temperature=decimal(parameters.get("temperature")),
        top_p=decimal(parameters.get("top_p")),
    )


def running_facts(name: str, running: Json) -> Json:
    """What an answer of /api/ps says of a model: its context, where it is loaded."""
    for entry in objects_in(running.get("models")):
        if canonical(str(entry.get("name"))) == canonical(name):
            return {"allocated_context": whole_number(entry.get("context_length")) or None}
    return {}


def version_number(text: Any) -> Version | None:
    """ "0.33.0-rc2" -> (0, 33, 0); None for what is no version."""
    found = re.match(r"v?(\d{1,9}(?:\.\d{1,9})+)", str(text or ""))
    return tuple(map(int, found[1].split("."))) if found else None


def version_of(answer: Json | None) -> Version | None:
    """What an answer of /api/version says; None: the server is not Ollama."""
    version = (answer or {}).get("version")
    return (version_number(version) or OLDEST) if isinstance(version, str) else None
