"""The Helm chart in a real Kubernetes API server, with its controllers and without a node."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from e2e.programs import ROOT, missing
from support.charts import CASES, CHART, ran
from support.processes import PATIENCE, Ended, Running, finished, free_port, started, wait_for

TOOLS: Final = ROOT / ".tools/kubernetes"
TOKEN: Final = "of-the-tests"  # noqa: S105 - of a server on loopback
PATIENT: Final = 3 * PATIENCE
"""How long the API server may take until it is ready, in seconds, on a busy machine."""
SECRET: Final = 1024 * 1024
"""How many bytes a Secret may have."""
FILES: Final = len(list((CHART / "rules").glob("*.yml")))
DASHBOARDS: Final = len(list((CHART / "dashboards").glob("*.json")))
RESTRICTED: Final = {
    f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")
}
SERVE: Final = {
    "config": {
        "workspaces": [
            {"name": "acme", "api": "seachat", "api_key_file": "/run/secrets/seasalt-exporter/KEY"}
        ]
    },
    "apiKeys": {"existingSecret": "keys"},
    "state": {"persistence": {"enabled": True}},
    "monitor": {"enabled": True},
    "rules": {"enabled": True},
    "dashboards": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "podDisruptionBudget": {"enabled": True},
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A control plane.

    Attributes:
        kubeconfig: How it is reached.
        kubectl: The path of kubectl.
    """

    kubeconfig: Path
    kubectl: str

    def asked(self, *arguments: str, stdin: object = None) -> Ended:
        """What kubectl does, with an object on its standard input."""
        given = json.dumps(stdin).encode() if stdin else b""
        command = [self.kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]
        return finished(command, stdin=given, within=PATIENT)

    def told(self, *arguments: str, stdin: object = None) -> str:
        """What kubectl prints."""
        done = self.asked(*arguments, stdin=stdin)
        assert done.status == 0, done.stderr
        return done.stdout

    def items(self, namespace: str, kind: str) -> list[Any]:
        """The objects of a kind."""
        found: list[Any] = json.loads(
            self.told("get", kind, f"--namespace={namespace}", "--output=json")
        )["items"]
        return found

    def helm(self, namespace: str, *arguments: str, values: object = None) -> Ended:
        """What Helm does in a namespace."""
        environment = {"KUBECONFIG": str(self.kubeconfig), "HELM_NAMESPACE": namespace}
        return ran(*arguments, values=values, environment=environment)

    def namespace(self, name: str) -> str:
        """Make a namespace that admits nothing but what PodSecurity calls restricted."""
        metadata = {"name": name, "labels": RESTRICTED}
        self.told("create", "--filename=-", stdin=manifest("v1", "Namespace", metadata))
        return name


def manifest(version: str, kind: str, metadata: dict[str, Any], **rest: object) -> dict[str, Any]:
    """An object of Kubernetes."""
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}


def tool(name: str) -> str:
    """The path of a program."""
    for path in (str(ROOT / ".tools/helm" / name), shutil.which(name)):
        if path and os.access(path, os.X_OK):
            return path
    return missing(f"no {name}: tests/get-helm fetches it")


def written(file: Path, text: str) -> str:
    """The path of a file with a text."""
    file.write_text(text, encoding="utf-8")
    return str(file)


@contextmanager
def control_plane(folder: Path) -> Iterator[Cluster]:
    """Etcd, the API server and the controllers, on loopback."""
    peer, client, port = free_port(), free_port(), free_port()
    etcd, server = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{port}"
    key = folder / "accounts.key"
    made = finished(["openssl", "genrsa", "-out", str(key), "2048"])
    assert made.status == 0, made.stderr
    tokens = written(folder / "tokens.csv", f'{TOKEN},admin,1,"system:masters"\n')
    context = {"cluster": "here", "user": "admin"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "here", "cluster": {"server": server, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "here", "context": context}],
        "current-context": "here",
    }
    kubeconfig = written(folder / "kubeconfig", yaml.safe_dump(config))
    Path(kubeconfig).chmod(0o600)
    cluster = Cluster(Path(kubeconfig), tool("kubectl"))

    with ExitStack() as stack:

        def start(*command: str) -> Running:
            return stack.enter_context(started(command))

        start(
            *(str(TOOLS / "etcd"), f"--data-dir={folder / 'etcd'}", "--log-level=error"),
            *(f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}"),
            *(f"--listen-peer-urls=http://127.0.0.1:{peer}", "--unsafe-no-fsync"),
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
        )
        plane = str(TOOLS / "control-plane")
        api = start(
            *(plane, "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={port}"),
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"),
            *("--endpoint-reconciler-type=none", f"--cert-dir={folder / 'certificates'}"),
            *("--authorization-mode=RBAC", f"--token-auth-file={tokens}"),
            *("--service-account-issuer=https://kubernetes.default.svc",),
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
            "--service-cluster-ip-range=10.96.0.0/24",
        )
        wait_for(
            lambda: cluster.asked("get", "--raw=/readyz").status == 0,
            *("the API server is not ready", PATIENT),
            lambda: api.stderr[-2000:],
        )
        controllers = start(
            *(
                plane,
                "kube-controller-manager",
                f"--kubeconfig={kubeconfig}",
                "--leader-elect=false",
            ),
            *(f"--service-account-private-key-file={key}", "--secure-port=0"),
            "--controllers=*,-node-ipam-controller",
        )
        yield cluster
        # It ends at the second one, after this block, and would wait long after the first.
        controllers.send(signal.SIGTERM)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane that knows the Prometheus operator's objects."""
    if not (TOOLS / ".control_plane").exists():
        pytest.skip("not asked for: tests/cluster builds a Kubernetes API server, which takes long")
    with control_plane(tmp_path_factory.mktemp("kubernetes")) as found:
        found.told("create", f"--filename={TOOLS / 'crds'}")
        found.told("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENT}s")
        yield found


def names(found: list[Any]) -> list[str]:
    """The names of objects."""
    return [one["metadata"]["name"] for one in found]


def pods(cluster: Cluster, namespace: str) -> list[Any]:
    """The pods that are not on their way out."""
    found = cluster.items(namespace, "pods")
    return [one for one in found if "deletionTimestamp" not in one["metadata"]]


def one_pod(cluster: Cluster, namespace: str, fits: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - JSON
    """The only pod, as soon as there is one that fits."""

    def look() -> Any:  # noqa: ANN401 - JSON
        found = pods(cluster, namespace)
        return found[0] if len(found) == 1 and fits(found[0]) else None

    return wait_for(
        look, "no such pod", PATIENT, lambda: cluster.told("get", "events", "-A", "--output=wide")
    )


def happened(watch: Running) -> list[str]:
    """What a watch has seen of pods coming and going."""
    return re.findall(r'"type": ?"(ADDED|DELETED)"', watch.stdout)


def test_a_pod_that_is_not_restricted_is_refused_here(cluster: Cluster) -> None:
    """Otherwise the next test would show nothing."""
    namespace = cluster.namespace("refused")
    wait_for(
        lambda: "default" in names(cluster.items(namespace, "serviceaccounts")),
        "no service account",
        PATIENT,
    )
    spec = {"containers": [{"name": "root", "image": "tool"}]}
    pod = manifest("v1", "Pod", {"name": "root", "namespace": namespace}, spec=spec)
    refused = cluster.asked("create", "--filename=-", stdin=pod)
    assert refused.status != 0
    assert 'violates PodSecurity "restricted:latest"' in refused.stderr


def test_the_chart_is_installed_upgraded_rolled_back_and_removed_with_one_pod_at_most(
    cluster: Cluster,
) -> None:
    namespace = cluster.namespace("story")
    release = ("chat", str(CHART))

    def checksum(pod: Any) -> str:  # noqa: ANN401 - JSON
        return str(pod["metadata"]["annotations"]["checksum/config"])

    watch = [
        *(cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"),
        *("get", "pods", "--watch", "--output-watch-events", "--output=json"),
    ]
    with started(watch) as watched:
        installed = cluster.helm(namespace, "install", *release, values=SERVE)
        assert installed.status == 0, installed.stderr
        assert "would violate PodSecurity" not in installed.stderr
        first = one_pod(cluster, namespace, lambda _: True)
        assert first["spec"]["securityContext"]["runAsUser"] == 65534
        assert names(cluster.items(namespace, "servicemonitors")) == ["chat-seasalt-exporter"]
        assert len(cluster.items(namespace, "prometheusrules")) == FILES
        assert len(cluster.items(namespace, "configmaps")) >= DASHBOARDS + 1

        # What Helm keeps of a release is a Secret.
        (kept,) = [
            one for one in cluster.items(namespace, "secrets") if one["type"].startswith("helm.sh/")
        ]
        assert len(kept["data"]["release"]) < SECRET / 2

        changed = json.loads(json.dumps(SERVE))
        changed["config"]["interval"] = "15m"
        upgraded = cluster.helm(namespace, "upgrade", *release, values=changed)
        assert upgraded.status == 0, upgraded.stderr
        second = one_pod(cluster, namespace, lambda pod: checksum(pod) != checksum(first))

        same = cluster.helm(namespace, "upgrade", *release, values=changed | {"rules": {}})
        assert same.status == 0, same.stderr
        assert cluster.items(namespace, "prometheusrules") == []
        assert names(pods(cluster, namespace)) == names([second])

        rolled_back = cluster.helm(namespace, "rollback", "chat", "1")
        assert rolled_back.status == 0, rolled_back.stderr
        one_pod(cluster, namespace, lambda pod: checksum(pod) == checksum(first))
        assert len(cluster.items(namespace, "prometheusrules")) == FILES

        removed = cluster.helm(namespace, "uninstall", "chat", "--wait")
        assert removed.status == 0, removed.stderr
        wait_for(lambda: not cluster.items(namespace, "pods"), "a pod is left", PATIENT)
        events = wait_for(
            lambda: happened(watched) if happened(watched).count("DELETED") >= 3 else [],
            "not all pods are seen",
            PATIENT,
            lambda: watched.stdout,
        )
    there = most = 0
    for event in events:
        there += 1 if event == "ADDED" else -1
        most = max(most, there)
    assert (there, most) == (0, 1)
    kinds = "deployments,replicasets,services,secrets,networkpolicies,poddisruptionbudgets"
    left = cluster.items(namespace, f"{kinds},servicemonitors,prometheusrules")
    assert names(left) == []
    assert names(cluster.items(namespace, "configmaps")) in ([], ["kube-root-ca.crt"])


def begun(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """The labels of a pod once it is there; from then on it is ready, as no kubelet makes it so."""

    def look() -> Any:  # noqa: ANN401 - JSON
        return next((one for one in pods(cluster, namespace) if names([one]) == [name]), None)

    found = wait_for(look, f"no pod {name}", PATIENT)
    ready = {"type": "Ready", "status": "True"}
    status = json.dumps({"status": {"phase": "Running", "conditions": [ready]}})
    where = (f"--namespace={namespace}", "--subresource=status", "--type=merge")
    cluster.told("patch", "pod", name, *where, f"--patch={status}")
    labels: dict[str, str] = found["metadata"]["labels"]
    return labels


def test_from_two_shards_to_three_no_pods_of_two_counts_run_side_by_side(cluster: Cluster) -> None:
    namespace, name = cluster.namespace("shards"), "chat-seasalt-exporter-shards"
    shared = json.loads(json.dumps(SERVE))
    shared["config"]["concurrency"] = 6
    two, three = (shared | {"shards": {"count": count}} for count in (2, 3))

    def of(*counts: int) -> None:
        for index, count in enumerate(counts):
            labels = begun(cluster, namespace, f"{name}-{index}")
            assert labels["apps.kubernetes.io/pod-index"] == str(index)
            assert labels["app.kubernetes.io/component"] == f"shard-of-{count}"

    installed = cluster.helm(namespace, "install", "chat", str(CHART), values=two)
    assert installed.status == 0, installed.stderr
    assert "would violate PodSecurity" not in installed.stderr
    of(2, 2)
    assert len(cluster.items(namespace, "persistentvolumeclaims")) == 2

    refused = cluster.helm(namespace, "upgrade", "chat", str(CHART), values=three)
    assert refused.status != 0
    assert f"delete statefulset {name} --cascade=foreground" in refused.stderr
    # Who renders the chart without the cluster is refused by the API server.
    rendered = cluster.helm(namespace, "template", "chat", str(CHART), values=three).stdout
    (shards,) = [
        one for one in yaml.safe_load_all(rendered) if one and one["kind"] == "StatefulSet"
    ]
    applied = cluster.asked("apply", "--filename=-", stdin=shards)
    assert applied.status != 0
    assert "updates to statefulset spec" in applied.stderr

    where = f"--namespace={namespace}"
    cluster.asked("delete", "pods", "--all", where, "--force", "--grace-period=0", "--wait=false")
    cluster.told("delete", "statefulset", name, where, "--cascade=foreground")
    wait_for(lambda: not cluster.items(namespace, "pods"), "a pod is left", PATIENT)
    upgraded = cluster.helm(namespace, "upgrade", "chat", str(CHART), values=three)
    assert upgraded.status == 0, upgraded.stderr
    of(3, 3, 3)
    assert len(cluster.items(namespace, "persistentvolumeclaims")) == 3


def test_everything_that_can_be_set_is_admitted_and_the_pod_with_it(cluster: Cluster) -> None:
    namespace = cluster.namespace("full")
    cluster.namespace("monitoring")
    for one in (
        manifest("scheduling.k8s.io/v1", "PriorityClass", {"name": "low"}, value=1),
        manifest("node.k8s.io/v1", "RuntimeClass", {"name": "gvisor"}, handler="runsc"),
    ):
        cluster.told("create", "--filename=-", stdin=one)
    values = f"--values={CASES['full']}"
    # Two families of addresses need a cluster that has both.
    single = {"service": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}
    installed = cluster.helm(namespace, "install", "chat", str(CHART), values, values=single)
    assert installed.status == 0, installed.stderr
    assert "would violate PodSecurity" not in installed.stderr
    assert len(one_pod(cluster, namespace, lambda _: True)["spec"]["containers"]) == 2
    assert names(cluster.items("monitoring", "podmonitors")) == ["chat-analytics"]
    assert len(cluster.items("monitoring", "prometheusrules")) == FILES + 1
    assert len(cluster.items("monitoring", "configmaps")) >= DASHBOARDS


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"monitor": {"enabled": True, "extraSpec": {"sampelLimit": 1}}}, "sampelLimit"),
        ({"monitor": {"enabled": True, "interval": "60s", "extraEndpoint": {"port": 1}}}, "port"),
        (
            {"monitor": {"enabled": True, "relabelings": [{"action": "relabel"}]}},
            "relabelings",
        ),
        ({"rules": {"enabled": True, "additionalGroups": [{"name": "a", "rules": [{"exp": "1"}]}]}}, "exp"),
    ],
    ids=["field", "type", "action", "rule"],
)  # fmt: skip
def test_what_the_operator_would_not_understand_is_refused(
    cluster: Cluster, values: dict[str, Any], told: str, request: pytest.FixtureRequest
) -> None:
    namespace = cluster.namespace(f"refused-{request.node.callspec.id}")
    demo = {"demo": {"enabled": True}}
    refused = cluster.helm(namespace, "install", "chat", str(CHART), values=demo | values)
    assert refused.status != 0
    assert told in refused.stderr
