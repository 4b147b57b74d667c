"""What README.md says is so."""

from __future__ import annotations

import re

from codex_bridge.cli.blocking import URL_VARIABLE
from codex_bridge.cli.doctor.report import COLUMNS
from codex_bridge.options import Options, environment_name
from tests.processes import ROOT

FLAGS = {flag for flag, *_ in Options.optFlags}
README = (ROOT / "README.md").read_text()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_option_is_in_the_table_with_its_default() -> None:
    options = Options({})
    for name, default in options.opts.items():
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `--{name}`")]
        shown = row.split("|")[2].strip()
        assert shown == ("off" if name in FLAGS else str(default or ""))


def test_the_variables_that_the_readme_names_exist() -> None:
    known = {environment_name(name) for name in Options({}).opts} | {URL_VARIABLE}
    named = set(re.findall(r"CODEX_BRIDGE_[A-Z_]+", README))
    assert named <= known


def test_the_compatibility_table_has_the_columns_of_doctors_rows() -> None:
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    header = f"| {' | '.join(COLUMNS)} |"
    rows = lines[lines.index(header) :]
    rows = rows[: rows.index("")]
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 1}
