"""The configurations for balancers in deploy/ are valid, as the balancer itself sees it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.processes import ROOT


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
@pytest.mark.parametrize("name", ["haproxy.cfg", "haproxy-engines.cfg"])
def test_haproxy_accepts_the_configuration_without_a_warning(name: str) -> None:
    done = subprocess.run(
        ["haproxy", "-c", "-f", str(ROOT / "deploy" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "WARNING" not in output, output
