"""Prometheus's rules and Grafana's dashboard: what promtool says, and that the service exports what they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.deploy.files import (
    DEPLOY,
    KUBERNETES,
    REPOSITORY,
    compose_file,
    manifest,
    run,
    served_paths,
    tool,
)
from tests.integration.deploy.proxies import ask
from tests.integration.service.conftest import Server

PROMETHEUS = DEPLOY / "prometheus"
GROUPS = yaml.safe_load((PROMETHEUS / "rules.yaml").read_text(encoding="utf-8"))["groups"]
DASHBOARD = json.loads((DEPLOY / "grafana" / "translator.json").read_text(encoding="utf-8"))
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
METRIC = re.compile(r"\btranslate_[a-z_]+[a-z]\b")


def rules() -> list[dict[str, Any]]:
    return [rule for group in GROUPS for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in panels() for target in panel["targets"]]


def as_promql(expression: str) -> str:
    """A dashboard's expression with its variables filled in."""
    return expression.replace("$__rate_interval", "1m").replace("$job", "translator").replace("$instance", ".*")


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool = tool("promtool")
    done = run(promtool, "check", "config", PROMETHEUS / "prometheus.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_the_rules_tests_pass() -> None:
    done = run(tool("promtool"), "test", "rules", PROMETHEUS / "rules_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires_and_an_entry_in_the_runbook() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", [])]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == alerts
    runbook = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(Translator\w+)` \|", runbook, flags=re.MULTILINE)) == alerts


def test_the_operator_s_rules_are_the_same() -> None:
    rule = yaml.safe_load((KUBERNETES / "components" / "monitoring" / "prometheus-rule.yaml").read_text("utf-8"))
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule["spec"] == {"groups": GROUPS}


def test_the_service_monitor_finds_the_service() -> None:
    monitor, service = manifest("overlays/production", "ServiceMonitor"), manifest("overlays/production", "Service")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    # What Prometheus calls the job is the Service's name, and the rules know it by that name.
    assert service["metadata"]["name"] == "translator"


def test_promtool_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    promtool = tool("promtool")
    recorded = [
        {"record": f"panel:{panel['id']}:{target['refId'].lower()}", "expr": as_promql(target["expr"])}
        for panel in panels()
        for target in panel["targets"]
    ]
    file = tmp_path / "queries.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    done = run(promtool, "check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(recorded)} rules found" in done.stdout


def test_grafana_s_own_types_know_every_field_of_the_dashboard() -> None:
    register_default_plugins()
    again = json.loads(JSONEncoder().encode(dashboard.Dashboard.from_json(DASHBOARD)))
    assert lost(DASHBOARD, again) == []


def lost(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where `theirs` lacks or changes what is in `ours`; defaults that it adds do not count."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [fault for key, value in ours.items() for fault in lost(value, theirs.get(key), f"{place}/{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [fault for i, (one, other) in pairs for fault in lost(one, other, f"{place}/{i}")]
    return [] if ours == theirs else [place]


def test_the_dashboard_s_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_compose_gives_grafana_the_dashboard_where_it_looks_for_it() -> None:
    mounts = [mount.split(":") for mount in compose_file()["services"]["grafana"]["volumes"]]
    (inside,) = [parts[1] for parts in mounts if parts[0].endswith("translator.json")]
    providers = yaml.safe_load((DEPLOY / "grafana" / "dashboards.yaml").read_text(encoding="utf-8"))["providers"]
    assert [provider["options"]["path"] for provider in providers] == [str(Path(inside).parent)]
    sources = yaml.safe_load((DEPLOY / "grafana" / "datasources.yaml").read_text(encoding="utf-8"))["datasources"]
    assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {sources[0]["uid"]}


def test_the_autoscaler_asks_for_what_the_adapter_offers() -> None:
    offered = yaml.safe_load((PROMETHEUS / "adapter.yaml").read_text(encoding="utf-8"))["rules"]["custom"]
    wanted = [
        metric["pods"]["metric"]["name"]
        for metric in manifest("overlays/production", "HorizontalPodAutoscaler")["spec"]["metrics"]
        if metric["type"] == "Pods"
    ]
    assert wanted == [rule["name"]["as"] for rule in offered]


@pytest.fixture(scope="module")
def exported(service: Server) -> dict[str, set[str]]:
    """The names of the series at /metrics, with the names of their labels, after some requests."""
    body = json.dumps({"q": "Where is the station?", "source": "en", "target": "fr"}).encode()
    assert ask(f"{service.url}/translate", body, Content_Type="application/json")[0] == 200
    # Some metrics are exported only when there was something to count.
    assert ask(f"{service.url}/translate", b"{}", Content_Type="application/json")[0] == 400
    text = ask(f"{service.url}/metrics")[1].decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        # One that has not counted anything yet has no samples.
        found |= {family.name + ending: set() for ending in ENDINGS[family.type]}
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, set()) | sample.labels.keys()
    return found


@pytest.mark.parametrize("place", ["rules", "dashboard", "adapter", "autoscaler"])
def test_every_metric_that_is_named_is_exported(place: str, exported: dict[str, set[str]]) -> None:
    text = {
        "rules": "\n".join(rule["expr"] for rule in rules()),
        "dashboard": json.dumps(DASHBOARD),
        "adapter": (PROMETHEUS / "adapter.yaml").read_text(encoding="utf-8"),
        "autoscaler": (KUBERNETES / "base" / "horizontal-pod-autoscaler.yaml").read_text(encoding="utf-8"),
    }[place]
    named = set(METRIC.findall(text))
    assert named
    assert named <= exported.keys()


def test_every_label_that_is_asked_for_is_exported(exported: dict[str, set[str]]) -> None:
    """Labels that Prometheus adds itself (job, instance) aside."""
    asked = 0
    for expression in expressions():
        for name, selector in re.findall(r"\b(translate_[a-z_]+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)=~?", selector)) - {"job", "instance"}
            asked += len(labels)
            if exported[name]:
                assert labels <= exported[name], expression
    assert asked


def test_the_routes_and_reasons_that_rules_name_exist() -> None:
    patterns = [pattern for expression in expressions() for pattern in re.findall(r'route=~"([^"]*)"', expression)]
    assert patterns
    assert {route for pattern in patterns for route in pattern.split("|")} <= served_paths()
    reasons = {
        reason
        for rule in rules()
        for found in re.findall(r'reason=~"([^"]*)"', rule["expr"])
        for reason in found.split("|")
    }
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "service").rglob("*.py"))
    assert reasons
    assert all(f'"{reason}"' in sources for reason in reasons)
