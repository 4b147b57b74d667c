"""Tables of facts, and the checks that doctor makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from codex_bridge.cli.doctor.codex_checks import (
    catalog_paths,
    codex_check,
    config_checks,
    proxy_check,
)
from codex_bridge.cli.doctor.facts import Check, CodexFacts, ModelFacts, ServerFacts, Status
from codex_bridge.cli.doctor.report import exit_code, line, probe_checks
from codex_bridge.cli.doctor.server_checks import context_checks, model_checks, server_checks
from codex_bridge.cli.doctor.trials import TRIALS, Answer, Judgement, Probe, judged
from codex_bridge.vocabulary import ModelInfo

Json = dict[str, Any]
BRIDGE = "http://127.0.0.1:11434"
MODEL = "qwen3:14b"
PREPARE = (
    "codex-bridge prepare qwen3:14b --num-ctx 32768, then use qwen3:14b-ctx32k; "
    "or OLLAMA_CONTEXT_LENGTH=32768 for all models"
)
PREPARE_AT = PREPARE.replace(" 32768,", " 32768{},")
OURS = f'[model_providers.bridge]\nname = "x"\nbase_url = "{BRIDGE}/v1"\n'
USED = 'model_provider = "bridge"\n'


def told(checks: list[Check]) -> dict[str, str]:
    """Name -> status."""
    return {check.name: check.status.value for check in checks}


def test_each_of_several_upstreams_is_told_and_one_is_enough() -> None:
    facts: Json = bridge().upstream
    down = facts | {"url": "http://gpu:1", "reachable": False, "error": "connection refused"}
    health: Json = {"version": "0.1.0", "upstream": down, "upstreams": {"a": down, "b": facts}}
    server = ServerFacts(BRIDGE, health=health)
    assert server.reaches_ollama
    _, a, b, version = server_checks(server)
    assert (a.status.value, b.status.value, version.status.value) == ("warning", "ok", "ok")
    assert "http://gpu:1 (a) (connection refused)" in a.detail
    assert "OLLAMA_HOST=gpu:1 ollama serve" in a.remedy
    assert a.remedy.endswith("--upstream a=URL")
    assert b.detail == "answers at http://localhost:11433 (b)"
    none = ServerFacts(BRIDGE, health=health | {"upstreams": {"a": down, "b": down}})
    assert not none.reaches_ollama
    assert [check.status.value for check in server_checks(none)] == ["ok", "failed", "failed"]


def bridge(version: Any = "0.33.0", **upstream: Any) -> ServerFacts:
    facts = {"url": "http://localhost:11433", "reachable": True, "version": version, "error": None}
    health = {"version": "0.1.0", "upstream": facts | upstream}
    return ServerFacts(BRIDGE, health=health)


@pytest.mark.parametrize(
    ("server", "statuses"),
    [
        (bridge(), {"bridge": "ok", "ollama": "ok", "ollama version": "ok"}),
        (bridge("0.0.0"), {"bridge": "ok", "ollama": "ok", "ollama version": "ok"}),
        (bridge("0.13.4"), {"bridge": "ok", "ollama": "ok", "ollama version": "ok"}),
        (bridge("0.14.0-rc1"), {"bridge": "ok", "ollama": "ok", "ollama version": "ok"}),
        (bridge("0.13.4-rc1"), {"bridge": "ok", "ollama": "ok", "ollama version": "failed"}),
        (bridge("0.9.0"), {"bridge": "ok", "ollama": "ok", "ollama version": "failed"}),
        (bridge(None), {"bridge": "ok", "ollama": "ok", "ollama version": "warning"}),
        (bridge(reachable=False), {"bridge": "ok", "ollama": "failed"}),
        (ServerFacts(BRIDGE, "connection refused"), {"bridge": "failed"}),
        (ServerFacts(BRIDGE), {"bridge": "failed"}),
        (ServerFacts(BRIDGE, is_ollama=True), {"bridge": "failed", "port": "failed"}),
    ],
)
def test_servers(server: ServerFacts, statuses: dict[str, str]) -> None:
    checks = server_checks(server)
    assert told(checks) == statuses
    assert all(check.remedy for check in checks if check.status is not Status.OK)


def test_an_ollama_that_codex_refuses_is_to_be_updated() -> None:
    (check,) = [each for each in server_checks(bridge("0.9.0")) if each.name == "ollama version"]
    assert check.detail == "0.9.0; Codex refuses an Ollama older than 0.13.4"
    assert check.remedy == "update Ollama: https://ollama.com/download"


def models(**more: Any) -> ModelFacts:
    info = ModelInfo(MODEL, frozenset({"completion", "tools"}), trained_context=40960)
    return ModelFacts((MODEL,), None, evolve(info, **more), "loaded now")


def test_the_capabilities_of_the_model_are_listed() -> None:
    (_, check) = model_checks(models(), bridge())
    assert (check.status, check.detail) == (Status.OK, "tools, no thinking, no vision")
    (_, unknown) = model_checks(models(capabilities=None), bridge())
    assert unknown.status is Status.WARNING


def test_a_long_list_of_models_is_cut() -> None:
    names = tuple(f"m{n}" for n in range(12))
    (check,) = model_checks(ModelFacts(names, "qwen3"), bridge())
    assert check.detail.endswith("there is: m0, m1, m2, m3, m4, m5, m6, m7 and 4 more")


SERVED = {"api": "ollama", "context": 32768, "reason": "Ollama allocates 4096"}


@pytest.mark.parametrize(
    ("facts", "served", "status", "detail", "remedy"),
    [
        ({"allocated_context": 32768}, None, "ok", "32768 tokens (allocated now)", ""),
        (
            {"allocated_context": 16384},
            None,
            "warning",
            "16384 tokens (allocated now); 32768 are recommended",
            PREPARE,
        ),
        (
            {"allocated_context": 4096},
            None,
            "warning",
            "4096 tokens (allocated now); Codex needs 16384, and the bridge asks for more by "
            "itself unless it was told not to",
            "run doctor without --no-probe to see what it gets",
        ),
        (
            {"allocated_context": 4096},
            SERVED,
            "ok",
            "32768 tokens (requested by the bridge; reason: Ollama allocates 4096)",
            "",
        ),
        (
            {"allocated_context": 4096},
            SERVED | {"api": "chat"},
            "failed",
            "4096 tokens (allocated now); Codex needs 16384, 32768 are better",
            PREPARE,
        ),
        (
            {"own_context": 65536},
            None,
            "ok",
            "65536 tokens (num_ctx of the model; it is not loaded)",
            "",
        ),
        (
            {},
            None,
            "warning",
            "unknown: the model is not loaded, and sets no num_ctx of its own",
            "run doctor without --no-probe, which loads it",
        ),
        (
            {"allocated_context": 8192, "trained_context": 8192},
            SERVED | {"api": "chat"},
            "failed",
            "8192 tokens (allocated now); Codex needs 16384, 32768 are better",
            "the model was made for 8192 tokens; choose one that was made for more",
        ),
    ],
)
def test_contexts(facts: Json, served: Json | None, status: str, detail: str, remedy: str) -> None:
    known = evolve(models(**facts), served=served)
    (check,) = context_checks(known, bridge())
    assert (check.status.value, check.detail, check.remedy) == (status, detail, remedy)


SMALL = SERVED | {"context": 4096}


@pytest.mark.parametrize(
    ("server", "served", "facts", "remedy"),
    [
        # `prepare` would ask another Ollama.
        (
            bridge(url="http://gpu:11500"),
            SMALL,
            {},
            PREPARE_AT.format(" --ollama-url http://gpu:11500"),
        ),
        # The bridge is on another machine, and so is what it calls localhost.
        (
            evolve(bridge(), url="http://box:11434"),
            SMALL,
            {},
            PREPARE_AT.format(" --ollama-url http://box:11434"),
        ),
        # The context of a Modelfile counts more than the variable.
        (bridge(), SMALL, {"own_context": 4096}, PREPARE.split(";")[0]),
        # What the bridge asks for counts more than both.
        (
            bridge(),
            SMALL | {"reason": "--num-ctx"},
            {},
            "start the bridge with --num-ctx 32768, or without it",
        ),
    ],
)
def test_what_gives_more_context_depends_on_where_it_comes_from(
    server: ServerFacts, served: Json, facts: Json, remedy: str
) -> None:
    (check,) = context_checks(evolve(models(**facts), served=served), server)
    assert (check.status, check.remedy) == (Status.FAILED, remedy)


@pytest.mark.parametrize(
    ("calls", "names"),
    [
        ("read by the server", ["context"]),
        ("read from the model's own words", ["context", "calls"]),
    ],
)
def test_who_reads_the_calls_is_told_where_it_is_the_bridge(calls: str, names: list[str]) -> None:
    checks = context_checks(evolve(models(), served=SERVED | {"calls": calls}), bridge())
    assert [check.name for check in checks] == names


@pytest.mark.parametrize(("count", "names"), [(2, ["context"]), (3, ["context", "loads"])])
def test_a_few_loads_because_of_other_programs_are_not_told(count: int, names: list[str]) -> None:
    checks = context_checks(evolve(models(), served=SERVED | {"reloads": count}), bridge())
    assert [check.name for check in checks] == names


@pytest.mark.parametrize(
    ("url", "environ", "remedy"),
    [
        (
            BRIDGE,
            {},
            "there it can stay; start the bridge (codex-bridge run --port 11500) and name its "
            "address: --bridge-url http://127.0.0.1:11500; or move Ollama "
            "(OLLAMA_HOST=127.0.0.1:11433 ollama serve), then start the bridge: codex-bridge run",
        ),
        (
            "http://localhost:8080",
            {},
            "there it can stay; start the bridge (codex-bridge run --port 11500 --upstream-url "
            "http://localhost:8080) and name its address: --bridge-url http://127.0.0.1:11500; or "
            "move Ollama (OLLAMA_HOST=127.0.0.1:11433 ollama serve), then start the bridge: "
            "codex-bridge run --port 8080",
        ),
        (
            "http://localhost:11500",
            {"CODEX_BRIDGE_UPSTREAM_URL": "http://127.0.0.1:8080"},
            "there it can stay; start the bridge (codex-bridge run --port 11501) and name its "
            "address: --bridge-url http://127.0.0.1:11501; or move Ollama "
            "(OLLAMA_HOST=127.0.0.1:8080 ollama serve), then start the bridge: "
            "codex-bridge run --port 11500",
        ),
        (
            BRIDGE,
            {"CODEX_BRIDGE_OLLAMA_URL": "http://gpu:11434"},
            "there it can stay; start the bridge (codex-bridge run --port 11500) and name its "
            "address: --bridge-url http://127.0.0.1:11500; or stop it, then start the bridge: "
            "codex-bridge run",
        ),
        (
            "http://127.0.0.1:11433",
            {},
            "there it can stay; start the bridge (codex-bridge run) and name its address: "
            "--bridge-url http://127.0.0.1:11434",
        ),
        (
            BRIDGE,
            {"CODEX_BRIDGE_UPSTREAM_URL": "http://localhost:11434"},
            "there it can stay; start the bridge (codex-bridge run --port 11500) and name its "
            "address: --bridge-url http://127.0.0.1:11500",
        ),
    ],
)
def test_an_ollama_at_the_bridges_address_may_stay_or_go_where_the_bridge_looks_for_it(
    url: str, environ: dict[str, str], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    (_, check) = server_checks(ServerFacts(url, is_ollama=True))
    assert (check.name, check.remedy) == ("port", remedy)


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("http://localhost:11433", "OLLAMA_HOST=127.0.0.1:11433 ollama serve"),
        ("http://gpu", "OLLAMA_HOST=gpu:80 ollama serve"),
        ("http://[::1]:11500", "OLLAMA_HOST=[::1]:11500 ollama serve"),
        # A proxy is there, and Ollama itself elsewhere.
        ("https://gpu.lan", "ollama serve"),
        ("http://gpu.lan/ollama", "ollama serve"),
    ],
)
def test_ollama_is_to_be_started_where_the_bridge_looks_for_it(url: str, command: str) -> None:
    (_, check) = server_checks(bridge(reachable=False, url=url))
    assert check.remedy == (
        f"start Ollama there ({command}), or start the bridge with its --upstream-url"
    )


@pytest.mark.parametrize(
    ("url", "pull"),
    [
        (BRIDGE, "ollama pull 'my model'"),
        ("http://localhost:11434", "ollama pull 'my model'"),
        ("http://127.0.0.1:8080", "OLLAMA_HOST=http://127.0.0.1:8080 ollama pull 'my model'"),
        ("http://box:11434", "OLLAMA_HOST=http://box:11434 ollama pull 'my model'"),
    ],
)
def test_a_model_is_pulled_by_the_ollama_behind_this_bridge(url: str, pull: str) -> None:
    facts = ModelFacts(("qwen3:14b",), "my model")
    (check,) = model_checks(facts, evolve(bridge(), url=url))
    assert check.remedy == f"get it: {pull}"


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "status", "remedy"),
    [
        ({}, BRIDGE, "ok", ""),
        ({"NO_PROXY": "example.org"}, BRIDGE, "ok", ""),
        ({"HTTP_PROXY": ""}, BRIDGE, "ok", ""),
        ({"HTTP_PROXY": PROXY}, BRIDGE, "failed", "export NO_PROXY=localhost,127.0.0.1"),
        ({"http_proxy": PROXY}, BRIDGE, "failed", "export NO_PROXY=localhost,127.0.0.1"),
        ({"all_proxy": PROXY}, BRIDGE, "failed", "export NO_PROXY=localhost,127.0.0.1"),
        ({"HTTPS_PROXY": PROXY}, BRIDGE, "warning", "export NO_PROXY=localhost,127.0.0.1"),
        (
            {"HTTPS_PROXY": PROXY},
            "https://box.lan",
            "failed",
            "export NO_PROXY=localhost,127.0.0.1,box.lan",
        ),
        (
            {"HTTP_PROXY": PROXY, "NO_PROXY": "example.org, localhost"},
            BRIDGE,
            "failed",
            "export NO_PROXY=example.org,localhost,127.0.0.1",
        ),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,127.0.0.1"}, BRIDGE, "ok", ""),
        ({"HTTP_PROXY": PROXY, "no_proxy": "localhost, 127.0.0.0/8"}, BRIDGE, "ok", ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, BRIDGE, "ok", ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,127.0.0.1,.lan"}, "http://box.lan", "ok", ""),
    ],
)
def test_proxies(environ: dict[str, str], url: str, status: str, remedy: str) -> None:
    check = proxy_check(environ, url)
    assert (check.status.value, check.remedy) == (status, remedy)


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("codex-cli 0.169.0", "ok"),
        ("codex-cli 0.130.0-alpha.2", "ok"),
        ("codex-cli 1.0.0", "ok"),
        ("codex-cli 0.129.0", "warning"),
        ("codex", "warning"),
        (None, "failed"),
    ],
)
def test_codex(version: str | None, status: str) -> None:
    assert codex_check(CodexFacts(version=version)).status.value == status


CATALOG = '{"models": [{"slug": "qwen3:14b", "context_window": %d}]}'


@pytest.mark.parametrize(
    ("config", "status", "remedy"),
    [
        ("", "ok", ""),
        ('model = "gpt-5"\n', "ok", ""),
        (USED + OURS, "warning", "set model_context_window = 16384"),
        (USED + "model_context_window = 16384\n" + OURS, "ok", ""),
        (
            USED + "model_context_window = 32768\n" + OURS,
            "failed",
            "set model_context_window = 16384",
        ),
        (
            f"model = {MODEL!r}\nmodel_context_window = 32768\n",
            "failed",
            "set model_context_window = 16384",
        ),
        ("model_context_window = 272000\n", "warning", "set model_context_window = 16384"),
        (
            "model_context_window = 272000\nmodel_provider = 'elsewhere'\n",
            "ok",
            "",
        ),
        (OURS.replace('"x"', '"OpenAI"'), "failed", 'set name = "codex-bridge"'),
        (OURS + 'wire_api = "chat"\n', "failed", 'set wire_api = "responses"'),
        (OURS.replace("127.0.0.1", "localhost") + "auth = {command = 'echo'}\n", "ok", ""),
        (USED + OURS + "auth = {command = 'echo'}\n", "ok", ""),
        (
            OURS.replace("bridge]", "ollama]"),
            "failed",
            "rename [model_providers.ollama], to bridge for example",
        ),
        ("model = \n", "failed", "correct that line"),
        (
            OURS + "[profiles.local]\nmodel_provider = 'bridge'\nmodel_context_window = 99999\n",
            "failed",
            "set model_context_window = 16384",
        ),
        (USED + "model_catalog_json = '/good.json'\n" + OURS, "ok", ""),
        (
            USED + "model_catalog_json = '/large.json'\n" + OURS,
            "failed",
            "write it anew: codex-bridge configure",
        ),
        (
            USED + "model_catalog_json = '/gone.json'\n" + OURS,
            "failed",
            "write it anew: codex-bridge configure",
        ),
    ],
)
def test_configurations(config: str, status: str, remedy: str) -> None:
    catalogs = {"/good.json": CATALOG % 16384, "/large.json": CATALOG % 32768}
    codex = CodexFacts(files={"config.toml": config}, catalogs=catalogs)
    (check,) = config_checks(codex, BRIDGE, MODEL, 16384)
    assert (check.status.value, check.remedy) == (status, remedy), check


def test_a_profile_in_both_places_is_refused_by_newer_versions() -> None:
    files = {
        "config.toml": OURS + "[profiles.bridge]\nmodel_provider = 'bridge'\n",
        "bridge.config.toml": "model_context_window = 16384\n" + USED,
    }
    old = CodexFacts(version="codex-cli 0.130.0", files=files)
    assert told(config_checks(old, BRIDGE, MODEL, None)) == {"config": "ok"}
    new = evolve(old, version="codex-cli 0.169.0")
    (check,) = config_checks(new, BRIDGE, MODEL, None)
    assert check.remedy == "delete [profiles.bridge] from config.toml"


def test_the_catalogs_of_all_files_and_profiles_are_read() -> None:
    files = {
        "config.toml": "[profiles.a]\nmodel_catalog_json = '/a.json'\n",
        "bridge.config.toml": "model_catalog_json = '/b.json'\n",
    }
    assert catalog_paths(files) == {"/a.json", "/b.json"}


@pytest.mark.parametrize(
    ("environ", "url", "variable"),
    [
        ({}, BRIDGE, ""),
        ({}, "http://127.0.0.1:8080", "CODEX_OSS_PORT=8080"),
        ({"CODEX_OSS_PORT": "8080"}, "http://127.0.0.1:8080", ""),
        ({"CODEX_OSS_PORT": "8080"}, BRIDGE, "CODEX_OSS_PORT=11434"),
        ({}, "http://box:1", "CODEX_OSS_BASE_URL=http://box:1/v1"),
        ({"CODEX_OSS_BASE_URL": "http://box:1/v1"}, "http://box:1", ""),
        ({"CODEX_OSS_BASE_URL": "http://box:1/v1"}, BRIDGE, f"CODEX_OSS_BASE_URL={BRIDGE}/v1"),
        ({"CODEX_OSS_BASE_URL": "http://box:x/v1"}, BRIDGE, f"CODEX_OSS_BASE_URL={BRIDGE}/v1"),
    ],
)
def test_codex_has_to_be_told_of_a_bridge_where_oss_does_not_go(
    environ: dict[str, str], url: str, variable: str
) -> None:
    codex = CodexFacts(environ=environ)
    (check,) = config_checks(codex, url, MODEL, 32768)
    assert (check.status is Status.OK) == (not variable)
    if variable:
        assert check.remedy == (
            f"export {variable}; or, for codex -p bridge: codex-bridge configure --bridge-url {url}"
        )
    # With a provider Codex has a way to the bridge, so --oss is only mentioned.
    (check,) = config_checks(
        evolve(codex, files={"config.toml": OURS.replace(BRIDGE, url)}), url, MODEL, 32768
    )
    assert check.status is Status.OK
    assert check.detail.endswith(f"export {variable}" if variable else "points at the bridge")


def probe(*outcomes: str, repairs: Json | None = None) -> Probe:
    """A probe whose trials ended with these outcomes, in order."""
    answer = Answer(repairs=repairs or {})
    made = [
        Judgement(trial.name, outcome, answer=answer)
        for trial, outcome in zip(TRIALS, outcomes, strict=False)
    ]
    return Probe(MODEL, tuple(made))


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (probe("answered", "called", "answered", "called"), "good"),
        (
            probe("answered", "called", "answered", "called", repairs={"key": 1}),
            "works, with repairs",
        ),
        (probe("wrong answer", "called", "answered", "called"), "weak"),
        (probe("answered", "called", "answered", "no call"), "weak"),
        (probe("answered", "no call", "answered", "no call"), "cannot"),
        (probe("answered", "out of time"), "unknown"),
        (probe("error"), "unknown"),
        (probe(), "unknown"),
    ],
)
def test_verdicts(made: Probe, verdict: str) -> None:
    assert made.verdict == verdict


def test_a_refusal_for_want_of_tools_is_a_verdict() -> None:
    answer = Answer(error="gemma3:4b does not support tools")
    assert Probe("gemma3:4b", (judged(TRIALS[0], answer),)).verdict == "cannot"


def test_speed_is_that_of_the_longest_streamed_answer() -> None:
    slow = Answer(first_token=0.5, seconds=2.5, output_tokens=41)
    short = Answer(first_token=0.2, seconds=0.21, output_tokens=3)
    trials = tuple(Judgement("plain", "answered", answer=each) for each in (slow, short))
    both = Probe(MODEL, trials)
    assert (both.first_token, both.tokens_per_second) == (0.2, 20.0)
    assert Probe(MODEL, trials[1:]).tokens_per_second is None


def test_a_check_is_one_line_and_its_remedy_the_next() -> None:
    check = Check("proxy", Status.FAILED, "in between", "export NO_PROXY=localhost")
    assert line(check).splitlines() == [
        "FAILED   proxy           in between",
        "                         -> export NO_PROXY=localhost",
    ]


@pytest.mark.parametrize(
    ("statuses", "code"),
    [([], 0), ([Status.OK, Status.WARNING], 0), ([Status.OK, Status.FAILED], 1)],
)
def test_only_failures_make_the_exit_code(statuses: list[Status], code: int) -> None:
    assert exit_code([Check("x", status, "") for status in statuses]) == code


@pytest.mark.parametrize(
    ("repairs", "is_told"),
    [({"asked again for its own words": 1}, True), ({"name": 1}, False), ({}, False)],
)
def test_the_verdict_tells_of_calls_that_the_server_drops(
    repairs: dict[str, int], is_told: bool
) -> None:
    *_, verdict = probe_checks(probe("answered", "called", repairs=repairs))
    assert ("its server drops calls" in verdict.detail) is is_told
