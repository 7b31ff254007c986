"""The files in deploy/ name settings, ports and probes that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from service.application import create_app
from service.models import Offer
from service.settings import PREFIX, Settings, load_settings
from service.state import service_of
from tests.unit.service.capitals import CapitalsTranslator, NearDecoder

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
UNIT = DEPLOY / "seq2seq-translator.service"
DOCUMENTS = [*sorted(path for path in DEPLOY.iterdir() if path.is_file()), REPOSITORY / "README.md"]


def dockerfile_environment() -> dict[str, str]:
    """The variables of the last stage's ENV."""
    last_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", last_stage, flags=re.MULTILINE)
    return dict(item.split("=", 1) for item in line.split())


def compose_service() -> dict[str, object]:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service: dict[str, object] = document["services"]["translator"]
    return service


def unit_values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), flags=re.MULTILINE)


def settings_in(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service would make of these variables, and of no others."""
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert ours
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return load_settings({})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", path.read_text()))
    assert named <= {PREFIX + field.upper() for field in Settings.model_fields}


def test_the_image_listens_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_in(dockerfile_environment(), monkeypatch)
    text = (DEPLOY / "Dockerfile").read_text()
    assert settings.host == "0.0.0.0"
    assert re.findall(r"^EXPOSE (\d+)$", text, flags=re.MULTILINE) == [str(settings.port)]


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert len(users) == 1
    assert all(int(number) >= 10_000 for number in users[0])


def test_the_image_s_health_check_is_a_program_that_asks_a_real_route(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    (command,) = re.findall(r"^HEALTHCHECK .*? CMD (\[.*\])$", text, flags=re.MULTILINE)
    program, flag, script = json.loads(command)
    assert (program, flag) == ("python", "-c")
    asked: list[str] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: asked.append(url))
    monkeypatch.setenv("TRANSLATE_PORT", "8123")
    exec(compile(script, "health check", "exec"), {})
    assert asked == ["http://127.0.0.1:8123/health"]
    assert "/health" in served_paths()


def test_compose_publishes_the_port_of_the_image_to_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    service = compose_service()
    settings = settings_in(dockerfile_environment() | service["environment"], monkeypatch)  # type: ignore[operator]
    assert service["ports"] == [f"127.0.0.1:8000:{settings.port}"]
    assert (DEPLOY / str(service["build"]["context"]) / str(service["build"]["dockerfile"])).is_file()  # type: ignore[index]


def test_there_is_time_to_answer_before_the_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    service = compose_service()
    settings = settings_in(dockerfile_environment() | service["environment"], monkeypatch)  # type: ignore[operator]
    grace = str(service["stop_grace_period"])
    assert grace.endswith("s")
    assert int(grace.removesuffix("s")) > settings.connection_seconds
    (systemd_grace,) = unit_values("TimeoutStopSec")
    assert int(systemd_grace) > Settings().connection_seconds


def test_the_systemd_unit_s_environment_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = dict(line.split("=", 1) for line in unit_values("Environment"))
    assert settings_in(environment, monkeypatch).host == "127.0.0.1"


def test_the_files_copied_into_the_image_exist_and_are_let_through() -> None:
    build_stage = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[0]
    copied = {name for line in re.findall(r"^COPY (.*)$", build_stage, re.MULTILINE) for name in line.split()[:-1]}
    let_through = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_through
    assert all((REPOSITORY / name).exists() for name in copied)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_the_probes_that_are_described_are_served(path: str) -> None:
    assert f"GET {path}" in (DEPLOY / "README.md").read_text()
    assert path in served_paths()


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed beside this Python")
    run = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_systemd_accepts_the_unit_and_finds_it_closed_in(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    # Only the program's path is exchanged: it exists where the service is installed, not here.
    (started,) = unit_values("ExecStart")
    assert started == "/opt/seq2seq-translator/.venv/bin/python -m service"
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(started, "/bin/true"))
    verify = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert (verify.returncode, verify.stdout, verify.stderr) == (0, "", "")
    security = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", unit], capture_output=True, text=True, check=False
    )
    if "unrecognized option" in security.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not installed")
    assert security.returncode == 0, security.stdout


def test_docker_accepts_the_compose_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose here")
    command = [docker, "compose", "--file", DEPLOY / "compose.yaml", "config", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def served_paths() -> set[str]:
    """The paths that the service's application answers."""
    translator = CapitalsTranslator()  # enough for the routes to be there
    app = create_app(Settings(), lambda: [Offer("capitals", translator, lambda: NearDecoder(translator.engine))])
    service_of(app).models.stop(5.0)
    return {rule.rule for rule in app.url_map.iter_rules()}
