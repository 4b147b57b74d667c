"""Facts -> checks on proxies, Codex and its configuration. Pure."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from attrs import frozen

from codex_bridge.advice import oss_url, same_server, send_oss
from codex_bridge.cli.codex_config import CONFIG, NAME, PROFILE, PROFILE_FILES_SINCE
from codex_bridge.cli.codex_program import version_number
from codex_bridge.cli.doctor.facts import Check, CodexFacts, failed, ok, warning
from codex_bridge.engines.engine import DEFAULT_NUM_CTX
from codex_bridge.vocabulary import Json

OLDEST_CODEX = (0, 130)
"""The bridge is made for this and newer ones."""
RESERVED = ("amazon-bedrock", "lmstudio", "ollama", "openai")
FALLBACK_WINDOW = 272_000
"""Tokens of context that Codex assumes for a model that it does not know."""
CONFIGURE = "write it anew: codex-bridge configure"
LOCAL = ("localhost", "127.0.0.1")
Environ = Mapping[str, str]


def proxy_check(environ: Environ, bridge_url: str) -> Check:
    """Whether Codex sends its requests to the bridge through a proxy."""
    kinds = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    found = [name for kind in kinds for name in (kind, kind.lower()) if environ.get(name)]
    if not found:
        return ok("proxy", "no proxy variables")
    parts = urlsplit(bridge_url)
    exempt = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    hosts = dict.fromkeys((*LOCAL, parts.hostname or ""))
    missing = [host for host in hosts if not _exempts(exempt, host)]
    if not missing:
        return ok("proxy", f"{', '.join(found)} set; NO_PROXY={exempt} exempts the bridge")
    kept = [entry for each in exempt.split(",") if (entry := each.strip())]
    remedy = f"export NO_PROXY={','.join([*kept, *missing])}"
    used = [n for n in found if n.upper() in {"ALL_PROXY", f"{parts.scheme.upper()}_PROXY"}]
    if used:
        detail = f"{', '.join(used)} also takes Codex's requests to {' and '.join(missing)}"
        return failed("proxy", detail, remedy)
    detail = f"{', '.join(found)} set without NO_PROXY for {' and '.join(missing)}"
    return warning("proxy", f"{detail}; it does not concern {parts.scheme}: addresses", remedy)


def _exempts(no_proxy: str, host: str) -> bool:
    """Whether NO_PROXY names a host: itself, its domain, its network, or all."""
    for entry in (each.strip().lower() for each in no_proxy.split(",")):
        domain = entry.lstrip(".")
        if entry == "*" or (domain and f".{host}".endswith(f".{domain}")):
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def codex_check(codex: CodexFacts) -> Check:
    """Whether Codex is there, and new enough."""
    if codex.version is None:
        return failed(
            "codex",
            f"{codex.program} does not run ({codex.trouble})",
            "install it: npm install -g @openai/codex; or name it: --codex PATH",
        )
    version = version_number(codex.version)
    if version is None:
        return warning("codex", f"its version cannot be read: {codex.version}")
    name = ".".join(map(str, version))
    if version < OLDEST_CODEX:
        return warning(
            "codex",
            f"{name}; the bridge is made for 0.130 and newer",
            "update it: npm install -g @openai/codex@latest",
        )
    return ok("codex", name)


@frozen
class Scope:
    """Settings that apply together: the top level of a file, or one of its profiles."""

    where: str
    values: Json
    is_profile: bool = False


def config_checks(
    codex: CodexFacts, bridge_url: str, model: str, context: int | None
) -> list[Check]:
    """Checks on Codex's configuration; `context` is that of `model` in tokens, if it is known."""
    parsed, problems = _parsed(codex)
    providers = _providers(parsed)
    ours = {
        key
        for key, (_, provider) in providers.items()
        if same_server(str(provider.get("base_url") or ""), bridge_url)
    }
    for key, (where, provider) in providers.items():
        problems += _provider_problems(key, where, provider, key in ours)
    # If a provider has `auth` (a command for the key), Codex asks the bridge about its models.
    asking = {key for key in ours if "auth" in providers[key][1]}
    has_window = "model_context_window" in parsed.get(CONFIG, {})
    for scope in _scopes(parsed):
        used = _is_used(scope, ours, model)
        problems += _window_problems(scope, used, context)
        problems += _catalog_problems(scope, codex.catalogs, model, context)
        knows = has_window or scope.is_profile or scope.values.get("model_provider") in asking
        if used and not knows:
            problems += _missing_window(scope, context)
    number = version_number(codex.version or "") or OLDEST_CODEX
    in_table = NAME in _table(parsed.get(CONFIG, {}), "profiles")
    if in_table and PROFILE in parsed and number >= PROFILE_FILES_SINCE:
        detail = "config.toml has [profiles.bridge] beside bridge.config.toml; Codex refuses both"
        problems.append(failed("config", detail, "delete [profiles.bridge] from config.toml"))
    return problems or [_provider_check(codex, bridge_url, ours)]


def catalog_paths(files: Mapping[str, str]) -> set[str]:
    """The model catalogs that configuration files name."""
    parsed, _ = _parsed(CodexFacts(files=dict(files)))
    named = [scope.values.get("model_catalog_json") for scope in _scopes(parsed)]
    return {path for path in named if isinstance(path, str)}


def _parsed(codex: CodexFacts) -> tuple[dict[str, Json], list[Check]]:
    """The settings in each file, and a check for each file that cannot be read."""
    parsed: dict[str, Json] = {}
    problems: list[Check] = []
    for name, text in codex.files.items():
        try:
            parsed[name] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            where = f"{codex.home}/{name}"
            problems.append(failed("config", f"{where} is no TOML: {error}", "correct that line"))
    return parsed, problems


def _providers(parsed: dict[str, Json]) -> dict[str, tuple[str, Json]]:
    """Every provider that is defined: id -> (file, settings)."""
    return {
        key: (name, value)
        for name, config in parsed.items()
        for key, value in _table(config, "model_providers").items()
        if isinstance(value, dict)
    }


def _table(config: Json, key: str) -> Json:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _scopes(parsed: dict[str, Json]) -> Iterator[Scope]:
    for name, config in parsed.items():
        yield Scope(name, config)
        for profile, values in _table(config, "profiles").items():
            if isinstance(values, dict):
                inherited = {"model_provider": config.get("model_provider")}
                yield Scope(f"{name} [profiles.{profile}]", inherited | values, True)


def _provider_problems(key: str, where: str, provider: Json, is_ours: bool) -> Iterator[Check]:
    what = f"{where}: provider {key}"
    if key in RESERVED:
        detail = f"{what} has a name that Codex keeps for itself"
        yield failed("config", detail, f"rename [model_providers.{key}], to bridge for example")
    if provider.get("wire_api") == "chat":
        detail = f'{what} has wire_api = "chat", which Codex no longer takes'
        yield failed("config", detail, 'set wire_api = "responses"')
    if is_ours and provider.get("name") == "OpenAI":
        detail = f'{what} is named "OpenAI", so that Codex asks it for what only OpenAI has'
        yield failed("config", detail, 'set name = "codex-bridge"')


def _is_used(scope: Scope, ours: set[str], model: str) -> bool:
    """Whether Codex certainly talks to the bridge with these settings."""
    provider = scope.values.get("model_provider")
    return provider in ours or (provider is None and scope.values.get("model") == model)


def _window_problems(scope: Scope, is_used: bool, context: int | None) -> Iterator[Check]:
    """A context window that is larger than the model's."""
    window, provider = scope.values.get("model_context_window"), scope.values.get("model_provider")
    if not (isinstance(window, int) and context and window > context):
        return
    detail = f"{scope.where}: model_context_window = {window}, but the model has {context}"
    remedy = f"set model_context_window = {context}"
    if is_used:
        yield failed("config", detail, remedy)
    elif provider is None:
        yield warning("config", f"{detail}; it also counts with --oss", remedy)


def _catalog_problems(
    scope: Scope, catalogs: Mapping[str, str], model: str, context: int | None
) -> Iterator[Check]:
    """A catalog that cannot be read, or names a larger context than the model has."""
    path = scope.values.get("model_catalog_json")
    if not isinstance(path, str):
        return
    try:
        listed = json.loads(catalogs.get(path, ""))["models"]
        windows = [each.get("context_window") for each in listed if each.get("slug") == model]
    except (ValueError, KeyError, TypeError, AttributeError):
        detail = f"{scope.where}: {path} is missing or no model catalog"
        yield failed("config", detail, CONFIGURE)
        return
    for window in windows:
        if isinstance(window, int) and context and window > context:
            detail = f"{path} has {window} tokens for {model}, but the model has {context}"
            yield failed("config", detail, CONFIGURE)


def _missing_window(scope: Scope, context: int | None) -> Iterator[Check]:
    """No context window: Codex silently plans with 272,000 tokens."""
    if "model_context_window" in scope.values or "model_catalog_json" in scope.values:
        return
    detail = f"{scope.where}: no model_context_window, so Codex assumes {FALLBACK_WINDOW} tokens"
    yield warning("config", detail, f"set model_context_window = {context or DEFAULT_NUM_CTX}")


def _provider_check(codex: CodexFacts, bridge_url: str, ours: set[str]) -> Check:
    oss = oss_url(codex.environ)
    has_oss = same_server(oss, bridge_url)
    send = send_oss(bridge_url, codex.environ)
    if ours:
        found = f"provider {', '.join(sorted(ours))} points at the bridge"
        more = "" if has_oss else f"; `codex --oss` goes to {oss}, to change that: {send}"
        return ok("config", found + more)
    none = "has no provider for the bridge" if codex.files else "is not there"
    if has_oss:
        return ok("config", f"{codex.home}/config.toml {none}; `codex --oss` needs none")
    remedy = f"{send}; or, for codex -p bridge: codex-bridge configure --bridge-url {bridge_url}"
    return warning(
        "config", f"{codex.home}/config.toml {none}, and `codex --oss` goes to {oss}", remedy
    )
