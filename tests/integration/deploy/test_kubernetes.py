"""The Kubernetes manifests, as kustomize puts them together."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser

from tests.integration.deploy.files import (
    KUBERNETES,
    OVERLAYS,
    kubernetes_settings,
    kustomized,
    manifest,
    manifests,
    pod_templates,
    run,
    served_paths,
    tool,
)
from training.recipe import load_recipe
from translator.corpus.command import translate_corpus

SERVING = [overlay for overlay in OVERLAYS if overlay.startswith("overlays")]
TRAINING = [overlay for overlay in OVERLAYS if overlay.startswith("training")]


@pytest.mark.parametrize("version", ["1.30.0", "1.37.0"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_of_kubernetes_accept_every_manifest(overlay: str, version: str, tmp_path: Path) -> None:
    file = tmp_path / "manifests.yaml"
    file.write_text(kustomized(overlay), encoding="utf-8")
    done = run(tool("kubernetes-validate"), "--strict", "--kubernetes-version", version, file)
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    accepted = set(re.findall(r"passed for resource (\w+)/([\w-]+)", report))
    # Kubernetes has no schema of what the Prometheus operator defines; test_monitoring.py looks at these two.
    expected = {
        (one["kind"].lower(), one["metadata"]["name"])
        for one in manifests(overlay)
        if one["kind"] not in ("PrometheusRule", "ServiceMonitor")
    }
    assert accepted == expected


def test_every_file_is_part_of_an_overlay_or_a_component() -> None:
    named = set()
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        text = kustomization.read_text(encoding="utf-8")
        named |= {(kustomization.parent / name).resolve() for name in re.findall(r"- ([\w./-]+\.(?:yaml|toml))", text)}
    files = {path.resolve() for path in KUBERNETES.rglob("*") if path.is_file() and path.name != "kustomization.yaml"}
    assert files == named


@pytest.mark.parametrize(
    ("component", "setting", "volume"),
    [("own-model", "TRANSLATE_MODEL", "model"), ("keys", "TRANSLATE_API_KEYS", "keys")],
)
def test_a_component_that_is_added_to_production_fits_it(
    component: str, setting: str, volume: str, tmp_path: Path
) -> None:
    kubectl = tool("kubectl")
    kustomized("overlays/production")  # skips where kubectl is too old
    copied = Path(shutil.copytree(KUBERNETES, tmp_path / "kubernetes"))
    kustomization = copied / "overlays" / "production" / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    kustomization.write_text(text.replace("components:\n", f"components:\n  - ../../components/{component}\n"), "utf-8")
    done = run(kubectl, "kustomize", kustomization.parent)
    assert done.returncode == 0, done.stderr
    file = tmp_path / "manifests.yaml"
    file.write_text(done.stdout, encoding="utf-8")
    checked = run(tool("kubernetes-validate"), "--strict", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (deployment,) = [
        one
        for one in yaml.safe_load_all(done.stdout)
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "translator"
    ]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    values = [variable["value"] for variable in container["env"] if variable["name"] == setting]
    places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert len(values) == 1
    assert values[0].startswith(places[volume] + "/")
    assert (
        {named["name"] for named in deployment["spec"]["template"]["spec"]["volumes"]}
        == places.keys()
        == {"tmp", volume}
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_may_more_than_it_needs(overlay: str) -> None:
    templates = dict(pod_templates(overlay))
    assert templates
    for name, template in templates.items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_refers_to_another_finds_it(overlay: str) -> None:
    ones = manifests(overlay)
    names = {(one["kind"], one["metadata"]["name"]) for one in ones}
    labels = [template["metadata"]["labels"].items() for _, template in pod_templates(overlay)]
    for one in ones:
        spec = one.get("spec", {})
        selector: Any = {
            "Service": lambda spec=spec: spec["selector"],
            "NetworkPolicy": lambda spec=spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec=spec: spec["selector"]["matchLabels"],
            "Deployment": lambda spec=spec: spec["selector"]["matchLabels"],
        }.get(one["kind"])
        if selector is not None:
            assert sum(selector().items() <= pod for pod in labels) == 1, one["metadata"]
        if one["kind"] == "HorizontalPodAutoscaler":
            target = spec["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names
    for _, template in pod_templates(overlay):
        pod = template["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} == volumes
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names
        if "serviceAccountName" in pod:
            assert ("ServiceAccount", pod["serviceAccountName"]) in names


@pytest.mark.parametrize("overlay", SERVING)
def test_ports_and_probes_are_those_of_the_service(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = manifest(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": kubernetes_settings(overlay, monkeypatch).port}
    assert [port["targetPort"] for port in manifest(overlay, "Service")["spec"]["ports"]] == ["http"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] in served_paths()


def test_the_decoder_has_as_many_threads_as_it_may_use_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = manifest("overlays/production", "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = kubernetes_settings("overlays/production", monkeypatch)
    assert settings.decoding_threads() == int(container["resources"]["limits"]["cpu"])


@pytest.mark.parametrize("overlay", TRAINING)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_training_job_goes_on_where_there_is_something_to_go_on_from(
    overlay: str, resumed: bool, tmp_path: Path
) -> None:
    recipe = load_recipe(str(KUBERNETES / "training" / "base" / "recipe.toml"), ())
    if resumed:
        checkpoint = tmp_path / recipe.run_directory / "state" / "checkpoint.pt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python", "torchrun"):
        (programs / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    (container,) = manifest(overlay, "Job", "training")["spec"]["template"]["spec"]["containers"]
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "JOB_COMPLETION_INDEX": "1"}
    done = run(*container["command"], *container["args"], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.splitlines()
    module = arguments[arguments.index("-m") :]
    assert module == ["-m", "training", "train", "/recipe/recipe.toml", *(["--resume"] if resumed else [])]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "recipe"]
    assert mount["mountPath"] == "/recipe"


def test_torchrun_understands_what_the_distributed_job_says() -> None:
    job = manifest("training/distributed", "Job", "training")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    command = container["args"][0].replace("\\\n", " ").rpartition("exec torchrun ")[2]
    words = shlex.split(command.replace("$JOB_COMPLETION_INDEX", "1").replace("$resume", ""))
    arguments = get_args_parser().parse_args(words)
    service = manifest("training/distributed", "Service", "training")
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 2, 2)
    assert int(arguments.nnodes) == job["completions"]
    assert int(arguments.nproc_per_node) == int(container["resources"]["limits"]["nvidia.com/gpu"])
    assert arguments.node_rank == 1
    assert arguments.master_addr == f"training-0.{service['metadata']['name']}"
    assert job["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in service["spec"]["ports"]] == [arguments.master_port]
    assert (arguments.module, arguments.training_script) == (True, "training")


def test_translate_corpus_understands_what_the_job_says() -> None:
    (container,) = manifest("translation", "Job", "translation")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "translator", translate_corpus.name]
    context = translate_corpus.make_context("translate-corpus", list(container["args"]))
    assert context.params["workers"] == int(container["resources"]["limits"]["cpu"])
    assert context.params["given"].startswith("parquet:")


def test_the_training_command_that_jobs_call_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "training", "train", "--help"], capture_output=True, text=True, check=True
    )
    assert "--resume" in done.stdout
