"""Which file a command shows, and which commands change none."""

from __future__ import annotations

import pytest

from codex_bridge.repair.shell_commands import Reading, read_by, reads_only


@pytest.mark.parametrize(
    ("command", "reading"),
    [
        ("cat a.py", Reading("a.py", is_whole=True)),
        ("cat -- 'a b.py'", Reading("a b.py", is_whole=True)),
        ("cd src && cat a.py 2>/dev/null", Reading("a.py", is_whole=True)),
        ("cat -n a.py", Reading("a.py", is_numbered=True)),
        ("nl -ba a.py", Reading("a.py", is_numbered=True)),
        ("head -n 20 a.py", Reading("a.py")),
        ("head -20 a.py", Reading("a.py")),
        ("tail -c +5 a.py", Reading("a.py")),
        ("sed -n '1,20p' a.py", Reading("a.py")),
        ("sed -n 5p a.py", Reading("a.py")),
        ("bat -n a.py", Reading("a.py", is_numbered=True)),
        ("fgrep -n x a.py", Reading("a.py", is_numbered=True)),
        ("ag x a.py", Reading("a.py", is_numbered=True)),
        ("grep -n x a.py", Reading("a.py", is_numbered=True)),
        ("grep -rn x src", Reading("", is_numbered=True)),
        ("rg -n -C 2 x", Reading("", is_numbered=True)),
        ("cat a.py b.py", None),
        ("cat a.py|tail", None),
        ("cat a.py;ls", None),
        ("cat $FILE", None),
        ("cat *.py", None),
        ("cat", None),
        ("sed s/a/b/ a.py", None),
        ("sed -n -e 1p -e 3p a.py", None),
        ("sed -n 1,5p a.py b.py", None),
        ("python3 a.py", None),
        ("git show a.py", None),
        ("", None),
    ],
)
def test_what_a_command_shows(command: str, reading: Reading | None) -> None:
    assert read_by(command) == reading


@pytest.mark.parametrize(
    "command",
    [
        *("ls -la", "cat a.py | head -5", "pwd && git status", "wc -l a.py", "rg -n x src; ls"),
        *("pytest -q 2>&1", "python -m pytest -q tests > /dev/null", "PYTHONPATH=. pytest -q"),
        *("cargo test", "go build ./...", "npm test", "npm run build", "make test", "ruff check ."),
        *("git diff HEAD~1", "git log --oneline | head", "find . -name a.py", "grep -i x a.py"),
        *("sed -n 1,5p a.py", "cat a.py 2>/dev/null || true", "tsc --noEmit", "mypy src"),
    ],
)
def test_a_command_that_is_known_to_change_nothing(command: str) -> None:
    assert reads_only(command)


@pytest.mark.parametrize(
    "command",
    [
        *("black .", "ruff format src", "python3 fix.py", "make", "node -e x", "ruff check --fix"),
        *(
            "cat a | tee b",
            "find . -delete",
            "find . -exec rm x",
            "sed -i s/a/b/ a",
            "sed s/a/b/ -i a",
        ),
        *("git diff | git apply", "$(echo rm) a", "cat <<EOF\nx\nEOF", "echo x > a", "echo x >> a"),
        *("git checkout a", "git stash", "mv a b", "cp a b", "perl -pi -e s a", "npx prettier a"),
        *("ls & rm a", "ls `rm a`", "pytest -q; black .", "catalog a", "lsof", "pre-commit run"),
        *("eslint --fix .", "npm run format", "cargo fix", "sed -n w a", "x" * 20_000),
        *("env python3 fix.py", "sort -o a a", "cargo run", "go run fix.go", "xargs rm"),
    ],
)
def test_any_other_command_may_change_files(command: str) -> None:
    assert not reads_only(command)
