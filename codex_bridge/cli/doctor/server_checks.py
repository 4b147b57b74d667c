"""Facts -> checks on the bridge, Ollama, the model and its context. Pure."""

from __future__ import annotations

import shlex
from typing import Any

from codex_bridge import advice
from codex_bridge.cli.command_line import (
    DEFAULT_BRIDGE_URL,
    given_upstream_url,
    usual_upstream_url,
)
from codex_bridge.cli.doctor.facts import Check, ModelFacts, ServerFacts, failed, ok, warning
from codex_bridge.cli.model_names import derived_name, same_model
from codex_bridge.engines.chat_servers import BY_OWNER
from codex_bridge.engines.engine import DEFAULT_NUM_CTX, ContextPolicy
from codex_bridge.engines.ollama import LEAST_CONTEXT, OLDEST, version_number
from codex_bridge.engines.parsing import whole_number
from codex_bridge.engines.reloads import PATTERN
from codex_bridge.engines.reloads import remedy as reload_remedy
from codex_bridge.engines.upstream import OWN_WORDS
from codex_bridge.settings import USUAL_URLS
from codex_bridge.vocabulary import Json, ModelInfo

RECOMMENDED = DEFAULT_NUM_CTX
"""Tokens of context."""
SHOWN = 8
"""Most names of models that one line lists."""


def server_checks(server: ServerFacts) -> list[Check]:
    """Checks on the bridge and the Ollama behind it."""
    checks = [_bridge(server)]
    if server.is_ollama:
        checks.append(
            failed(
                "port",
                f"what answers at {server.url} is Ollama itself, not the bridge",
                _two_ways(server.url),
            )
        )
    elif server.health is not None:
        for name, upstream in server.upstreams.items():
            checks.append(_upstream(upstream, name, server))
            if upstream.get("reachable") and _server_of(upstream) == "Ollama":
                checks.append(_version(upstream.get("version")))
    return checks


def _bridge(server: ServerFacts) -> Check:
    if server.trouble:
        return failed(
            "bridge",
            f"nothing answers at {server.url} ({server.trouble})",
            f"start it: {advice.run(server.url)}; or name its address: --bridge-url",
        )
    if server.health is None:
        what = "Ollama" if server.is_ollama else "another server"
        return failed(
            "bridge",
            f"{server.url} is {what}: its /__health is not that of codex-bridge",
            "start it on a port of its own, or move Ollama: see the next remedy"
            if server.is_ollama
            else "stop what listens there, or name the bridge's address: --bridge-url",
        )
    return ok("bridge", f"codex-bridge {server.health.get('version')} at {server.url}")


def _two_ways(url: str) -> str:
    """What to do about an Ollama at the address that was given for the bridge."""
    upstream, at_bridges = usual_upstream_url(), advice.same_server(url, DEFAULT_BRIDGE_URL)
    is_upstream = advice.same_server(url, upstream)
    bridge = DEFAULT_BRIDGE_URL if is_upstream and not at_bridges else advice.elsewhere(url)
    # A bridge that is not told of another upstream finds Ollama at its usual addresses.
    is_found = given_upstream_url() or any(advice.same_server(url, each) for each in USUAL_URLS)
    start = advice.run(bridge) + ("" if is_found else f" --upstream-url {url}")
    stay = (
        f"there it can stay; start the bridge ({start}) and name its address: --bridge-url {bridge}"
    )
    if is_upstream:
        return stay
    way = f"move Ollama ({advice.serve(upstream)})" if advice.is_local(upstream) else "stop it"
    return f"{stay}; or {way}, then start the bridge: {advice.run(url)}"


def _server_of(upstream: Json) -> str:
    """The name of a server; Ollama as long as that is not known."""
    return str(upstream.get("server") or "Ollama")


def _upstream(upstream: Json, name: str, server: ServerFacts) -> Check:
    """The check on one upstream; `name` is "" for the only one."""
    url = str(upstream.get("url"))
    where = f"{url} ({name})" if name else url
    if _server_of(upstream) != "Ollama":
        called = f"{_server_of(upstream)} {upstream.get('version') or ''}".strip()
        return ok("upstream", f"{called} at {where}")
    if not upstream.get("reachable"):
        # The bridge works without one of several.
        told = warning if server.reaches_ollama else failed
        return told(
            "ollama",
            f"the bridge does not reach Ollama at {where} ({upstream.get('error')})",
            f"start Ollama there ({advice.serve(url)}), or start the bridge with its "
            f"{f'--upstream {name}=URL' if name else '--upstream-url'}",
        )
    return ok("ollama", f"answers at {where}")


def _version(text: Any) -> Check:
    name = "ollama version"
    version = version_number(text)
    if version is None:
        # Codex accepts it.
        return warning(
            name, "Ollama tells no version", "update Ollama: https://ollama.com/download"
        )
    # A release candidate comes before its release, and Codex orders them so. 0.0.0 is a build
    # from source, which Codex accepts.
    is_candidate = version == OLDEST and "-" in str(text)
    if any(version) and (version < OLDEST or is_candidate):
        return failed(
            name,
            f"{text}; Codex refuses an Ollama older than 0.13.4",
            "update Ollama: https://ollama.com/download",
        )
    return ok(name, str(text))


def model_checks(models: ModelFacts, server: ServerFacts) -> list[Check]:
    """Checks on the model and its capabilities."""
    capabilities = [_capabilities(models.info, server)] if models.info else []
    return [_present(models, server), *capabilities]


def _present(models: ModelFacts, server: ServerFacts) -> Check:
    wanted, listed = models.wanted, _list(models.names)
    pull = advice.ollama(f"pull {shlex.quote(wanted or 'qwen3:14b')}", server.url)
    is_ollama = server.server == "Ollama"
    start = f"start {server.server} with a model; see docs/engines.md"
    if not models.names:
        remedy = f"get one: {pull}" if is_ollama else start
        return failed("model", f"{server.server} has no model at all", remedy)
    if models.info is None:
        remedy = f"get it: {pull}" if is_ollama else f"name one of these, or {start}"
        return failed("model", f"{wanted} is not there; there is: {listed}", remedy)
    name = models.info.name
    if wanted is None:
        return ok("model", f"{name} ({models.why}); there is: {listed}")
    if wanted != name:
        return failed(
            "model",
            f"{wanted} is not listed, but {name} is; Codex compares names exactly, and would "
            f"download {wanted}",
            f"say: codex -m {shlex.quote(name)}",
        )
    return ok("model", name)


def lookalike(wanted: str, names: tuple[str, ...]) -> str | None:
    """The listed name that means the same to Ollama as `wanted`."""
    return next((name for name in names if same_model(name, wanted)), None)


def _list(names: tuple[str, ...]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _capabilities(info: ModelInfo, server: ServerFacts) -> Check:
    name = "capabilities"
    if info.capabilities is None:
        return warning(
            name,
            "the server does not tell what the model can do",
            "run doctor without --no-probe to see if it calls tools",
        )
    words = [f"{'' if info.can(each) else 'no '}{each}" for each in ("tools", "thinking", "vision")]
    if not info.can("tools"):
        return warning(
            name,
            f"{', '.join(words)}; the bridge describes Codex's tools in its prompt",
            "a model for which `ollama show` lists tools, such as qwen3:14b, is more reliable"
            if server.server == "Ollama"
            else "a model whose template knows tools is more reliable",
        )
    return ok(name, ", ".join(words))


def context_checks(models: ModelFacts, server: ServerFacts) -> list[Check]:
    """Checks on how a model is asked: its context, who else uses it, who reads its calls."""
    info = models.info
    if info is None:
        return []
    return [_context(models, info, server), *_reloads(models, info), *_calls(models, info)]


def _context(models: ModelFacts, info: ModelInfo, server: ServerFacts) -> Check:
    tokens, source = known_context(models)
    if tokens is None:
        detail = "unknown: the model is not loaded, and sets no num_ctx of its own"
        if server.server != "Ollama":
            detail = f"unknown: {server.server} does not tell it"
            return warning("context", detail, "see docs/engines.md")
        return warning("context", detail, "run doctor without --no-probe, which loads it")
    detail = f"{tokens} tokens ({source})"
    if tokens >= RECOMMENDED:
        return ok("context", detail)
    remedy = _more_context(info, models.served or {}, server)
    if tokens >= LEAST_CONTEXT:
        return warning("context", f"{detail}; {RECOMMENDED} are recommended", remedy)
    if models.served is None:
        return warning(
            "context",
            f"{detail}; Codex needs {LEAST_CONTEXT}, and the bridge asks for more by itself "
            f"unless it was told not to",
            "run doctor without --no-probe to see what it gets",
        )
    return failed(
        "context", f"{detail}; Codex needs {LEAST_CONTEXT}, {RECOMMENDED} are better", remedy
    )


def _reloads(models: ModelFacts, info: ModelInfo) -> list[Check]:
    served = models.served or {}
    count = whole_number(served.get("reloads"))
    if count < PATTERN:
        return []
    return [
        warning(
            "loads",
            f"Ollama loaded {info.name} anew {count} times in the bridge's last requests, because "
            f"other programs use it with another context",
            reload_remedy(info, whole_number(served.get("context"))),
        )
    ]


def _calls(models: ModelFacts, info: ModelInfo) -> list[Check]:
    if (models.served or {}).get("calls") != OWN_WORDS:
        return []
    why = f"the bridge reads them from what {info.name} writes, because its server dropped some"
    return [ok("calls", why)]


def known_context(models: ModelFacts) -> tuple[int | None, str]:
    """Tokens, and who says so: the bridge that asked for them, Ollama, or the Modelfile."""
    info, served = models.info, models.served or {}
    planned = served.get("context")
    loaded = info.allocated_context if info else None
    if isinstance(planned, int) and planned > 0:
        if served.get("api") == "chat" and loaded and loaded < planned:
            return loaded, "allocated now"
        who = "reported by the bridge" if served.get("api") == "chat" else "requested by the bridge"
        return planned, f"{who}; reason: {served.get('reason')}"
    if loaded:
        return loaded, "allocated now"
    if info and info.own_context:
        return info.own_context, "num_ctx of the model; it is not loaded"
    return None, ""


def _more_context(info: ModelInfo, served: Json, server: ServerFacts) -> str:
    most = min(RECOMMENDED, info.trained_context or RECOMMENDED)
    if most < LEAST_CONTEXT or (info.allocated_context or 0) >= most:
        return f"the model was made for {most} tokens; choose one that was made for more"
    if server.server != "Ollama":
        engines = [kind(ContextPolicy()) for kind in BY_OWNER.values()]
        remedies = (engine.remedy for engine in engines if engine.server == server.server)
        return f"give it more by {next(remedies, 'a setting of its server')}"
    if served.get("reason") == "--num-ctx":
        return f"start the bridge with --num-ctx {most}, or without it"
    url, name = server.ollama_url, derived_name(info.name, most)
    where = "" if url == usual_upstream_url() else f" --ollama-url {url}"
    prepare = f"codex-bridge prepare {shlex.quote(info.name)} --num-ctx {most}{where}"
    # The context of a Modelfile counts more than that variable.
    others = "" if info.own_context else f"; or OLLAMA_CONTEXT_LENGTH={most} for all models"
    return f"{prepare}, then use {name}{others}"
