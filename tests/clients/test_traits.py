"""How clients are recognised, and the failure codes for Codex."""

from __future__ import annotations

import pytest
from twisted.web.http_headers import Headers

from codex_bridge.clients.traits import CODEX, SDK, ClientTraits, traits_of
from codex_bridge.errors import ApiError


@pytest.mark.parametrize(
    ("headers", "profile"),
    [
        ({}, SDK),
        ({"originator": ["codex_exec"]}, CODEX),
        ({"originator": ["codex-tui"]}, CODEX),
        ({"user-agent": ["codex_exec/0.130.0 (Linux)"]}, CODEX),
        ({"user-agent": ["OpenAI/Python 2.0"]}, SDK),
        ({"user-agent": ["curl/8 codex"]}, SDK),
        # Codex inside an editor.
        ({"originator": ["an-editor"], "x-codex-window-id": ["t:0"]}, CODEX),
        ({"originator": ["an-editor"], "x-codex-turn-metadata": ["{}"]}, CODEX),
        ({"originator": ["an-editor"], "x-codex-beta-features": ["a"]}, CODEX),
        ({"originator": ["Codex Desktop"]}, CODEX),
    ],
)
def test_codex_is_recognised_by_its_headers(
    headers: dict[str, list[str]], profile: ClientTraits
) -> None:
    assert traits_of(Headers(headers)) is profile


@pytest.mark.parametrize(
    ("error", "codex", "sdk"),
    [
        (ApiError(404, "x", code="model_not_found"), "invalid_prompt", "invalid_prompt"),
        (ApiError(400, "x", code="context_length_exceeded"), *["context_length_exceeded"] * 2),
        (
            ApiError(502, "x", code="upstream_broken", is_temporary=True),
            "server_error",
            "server_error",
        ),
        (ApiError(500, "x"), "invalid_prompt", "server_error"),
        (
            ApiError(503, "x", code="upstream_busy", retry_after=10),
            "rate_limit_exceeded",
            "rate_limit_exceeded",
        ),
    ],
)
def test_failure_codes(error: ApiError, codex: str, sdk: str) -> None:
    assert CODEX.failure_code(error) == codex
    assert SDK.failure_code(error) == sdk
