"""Redirects of the upstream, which are never followed: they could lead a key to another server."""

from __future__ import annotations

from urllib.parse import urljoin

CODES = frozenset({301, 302, 303, 307, 308})


def moved_to(base: str, path: str, location: str) -> str | None:
    """The base URL of the server to which a request of `base` + `path` is redirected.

    `location` is the header of that name. None: it leads to another path, such as that of a login,
    so it is not the server as a whole that has moved.
    """
    target = _target(base, path, location)
    moved = target.removesuffix(path)
    is_url = moved.startswith(("http://", "https://")) and not {"?", "#"} & set(moved)
    return moved if is_url and moved not in {target, base} else None


def told(base: str, path: str, location: str) -> str:
    """The redirect in words, and what to do about it."""
    moved = moved_to(base, path, location)
    advice = f"give {moved} as --upstream-url" if moved else "codex-bridge follows no redirect"
    return f"it redirects to {_target(base, path, location)}; {advice}"


def _target(base: str, path: str, location: str) -> str:
    """`location` as a whole URL; as it is, where it cannot be part of one."""
    try:
        return urljoin(base + path, location)
    except ValueError:
        return location
