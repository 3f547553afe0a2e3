"""The Helm chart: what it renders is valid, hardened, and the same rules and dashboards as everywhere."""

import json
import re
import sys
from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml
from e2e.programs import LOOPBACK, ROOT, missing, program
from support.charts import (
    CASES,
    CHART,
    NAMESPACE,
    RELEASE,
    Object,
    configuration,
    container,
    groups,
    of_kind,
    only,
    ran,
    refused,
    rendered,
    workload,
)
from support.processes import answered, finished, get, started, wait_for

from exporter import __version__
from exporter.commands.flags import parse
from exporter.config import load

RULES: Final = ROOT / "config" / "prometheus" / "rules"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
VERSIONS: Final = ("1.27", "1.37")
"""The oldest Kubernetes that the chart allows, and the newest with published schemas."""
VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
README: Final = (CHART / "README.md").read_text(encoding="utf-8")
PAGE: Final = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
DEMO: Final = {"demo": {"enabled": True}}
WORKSPACE: Final = {"name": "acme", "api": "seachat", "api_key": "${SEACHAT_API_KEY}"}
SERVE: Final = {"config": {"workspaces": [WORKSPACE]}}

every_case = pytest.mark.parametrize("case", CASES)


# Valid.


@every_case
def test_helm_lint_has_nothing_to_say(case: str) -> None:
    linted = ran("lint", "--strict", str(CHART), f"--values={CASES[case]}")
    assert linted.status == 0, linted.stdout + linted.stderr
    assert "[WARNING]" not in linted.stdout
    assert linted.stderr == ""


@every_case
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_in_the_oldest_and_the_newest_kubernetes(
    case: str, version: str
) -> None:
    if find_spec("kubernetes_validate") is None:
        missing("no kubernetes-validate: requirements-dev.lock has it")
    from kubernetes_validate import validate  # noqa: PLC0415 - it may be missing

    objects = rendered(case)
    checked = [found for found in objects if "monitoring.coreos.com" not in found["apiVersion"]]
    assert len(checked) >= 3
    for found in checked:
        validate(found, version, strict=True)


def test_the_oldest_kubernetes_of_the_tests_is_the_charts() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_chart_and_exporter_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_two_objects_of_one_kind_have_two_names() -> None:
    for case in CASES:
        names = [(one["kind"], one["metadata"]["name"]) for one in rendered(case)]
        assert len(set(names)) == len(names)


# Values.


def described(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> Iterator[str]:
    """Where values and schema name different fields."""
    fields = schema.get("properties")
    if fields is None:
        return
    if schema.get("additionalProperties") is not False:
        yield f"{path or 'the top'} takes unknown names"
    if odd := fields.keys() ^ values.keys() - {"global"}:
        yield from (f"{path}{name}" for name in sorted(odd - {"global"}))
    for name in fields.keys() & values.keys():
        if isinstance(values[name], dict):
            yield from described(fields[name], values[name], f"{path}{name}.")


def test_the_schema_describes_exactly_the_values_that_there_are() -> None:
    assert list(described(SCHEMA, VALUES)) == []


@pytest.mark.parametrize("path", [(), *((name,) for name in ("image", "monitor", "rules", "web"))])
def test_a_misspelt_value_is_refused_by_its_name(path: tuple[str, ...]) -> None:
    values: dict[str, Any] = {"mispelt": True}
    for name in reversed(path):
        values = {name: values}
    assert "'mispelt' not allowed" in refused(DEMO | values)


@pytest.mark.parametrize(
    "values",
    [
        {"image": {"digest": "latest"}},
        {"log": {"level": "verbose"}},
        {"monitor": {"interval": "60"}},
        {"monitor": {"kind": "Probe"}},
        {"podLabels": {"numbers": 1}},
        {"terminationGracePeriodSeconds": 5},
        {"web": {"port": 80}},
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused(values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in refused(DEMO | values)


def test_whoever_configures_nothing_is_told_what_to_write() -> None:
    said = refused({})
    assert "nothing to poll; write a configuration, name an existingConfigMap, or set demo" in said


def test_all_mistakes_are_told_at_once_and_no_key_with_them() -> None:
    keys = ("sk-live-1", "sk-live-2", "${A:-sk-live-3}", "hunter2")
    said = refused(
        {
            "config": {
                "http": {"proxy_url": f"http://me:{keys[3]}@proxy:3128"},
                "workspaces": [
                    WORKSPACE | {"api_key": keys[0], "bots_api_key": keys[1]},
                    WORKSPACE | {"name": "globex", "api_key": keys[2]},
                    WORKSPACE | {"name": "initech"},
                ],
            },
            "existingConfigMap": "other",
            "apiKeys": {"existingSecret": "keys", "values": {"A": "b"}},
        }
    )
    for told in (
        "config.workspaces[0].api_key: a key must not be in a ConfigMap",
        "config.workspaces[0].bots_api_key: a key must not be in a ConfigMap",
        "config.workspaces[1].api_key: a key must not be in a ConfigMap",
        "the password in an http.proxy_url must not be in a ConfigMap",
        "existingConfigMap: leave out config",
        "apiKeys.values: leave out existingSecret",
    ):
        assert told in said
    assert "workspaces[2]" not in said
    assert not re.search("sk-live|hunter2", said)


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"thresholds": {"csat_lo": 4}}, "there is no seasalt:threshold:csat_lo"),
        ({"officeHours": {"begin": 9}}, "there is no seasalt:office_hours:begin"),
        ({"disabled": ["SeasaltCsatLo"]}, "there is no SeasaltCsatLo"),
    ],
)
def test_a_rule_that_there_is_not_cannot_be_changed(rules: dict[str, Any], told: str) -> None:
    assert told in refused(DEMO | {"rules": {"enabled": True, **rules}})


def test_the_readme_names_each_value() -> None:
    for name in VALUES:
        assert f"`{name}" in README, name


def test_every_documented_example_renders_and_the_exporter_takes_its_configuration(
    tmp_path: Path,
) -> None:
    texts = re.findall(r"```yaml\n(.*?)```", README + PAGE, re.DOTALL)
    examples = [yaml.safe_load(text) for text in texts]
    assert len(examples) >= 3
    (tmp_path / "SEACHAT_API_KEY").write_text("key", encoding="utf-8")
    for example in examples:
        objects = rendered(values=SERVE | example)
        file = tmp_path / "seasalt.yml"
        text = configuration(objects).replace(VALUES["apiKeys"]["mountPath"], str(tmp_path))
        file.write_text(text, encoding="utf-8")
        load([str(file)], {"SEACHAT_API_KEY": "key"}, date(2026, 1, 1))


def test_the_notes_say_what_is_missing() -> None:
    def notes(values: dict[str, Any]) -> str:
        done = ran("install", RELEASE, str(CHART), "--dry-run=client", values=values)
        assert done.status == 0, done.stderr
        return done.stdout.partition("NOTES:")[2]

    said = notes(SERVE)
    assert "Nothing scrapes it yet" in said
    assert "The state file is lost when the pod is replaced" in said
    assert "API keys are part of this release" not in said
    said = notes(
        SERVE
        | {
            "apiKeys": {"values": {"A": "b"}},
            "monitor": {"enabled": True},
            "rules": {"enabled": True},
            "state": {"persistence": {"enabled": True}},
            "web": {"externalUrl": "https://metrics.example.com/seasalt"},
        }
    )
    assert "http://localhost:9877/seasalt/" in said
    assert "Nothing scrapes it yet" not in said
    assert "Alerts link to example addresses" in said
    assert "The state file is lost" not in said
    assert "API keys are part of this release" in said


# What the pod may do.


@every_case
def test_the_pod_is_one_that_podsecurity_restricted_admits(case: str) -> None:
    pod = workload(rendered(case))["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65534
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for one in (*pod["containers"], *pod.get("initContainers", [])):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= allowed


def test_no_two_pods_poll_at_the_same_time() -> None:
    spec = only(rendered("minimal"), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def sharded(count: int, **others: Any) -> list[Object]:  # noqa: ANN401 - values
    """The objects of a release with so many shards."""
    return rendered(
        values=SERVE | {"shards": {"count": count}, "monitor": {"enabled": True}} | others
    )


def test_a_pod_takes_its_shard_from_its_ordinal() -> None:
    found = container(sharded(3))
    (index,) = found["env"]
    assert index["valueFrom"]["fieldRef"] == {
        "fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"
    }
    assert f"--shard=$({index['name']})/3" in found["args"]
    assert not [one for one in container(sharded(1))["args"] if one.startswith("--shard")]


def test_no_pods_of_two_counts_run_side_by_side() -> None:
    """A selector cannot be changed, and whoever is ready has nobody of another count in their place."""
    two, three = (only(sharded(count), "StatefulSet")["spec"] for count in (2, 3))
    assert (two["replicas"], three["replicas"]) == (2, 3)
    assert two["selector"] != three["selector"]
    for spec in (two, three):
        assert spec["podManagementPolicy"] == "OrderedReady"
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()


def test_each_shard_has_a_volume_of_its_own_that_outlives_the_set() -> None:
    objects = sharded(3, state={"persistence": {"enabled": True, "size": "2Gi"}})
    spec = only(objects, "StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"] == {"storage": "2Gi"}
    assert spec["persistentVolumeClaimRetentionPolicy"] == dict.fromkeys(
        ("whenDeleted", "whenScaled"), "Retain"
    )
    mounted = {one["name"]: one["mountPath"] for one in container(objects)["volumeMounts"]}
    assert mounted[claim["metadata"]["name"]] == "/var/lib/seasalt-exporter"
    assert "--state.file=/var/lib/seasalt-exporter/state" in container(objects)["args"]
    assert "state" not in str(spec["template"]["spec"]["volumes"])
    assert of_kind(objects, "PersistentVolumeClaim") == []
    empty = only(sharded(3), "StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in empty
    assert {"name": "state", "emptyDir": {"sizeLimit": "512Mi"}} in empty["template"]["spec"][
        "volumes"
    ]


def test_the_series_of_a_shard_are_told_apart_by_its_pods_name() -> None:
    objects = sharded(3)
    (endpoint,) = only(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert {
        "sourceLabels": ["__meta_kubernetes_namespace", "__meta_kubernetes_pod_name"],
        "separator": "/",
        "targetLabel": "instance",
        "action": "replace",
    } in endpoint["relabelings"]
    service = only(objects, "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert service["metadata"]["name"] == only(objects, "StatefulSet")["spec"]["serviceName"]


@pytest.mark.parametrize("name", ["chat", "a" * 53])
def test_the_names_of_the_shards_fit_into_a_label(name: str) -> None:
    objects = rendered(values=SERVE | {"shards": {"count": 3}, "fullnameOverride": name})
    found = only(objects, "StatefulSet")["metadata"]["name"]
    # The pod's name is a label, and so is the name of its revision, with a digest.
    assert max(len(f"{found}-999"), len(f"{found}-5d8c9b7f64")) <= 63


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (DEMO, "shards.count: the demo is one pod"),
        (
            {"state": {"persistence": {"enabled": True, "existingClaim": "mine"}}},
            "state.persistence.existingClaim: each shard has a claim of its own",
        ),
        ({"service": {"type": "NodePort"}}, "service: that of shards is headless"),
        ({"shards": {"count": 0}}, "/shards/count"),
    ],
    ids=["demo", "claim", "service", "none"],
)
def test_what_shards_cannot_have_is_refused(values: dict[str, Any], told: str) -> None:
    config = {} if values is DEMO else SERVE
    assert told in refused(config | {"shards": {"count": 3}} | values)


def test_a_kubernetes_whose_pods_do_not_know_their_index_is_refused() -> None:
    done = ran(
        *("template", RELEASE, str(CHART), "--kube-version=1.27.9"),
        values=SERVE | {"shards": {"count": 2}},
    )
    assert "shards.count: a pod knows its index from Kubernetes 1.28 on" in done.stderr


def test_the_pod_has_more_time_to_end_than_the_exporter_takes() -> None:
    spec = only(rendered("minimal"), "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] > 10


def test_keys_are_referred_to_and_never_in_the_chart_unless_chosen() -> None:
    assert of_kind(rendered("minimal"), "Secret") == []
    objects = rendered(values=SERVE | {"apiKeys": {"values": {"SEACHAT_API_KEY": "sk-1"}}})
    secret = only(objects, "Secret")
    assert secret["data"] == {"SEACHAT_API_KEY": "c2stMQ=="}
    assert "sk-1" not in json.dumps([one for one in objects if one is not secret])
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    (volume,) = [one["secret"] for one in pod["volumes"] if "secret" in one]
    assert volume == {"secretName": secret["metadata"]["name"]}


def test_keys_become_variables_only_if_asked_for() -> None:
    values = SERVE | {"apiKeys": {"existingSecret": "keys"}}
    assert "envFrom" not in container(rendered(values=values))
    keys = {"existingSecret": "keys", "environment": True, "mountPath": ""}
    found = container(rendered(values=SERVE | {"apiKeys": keys}))
    assert found["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert "/run/secrets/seasalt-exporter" not in str(found["volumeMounts"])


def test_the_network_policy_lets_in_scrapes_alone_and_out_dns_and_the_api() -> None:
    spec = only(rendered("minimal"), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    opened = [(port["port"], port["protocol"]) for rule in spec["egress"] for port in rule["ports"]]
    assert opened == [(53, "UDP"), (53, "TCP"), (443, "TCP")]
    spec = only(rendered(values=DEMO | {"networkPolicy": {"enabled": True}}), "NetworkPolicy")[
        "spec"
    ]
    assert "443" not in str(spec["egress"])


# Changes.


def annotations(values: dict[str, Any]) -> dict[str, str]:
    template = only(rendered(values=values), "Deployment")["spec"]["template"]
    found: dict[str, str] = template["metadata"].get("annotations", {})
    return found


def test_a_changed_configuration_replaces_the_pod() -> None:
    other = {"config": {"workspaces": [WORKSPACE | {"name": "globex"}]}}
    assert annotations(SERVE) == annotations(SERVE | {"links": {"grafana": "http://grafana"}})
    assert annotations(SERVE) != annotations(other)
    keys = [{"apiKeys": {"environment": True, "values": {"A": value}}} for value in "bc"]
    assert annotations(SERVE | keys[0]) != annotations(SERVE | keys[1])


def test_with_hot_reload_it_does_not_and_the_exporter_follows_the_file() -> None:
    values = SERVE | {"hotReload": True}
    assert annotations(values) == {}
    assert "--config.enable-auto-reload" in container(rendered(values=values))["args"]
    assert "--config.enable-auto-reload" not in container(rendered(values=SERVE))["args"]


def test_a_new_chart_with_the_same_pod_restarts_nothing() -> None:
    template = only(rendered(values=SERVE), "Deployment")["spec"]["template"]
    assert "helm.sh/chart" not in template["metadata"]["labels"]


# Labels.


def test_every_object_has_the_common_labels_and_its_own() -> None:
    objects = rendered("full")
    own = {
        "Deployment": "deployment", "Service": "service", "ServiceAccount": "account",
        "NetworkPolicy": "network", "PodDisruptionBudget": "budget", "PersistentVolumeClaim": "state",
    }  # fmt: skip
    checked = [one for one in objects if "-more" not in str(one) and "-text" not in str(one)]
    assert {one["kind"] for one in checked} >= {*own, "ConfigMap", "PodMonitor", "PrometheusRule"}
    for one in checked:
        metadata = one["metadata"]
        assert metadata["labels"]["team"] == "support"
        assert metadata["annotations"]["example.com/owner"] == "support"
        assert metadata["labels"]["app.kubernetes.io/name"] == "analytics"
        if one["kind"] in own:
            assert metadata["labels"]["tier"] == own[one["kind"]]
    pod = only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert pod["labels"]["tier"] == "pod"
    assert pod["annotations"]["example.com/pod"] == "yes"
    for one in of_kind(objects, "PodMonitor", "PrometheusRule"):
        assert one["metadata"]["labels"]["release"] == "prometheus"
        assert one["metadata"]["namespace"] == "monitoring"


@every_case
def test_whatever_selects_the_pods_finds_them(case: str) -> None:
    objects = rendered(case)
    labels = workload(objects)["spec"]["template"]["metadata"]["labels"]
    service = only(objects, "Service")
    selectors = [service["spec"]["selector"], workload(objects)["spec"]["selector"]["matchLabels"]]
    for one in of_kind(objects, "NetworkPolicy", "PodDisruptionBudget", "PodMonitor"):
        spec = one["spec"]
        selectors.append((spec.get("podSelector") or spec["selector"])["matchLabels"])
    for one in of_kind(objects, "ServiceMonitor"):
        selector = one["spec"]["selector"]["matchLabels"]
        assert selector.items() <= service["metadata"]["labels"].items()
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


# The exporter that it starts.


@every_case
def test_the_exporter_takes_its_arguments(case: str) -> None:
    found = container(rendered(case))
    index = next((one for one in found.get("env", []) if one["name"] == "POD_INDEX"), None)
    arguments = [one.replace("$(POD_INDEX)", "2") if index else one for one in found["args"]]
    invocation = parse(arguments, {})
    assert invocation.command == ("demo" if case == "demo" else "serve")
    assert invocation.one("shard") == ("2/3" if case == "shards" else "0/1")
    assert invocation.one("web.listen-address") == f":{found['ports'][0]['containerPort']}"
    mounted = {mount["mountPath"] for mount in found["volumeMounts"]}
    for flag in ("config.file", "state.file", "web.config.file"):
        if flag in invocation.given:
            assert str(Path(invocation.one(flag)).parent) in mounted


def test_it_answers_what_probes_and_monitor_ask_under_a_prefix(tmp_path: Path) -> None:
    """The demo behind a path, with Prometheus as the monitor configures it."""
    objects = rendered(
        values=DEMO
        | {"monitor": {"enabled": True}, "web": {"externalUrl": "http://localhost/a/b%20c/"}}
    )
    found = container(objects)
    monitor = only(objects, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    command = [*found["args"], f"--web.listen-address={LOOPBACK}"]
    command.remove("--web.listen-address=:9877")
    command.append(f"--sandbox.listen-address={LOOPBACK}")
    with started([sys.executable, "-m", "exporter", *command]) as process:
        address = process.said(r"^Metrics +http://([^/]+)/\S+$")
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            answered(f"http://{address}{quote(found[probe]['httpGet']['path'])}")
        config = tmp_path / "prometheus.yml"
        target = {
            "targets": [address],
            "labels": {"pod": "p-1", "container": "exporter", "endpoint": "http", "namespace": "n"},
        }
        job = {
            "job_name": "serviceMonitor/n/chat/0",
            "scrape_interval": "1s",
            "metrics_path": endpoint["path"],
            "static_configs": [target],
            "relabel_configs": [as_prometheus_writes(one) for one in endpoint["relabelings"]],
        }
        config.write_text(yaml.safe_dump({"scrape_configs": [job]}), encoding="utf-8")
        prometheus = [
            *(program("prometheus"), f"--config.file={config}", f"--web.listen-address={LOOPBACK}"),
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        ]
        with started(prometheus) as server:
            url = "http://" + server.said(r'msg="Listening on".* address=(\S+)')

            def up() -> Any:  # noqa: ANN401 - JSON
                asked = get(f"{url}/api/v1/query?query=up")
                found = json.loads(asked.body)["data"]["result"] if asked.status == 200 else []
                return [one for one in found if one["value"][1] == "1"]

            (series,) = wait_for(up, "no scrape", more=lambda: server.stderr)
    assert series["metric"] == {
        "__name__": "up",
        "job": "seasalt",
        "instance": f"{NAMESPACE}/{only(objects, 'Deployment')['metadata']['name']}",
        "namespace": "n",
    }


def as_prometheus_writes(relabeling: dict[str, Any]) -> dict[str, Any]:
    """A relabelling of the operator's in Prometheus's own spelling."""
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(field, field): value for field, value in relabeling.items()}


def test_with_a_web_configuration_the_probes_need_neither_password_nor_certificate() -> None:
    objects = rendered(
        values=SERVE | {"web": {"configSecret": "tls"}, "monitor": {"enabled": True}}
    )
    found = container(objects)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert found[probe]["exec"] == {"command": ["python", "-m", "exporter", "health"]}
        assert "httpGet" not in found[probe]
    assert only(objects, "ServiceMonitor")["spec"]["endpoints"][0]["scheme"] == "https"


def test_the_state_survives_the_pod_only_on_a_volume_claim() -> None:
    def volume(state: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        objects = rendered(values=SERVE | {"state": state})
        pod = only(objects, "Deployment")["spec"]["template"]["spec"]
        found = [one for one in pod["volumes"] if one["name"] == "state"]
        return (found, len(of_kind(objects, "PersistentVolumeClaim")))

    empty = [{"name": "state", "emptyDir": {"sizeLimit": "512Mi"}}]
    assert volume({}) == (empty, 0)
    for existing, made, name in (("", 1, "chat-seasalt-exporter"), ("mine", 0, "mine")):
        claim = [{"name": "state", "persistentVolumeClaim": {"claimName": name}}]
        state = {"persistence": {"enabled": True, "existingClaim": existing}}
        assert volume(state) == (claim, made)
    assert volume({"enabled": False}) == ([], 0)


# Rules and dashboards.


def test_rules_and_dashboards_are_not_written_twice_and_are_in_the_packaged_chart(
    tmp_path: Path,
) -> None:
    assert (CHART / "rules").resolve() == RULES
    assert (CHART / "dashboards").resolve() == DASHBOARDS
    packaged = ran("package", str(CHART), f"--destination={tmp_path}")
    assert packaged.status == 0, packaged.stderr
    (archive,) = tmp_path.glob("*.tgz")
    assert archive.name == f"seasalt-exporter-{__version__}.tgz"

    values = DEMO | {"rules": {"enabled": True}, "dashboards": {"enabled": True}}
    assert rendered(values=values, chart=archive) == rendered(values=values)


def test_as_shipped_the_rules_are_those_of_the_files() -> None:
    objects = rendered(values=DEMO | {"rules": {"enabled": True}})
    files = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in RULES.glob("*.yml")}
    found = {
        one["metadata"]["name"].removeprefix("chat-seasalt-exporter-"): one["spec"]
        for one in of_kind(objects, "PrometheusRule")
    }
    assert found == files


def test_the_values_change_the_rules_that_they_name_and_no_others(tmp_path: Path) -> None:
    objects = rendered("full")
    rules = {
        (rule.get("alert") or rule["record"], rule.get("labels", {}).get("workspace")): rule
        for group in groups(objects)
        for rule in group["rules"]
    }
    assert rules["seasalt:threshold:csat_low", None]["expr"] == "vector(4)"
    assert rules["seasalt:threshold:csat_low", "acme"]["expr"] == "vector(4.2)"
    assert rules["seasalt:threshold:api_failing", None]["expr"] == "vector(0.5)"
    assert rules["seasalt:threshold:csat_critical", None]["expr"] == "vector(2.5)"
    assert rules["seasalt:office_hours:end", None]["expr"] == "vector(20)"
    assert rules["seasalt:office_hours:last_weekday", None]["expr"] == "vector(5)"
    assert rules["seasalt:exporter:job", None]["labels"] == {"job": "chat"}
    address = rules["seasalt:address:grafana", None]["labels"]
    assert address == {"url": "https://grafana.example.com"}
    assert ("SeasaltVolumeSpiked", None) not in rules
    labels = rules["SeasaltVolumeDropped", None]["labels"]
    assert (labels["team"], labels["severity"]) == ("support", "warning")

    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": list(groups(objects))}), encoding="utf-8")
    checked = finished([program("promtool"), "check", "rules", "--lint=none", str(file)])
    assert checked.status == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("kind", ["ServiceMonitor", "PodMonitor"])
def test_monitor_and_rules_agree_on_the_job(kind: str) -> None:
    values = {"monitor": {"enabled": True, "kind": kind, "job": "bots"}, "rules": {"enabled": True}}
    objects = rendered(values=DEMO | values)
    spec = only(objects, kind)["spec"]
    (endpoint,) = spec.get("endpoints") or spec["podMetricsEndpoints"]
    assert {"targetLabel": "job", "replacement": "bots", "action": "replace"} in endpoint[
        "relabelings"
    ]
    jobs = [
        rule
        for group in groups(objects)
        for rule in group["rules"]
        if "job" in rule.get("labels", {})
    ]
    assert [rule["labels"]["job"] for rule in jobs] == ["bots"]


def test_the_monitors_api_version_can_be_another_one() -> None:
    version = "azmonitoring.coreos.com/v1"
    enabled = {"enabled": True, "apiVersion": version}
    objects = rendered(values=DEMO | {"monitor": enabled, "rules": enabled})
    for one in of_kind(objects, "ServiceMonitor", "PrometheusRule"):
        assert one["apiVersion"] == version


def test_grafanas_sidecar_gets_each_dashboard_as_it_is_in_a_configmap_of_bounded_size() -> None:
    objects = of_kind(rendered(values=DEMO | {"dashboards": {"enabled": True}}), "ConfigMap")
    found: dict[str, str] = {}
    for one in objects:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"]["grafana_folder"] == "Seasalt"
        # `kubectl apply` writes the object into an annotation, which holds 256 KiB; a ConfigMap holds 1 MiB.
        assert len(json.dumps(one)) < 256 * 1024
        found |= one["data"]
    assert found == {path.name: path.read_text("utf-8") for path in DASHBOARDS.glob("*.json")}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (CHART / link).exists(), link
