"""The systemd unit: what systemd says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.deploy.files import UNIT, run, tool, unit_settings, unit_values

EXPOSURE_IN_TENTHS = 20


def test_systemd_accepts_the_unit_and_finds_it_closed_in(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    # Only the program's path is exchanged: it exists where the service is installed, not here.
    (started,) = unit_values("ExecStart")
    assert started == "/opt/seq2seq-translator/.venv/bin/python -m service"
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(started, "/bin/true"), encoding="utf-8")
    verify = run(analyze, "verify", unit)
    assert (verify.returncode, verify.stdout, verify.stderr) == (0, "", "")
    security = run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE_IN_TENTHS}", unit)
    if "unrecognized option" in security.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not installed")
    assert security.returncode == 0, security.stdout


def test_its_environment_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unit_settings(monkeypatch).host == "127.0.0.1"
