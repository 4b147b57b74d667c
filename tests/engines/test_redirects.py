"""Where a redirect leads: to the same server under another URL, or to some other page."""

from __future__ import annotations

import pytest

from codex_bridge.engines.redirects import moved_to, told

VERSION = "/api/version"


@pytest.mark.parametrize(
    ("base", "location", "moved"),
    [
        ("http://gpu", "https://gpu/api/version", "https://gpu"),
        ("http://gpu:80", "https://gpu:8443/ollama/api/version", "https://gpu:8443/ollama"),
        ("http://gpu/a", "/b/api/version", "http://gpu/b"),
        ("http://gpu", "//other/api/version", "http://other"),
        ("http://gpu", "/api/version", None),
        ("http://gpu", "version", None),
        ("http://gpu", "/", None),
        ("http://gpu", "", None),
        ("http://gpu", "https://gpu/login?next=/api/version", None),
        ("http://gpu", "https://gpu/#/api/version", None),
        ("http://gpu", "https://gpu/api/version/", None),
        ("http://gpu", "http://[gpu/api/versions", None),
        ("http://gpu", "ftp://gpu/api/version", None),
        ("http://gpu", "javascript:/api/version", None),
    ],
)
def test_only_the_same_path_elsewhere_is_a_server_that_has_moved(
    base: str, location: str, moved: str | None
) -> None:
    assert moved_to(base, VERSION, location) == moved


def test_a_location_that_is_no_url_is_told_as_it_is() -> None:
    assert told("http://gpu", VERSION, "http://[gpu") == (
        "it redirects to http://[gpu; codex-bridge follows no redirect"
    )
