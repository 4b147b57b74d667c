"""llama.cpp's server: what it tells of its models, and how they are asked.

Measured on the server of October 2026; for older and other ones see tools/server/README.md and
tools/server/server-common.cpp of llama.cpp.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson
from attrs import evolve, frozen

from codex_bridge.engines.engine import Ask, Plan
from codex_bridge.engines.openai_chat import PROBE, ChatEngine, listed_models, shortest_request
from codex_bridge.engines.parsing import object_in, whole_number
from codex_bridge.vocabulary import ChatRequest, Json, ModelInfo

THINKING_WORDS = ("<think>", "enable_thinking", "reasoning_content", "reasoning_effort")
"""Words that the template of a model that thinks has, one at least."""
MARK = re.compile(
    r"<(?!\|call\|)[^<>\s]{0,30}(?:tool|call|think|function|args|action|python|channel|message)[^<>\s]{0,30}>|"
    r"\[/?[A-Z_]{3,20}\]",
    re.IGNORECASE,
)
"""What may be a mark of calls or of thoughts in a template, and no end of an answer, as gpt-oss's
`<|call|>` is. The server passes over those that are no token of the model."""


@frozen
class LlamaCppEngine(ChatEngine):
    """It refuses a prompt that is too long, and shows the prompt that it makes of messages."""

    release: str = ""
    server = "llama.cpp"
    remedy = "the option -c of llama.cpp's server"
    reasoning_key = "reasoning_content"
    has_template_options = True
    cuts_in_silence = False
    counts_whole_prompt = True
    can_read_ahead = True

    async def describe(self, model: str, ask: Ask) -> ModelInfo:
        models = listed_models(await ask("GET", "/v1/models", None))
        entry = next((each for each in models if model in names_of(each)), None)
        if entry is None and len(models) == 1:
            # With one model the server answers for it, whatever name is asked for.
            entry = models[0]
        info = ModelInfo(model) if entry is None else listed_info(model, entry)
        if not info.is_loaded:
            # Where the server has several models, the questions below would load this one.
            return info
        properties = await ask("GET", f"/props?model={quote(model, safe='')}", None)
        if properties is None:
            return info
        info = with_properties(info, properties)
        if properties.get("is_sleeping") is True:
            # The next question would load the model that was put to sleep.
            return info
        probe = orjson.loads(shortest_request(model, has_function=True))
        answer = await ask("POST", "/apply-template", probe)
        if answer is None:
            return info
        # The prompt itself is the proof; /props tells what the server thinks of the template.
        known = (info.capabilities or frozenset()) - {"tools"}
        shows = PROBE in self.rendered(answer)
        return evolve(info, capabilities=known | ({"tools"} if shows else set()))

    def tokenize_request(self, prompt: str, info: ModelInfo) -> tuple[str, bytes] | None:
        # As its chat route reads the prompt that its template makes.
        body: Json = {"model": info.name, "content": prompt}
        return "/tokenize", orjson.dumps(body | {"add_special": True, "parse_special": True})

    def own_words_request(
        self, request: ChatRequest, prompt: str, info: ModelInfo, plan: Plan, *, stream: bool
    ) -> tuple[str, bytes] | None:
        if request.has_images or request.logprobs is not None:
            # /completion gives probabilities in another form.
            return None
        optional = {
            "n_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        }
        body: Json = {key: value for key, value in optional.items() if value is not None}
        # Special tokens are left out of the text unless they are named. An end of the answer must
        # not be: it would stand in the text.
        marks = sorted(set(MARK.findall(info.template)))
        body |= {"model": request.model, "prompt": prompt, "preserved_tokens": marks}
        return "/completion", orjson.dumps(body | {"stream": stream})

    def extras(self, request: ChatRequest, info: ModelInfo) -> Json:
        extras = super().extras(request, info)
        if request.logprobs == 0:
            # Without an alternative it gives no probabilities at all.
            extras["top_logprobs"] = 1
        if request.functions:
            # Older servers allow one call in an answer unless they are told otherwise.
            extras["parallel_tool_calls"] = True
        if request.effort not in (None, "none") and "reasoning_effort" in info.template:
            # Older servers do not hand the effort to the template themselves.
            extras["chat_template_kwargs"] = {"reasoning_effort": request.effort}
        return extras


def names_of(entry: Json) -> list[str]:
    """The names of a model: the one in the list, and others that the server takes for it."""
    aliases = entry.get("aliases")
    return [entry["id"], *map(str, aliases if isinstance(aliases, list) else [])]


def listed_info(name: str, entry: Json) -> ModelInfo:
    """What an entry of /v1/models says of a model.

    `meta` is there for models that are loaded; `status` only where the server has several models.
    """
    meta = object_in(entry.get("meta"))
    inputs = str(object_in(entry.get("architecture")).get("input_modalities"))
    capabilities = {"completion"} | ({"vision"} if "image" in inputs else set())
    status = str(object_in(entry.get("status")).get("value", "loaded"))
    return ModelInfo(
        name,
        capabilities=frozenset(capabilities) if meta else None,
        trained_context=whole_number(meta.get("n_ctx_train")) or None,
        allocated_context=whole_number(meta.get("n_ctx")) or None,
        is_loaded=status in {"loaded", "sleeping"},
        size=whole_number(meta.get("size")) or None,
        parameters=whole_number(meta.get("n_params")) or None,
        quantization=str(meta.get("ftype") or ""),
    )


def with_properties(info: ModelInfo, properties: Json) -> ModelInfo:
    """`info` and what an answer of /props says of the model.

    Older servers have the context only there.
    """
    settings = object_in(properties.get("default_generation_settings"))
    template = str(properties.get("chat_template") or "")
    can = {
        "vision": object_in(properties.get("modalities")).get("vision") is True,
        "tools": object_in(properties.get("chat_template_caps")).get("supports_tools") is True,
        "thinking": any(word in template for word in THINKING_WORDS),
    }
    found = {capability for capability in can if can[capability]}
    return evolve(
        info,
        capabilities=frozenset({"completion"}) | found | (info.capabilities or set()),
        template=template,
        allocated_context=info.allocated_context or whole_number(settings.get("n_ctx")) or None,
    )
