"""What README.md says is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from codex_bridge.cli.doctor import report as doctor_report
from codex_bridge.cli.exam import report as exam_report
from codex_bridge.settings import OTHER_VARIABLES, SETTINGS, table
from tests.processes import ROOT

README = (ROOT / "README.md").read_text()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^python3 -m venv .*pytest -n 2$", README, re.MULTILINE)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_options_table_is_the_one_that_the_declarations_make() -> None:
    lines = README.splitlines()
    start = lines.index("| option | default | meaning |")
    shown = lines[start : lines.index("", start)]
    assert shown == table().splitlines(), (
        "paste the output of `python -m codex_bridge.settings` into README.md, section Options"
    )


NAMING_VARIABLES = [
    ROOT / "README.md",
    ROOT / "codex-bridge.tac",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "deploy").iterdir(),
]


@pytest.mark.parametrize("path", NAMING_VARIABLES, ids=lambda path: path.name)
def test_the_variables_that_we_tell_users_of_exist(path: Path) -> None:
    known = {setting.variable for setting in SETTINGS.values()} | OTHER_VARIABLES
    assert set(re.findall(r"CODEX_BRIDGE_[A-Z_]+", path.read_text())) <= known


@pytest.mark.parametrize("report", [doctor_report, exam_report])
def test_the_tables_of_models_have_the_columns_of_the_rows_that_are_printed(report: Any) -> None:
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    header = f"| {' | '.join(report.COLUMNS)} |"
    rows = [*lines, ""][lines.index(header) :]
    rows = rows[: rows.index("")]
    assert {row.count("|") for row in rows} == {len(report.COLUMNS) + 1}
