"""The Helm chart, rendered by Helm's own engine and checked against the schemas of Kubernetes and of both operators."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from nearhit_worker.app import EXIT_SECONDS
from nearhit_worker.runtime import WORK_LANES

from nearhit.settings import Settings
from nearhit.telemetry.metrics import LANES
from nearhit.valkey.key_names import LogKeys
from tests.support import observability as seen

NO_HELM = "no helm: there is no wheel of Helm's engine for this machine"
helm = pytest.importorskip("helm_python", reason=NO_HELM)
validate = pytest.importorskip("kubernetes_validate", reason=NO_HELM)

CHART = seen.ROOT / "deploy" / "nearhit"
KUBERNETES = ("1.27", "1.37")
OPERATORS = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")
EVERYTHING: dict[str, Any] = {
    "keda": {"enabled": True, "address": "valkey-log:6379"},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "secret": {"name": "nearhit", "more": ["providers"]},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
    "image": {"repository": "registry/nearhit", "pullSecrets": ["registry"]},
}


def rendered(**values: Any) -> list[dict[str, Any]]:
    """Return every resource of a release."""
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(values, name="shop", namespace="llm")
    return [one for path, text in texts.items() if path.endswith(".yaml") for one in yaml.safe_load_all(text) if one]


def only(kind: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [one for one in resources if one["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    return rendered(**EVERYTHING)


@pytest.fixture(scope="module")
def pod(everything: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = only("Deployment", everything)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_finds_nothing_wrong_with_the_chart(values: dict[str, Any]) -> None:
    found = helm.lint(str(CHART), values, strict=True)
    assert found["errors"] == []
    assert [one["error"] for one in found["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_kubernetes_takes_every_resource(values: dict[str, Any], version: str) -> None:
    own = [one for one in rendered(**values) if one["apiVersion"] not in OPERATORS]
    assert {"Deployment", "PodDisruptionBudget"} <= {one["kind"] for one in own}
    for one in own:
        validate.validate(one, version, strict=True)


@pytest.mark.timeout(300)
def test_the_operators_take_their_resources(everything: list[dict[str, Any]]) -> None:
    from cloudcoil.models.keda import v1alpha1 as keda  # each takes seconds to import
    from cloudcoil.models.prometheus_operator import v1 as operator
    from jsonschema import Draft202012Validator

    theirs = [one for one in everything if one["apiVersion"] in OPERATORS]
    assert {one["kind"] for one in theirs} == {"ScaledObject", "TriggerAuthentication", "PodMonitor", "PrometheusRule"}
    for one in theirs:
        model = getattr(keda if one["apiVersion"] == OPERATORS[0] else operator, one["kind"])
        checker = Draft202012Validator(strict(model.model_json_schema()))
        assert [(list(wrong.path), wrong.message) for wrong in checker.iter_errors(one)] == []
        assert next(checker.iter_errors({**one, "spec": {**one["spec"], "unknown": 1}}), None) is not None


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with every field that it does not name refused."""
    for one in (schema, *schema.get("$defs", {}).values()):
        if "properties" in one:
            one.setdefault("additionalProperties", False)
    return schema


def test_without_a_wish_there_is_nothing_that_needs_an_operator() -> None:
    assert sorted(one["kind"] for one in rendered()) == ["Deployment", "PodDisruptionBudget"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"threshold": 1.5}}, "threshold"),
        ({"settings": {"treshold": 0.9}}, "treshold"),
        ({"settings": {"url": "valkey://:secret@cache"}}, "url"),
        ({"settings": {"embed_timeout_ms": "soon"}}, "embed_timeout_ms"),
        ({"secret": {"name": ""}}, "name"),
        ({"replica": 3}, "replica"),
        ({"keda": {"enabled": True}}, "keda.address"),
        ({"keda": {"address": "valkey://log:6379"}}, "address"),
    ],
    ids=str,
)
def test_values_of_nonsense_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm.HelmError, match=said):
        rendered(**values)


def test_a_worker_gets_its_settings_as_they_were_written() -> None:
    wanted = {
        "threshold": 0.925,
        "local_max_entries": 10_000_000,
        "guard": False,
        "ttl_seconds": 0.5,
        "namespace": "a.b",
    }
    (container,) = only("Deployment", rendered(settings=wanted))["spec"]["template"]["spec"]["containers"]
    found = Settings.from_env({one["name"]: one["value"] for one in container["env"]})
    assert {name: getattr(found, name) for name in wanted} == wanted
    assert (found.metrics_host, found.metrics_port) == ("0.0.0.0", container["ports"][0]["containerPort"])


def test_secrets_are_named_and_never_shown(everything: list[dict[str, Any]], pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "nearhit"}}, {"secretRef": {"name": "providers"}}]
    assert not [one for one in everything if one["kind"] == "Secret"]
    assert not re.search(r"://[^/\s\"]*:[^/\s\"]*@", json.dumps(pod))


def test_a_worker_has_no_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    rights = container["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert f"\nUSER {user}\n" in (seen.ROOT / "Dockerfile").read_text()
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/tmp"]  # noqa: S108 - the pod's


def test_probes_ask_what_they_should(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    asked = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}


@pytest.mark.parametrize("embed_timeout_ms", [1_500, 10_000, 60_000])
def test_a_worker_has_the_time_that_it_takes_to_stop(embed_timeout_ms: int) -> None:
    pod = only("Deployment", rendered(settings={"embed_timeout_ms": embed_timeout_ms}))["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > embed_timeout_ms / 1000 + EXIT_SECONDS


def test_workers_are_scaled_by_all_that_waits(everything: list[dict[str, Any]]) -> None:
    scaled, workers = only("ScaledObject", everything)["spec"], only("Deployment", everything)
    assert scaled["scaleTargetRef"]["name"] == workers["metadata"]["name"]
    assert "replicas" not in workers["spec"]
    found = {one["name"]: one["metadata"] for one in scaled["triggers"]}
    keys = LogKeys("default")
    for lane in LANES:
        assert found.pop(lane)["stream"] == keys.log(lane)
        assert found.pop(f"{lane}_retry")["listName"] == keys.retry(lane)
    assert not found
    formula = scaled["advanced"]["scalingModifiers"]["formula"]
    depths = {"interactive": 500, "interactive_retry": 500, "bulk": 5_000, "bulk_retry": 5_000}
    assert eval(formula, {}, depths) == 4  # noqa: S307 - our own chart; KEDA's formulas are arithmetic as here
    assert set(LANES) <= set(WORK_LANES)
    login = only("TriggerAuthentication", everything)
    assert {one["authenticationRef"]["name"] for one in scaled["triggers"]} == {login["metadata"]["name"]}
    assert {one["parameter"] for one in login["spec"]["secretTargetRef"]} == {"username", "password"}


def test_rules_and_boards_are_those_of_the_repository(everything: list[dict[str, Any]], tmp_path: Path) -> None:
    groups = only("PrometheusRule", everything)["spec"]["groups"]
    assert groups == [one for path in seen.RULES for one in yaml.safe_load(path.read_text())["groups"]]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": groups}))
    command = [seen.program("promtool"), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    boards = [one for one in everything if one["kind"] == "ConfigMap"]
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in boards)
    shown = {name: json.loads(text) for one in boards for name, text in one["data"].items()}
    assert shown == {path.name: json.loads(path.read_text()) for path in seen.DASHBOARDS}


def test_prometheus_finds_workers_as_the_job_that_rules_ask_for(everything: list[dict[str, Any]]) -> None:
    monitor, workers = only("PodMonitor", everything)["spec"], only("Deployment", everything)["spec"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    (container,) = workers["template"]["spec"]["containers"]
    assert endpoint["port"] in {one["name"] for one in container["ports"]}
    assert monitor["selector"] == workers["selector"]
    assert {"action": "replace", "targetLabel": "job", "replacement": "nearhit-worker"} in endpoint["relabelings"]
    # the operator sets the pod's namespace, and Prometheus would rename ours to exported_namespace
    assert {"action": "labeldrop", "regex": "namespace"} in endpoint["relabelings"]


def test_the_chart_and_the_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (seen.ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
