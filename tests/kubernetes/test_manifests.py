from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from engine.config_file import load_config
from jobs.app import app
from tests.kubernetes.schema import RESOURCES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "kubernetes"
DAY = "2026-01-31"
MANIFESTS = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")


def documents(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8").replace("AS-OF", DAY)
    return [entry for entry in yaml.safe_load_all(text) if entry]


EVERYTHING = [(file.name, entry) for file in MANIFESTS for entry in documents(file)]


def the(kind: str, name: str | None = None) -> dict[str, Any]:
    [found] = [entry for _, entry in EVERYTHING if entry["kind"] == kind and name in {None, entry["metadata"]["name"]}]
    return found


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each pod template of each manifest, with its labels."""
    yield "starter", the("CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    for kind, spec in (("RayJob", the("RayJob")["spec"]), ("RayCronJob", the("RayCronJob")["spec"]["jobTemplate"])):
        yield f"{kind} head", spec["rayClusterSpec"]["headGroupSpec"]["template"]
        for group in spec["rayClusterSpec"]["workerGroupSpecs"]:
            yield f"{kind} {group['groupName']}", group["template"]


PODS = list(pods())
each_pod = pytest.mark.parametrize(("name", "template"), PODS, ids=[name for name, _ in PODS])


def test_what_there_is() -> None:
    assert [(file, entry["kind"]) for file, entry in EVERYTHING] == [
        ("cronjob.yaml", "CronJob"),
        ("namespace.yaml", "Namespace"),
        ("network-policy.yaml", "NetworkPolicy"),
        ("network-policy.yaml", "NetworkPolicy"),
        ("raycronjob.yaml", "RayCronJob"),
        ("rayjob.yaml", "RayJob"),
        ("starter.yaml", "ServiceAccount"),
        ("starter.yaml", "Role"),
        ("starter.yaml", "RoleBinding"),
        ("storage.yaml", "PersistentVolumeClaim"),
    ]
    assert len(PODS) == 5


@pytest.mark.parametrize("kind", list(RESOURCES))
def test_resources_of_kuberay_have_its_fields(kind: str) -> None:
    jsonschema.validate(the(kind), RESOURCES[kind])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "entryPoint"), "x"),
        (("spec", "backoffLimit"), "0"),
        (("spec", "rayClusterSpec", "authOptions", "mode"), "Token"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
    ],
)
def test_the_schema_refuses(path: tuple[str, ...], value: object) -> None:
    job = documents(FOLDER / "rayjob.yaml")[0]
    inner: Any = job
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RESOURCES["RayJob"])


def test_resources_of_kubernetes_follow_its_published_schemas() -> None:
    for _, entry in EVERYTHING:
        if entry["kind"] not in RESOURCES:
            kubernetes_validate.validate(entry, "1.32", strict=True)
    for name, template in PODS:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name.lower().replace(" ", "-")}, **template}
        kubernetes_validate.validate({**pod, "spec": template["spec"]}, "1.32", strict=True)


def test_kustomize_puts_it_together() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    done = subprocess.run([kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=True, timeout=60)
    made = [entry for entry in yaml.safe_load_all(done.stdout) if entry]
    assert {entry["metadata"].get("namespace") for entry in made if entry["kind"] != "Namespace"} == {"tamis"}
    start = next(entry for entry in made if entry["metadata"]["name"].startswith("tamis-start-"))
    assert set(start["data"]) == {"rayjob.yaml", "start_rayjob.py"}
    [cron] = [entry for entry in made if entry["kind"] == "CronJob"]
    [volume] = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == start["metadata"]["name"]
    mounted = next(entry for entry in made if entry["metadata"]["name"] == "tamis-configuration")
    assert set(mounted["data"]) == {"tamis.toml"}


# ---- Closed by default


@each_pod
def test_pods_are_no_root_and_cannot_become_it(name: str, template: dict[str, Any]) -> None:
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is (name == "starter")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert [volume for volume in spec["volumes"] if "hostPath" in volume] == []
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@each_pod
def test_pods_ask_for_what_they_use_and_end_on_their_own(name: str, template: dict[str, Any]) -> None:
    spec = template["spec"]
    [container] = spec["containers"]
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    assert 10 <= spec["terminationGracePeriodSeconds"] <= 300
    assert spec["restartPolicy"] == "Never"
    assert re.fullmatch(r"registry\.example\.org/tamis:\d+\.\d+\.\d+", container["image"])
    if name != "starter":
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        # Where Ray writes; all else is read-only.
        assert volumes[mounts["/tmp"]]["emptyDir"]["sizeLimit"]  # noqa: S108 - of the pod
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"  # noqa: S108 - of the pod
        assert volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"] == "tamis-data"
        variables = {entry["name"]: entry["value"] for entry in container["env"]}
        assert variables["HOME"].startswith("/tmp/")  # noqa: S108 - of the pod
        assert variables["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] == "0"
        assert not [entry for entry in variables if "TOKEN" in entry or "SECRET" in entry]


@pytest.mark.parametrize("kind", ["RayJob", "RayCronJob"])
def test_clusters_want_a_token_and_show_no_dashboard(kind: str) -> None:
    spec = the(kind)["spec"] if kind == "RayJob" else the(kind)["spec"]["jobTemplate"]
    cluster = spec["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["headGroupSpec"]["enableIngress"] is False
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster["rayVersion"] == version("ray")
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] > 0


def test_policies_cover_every_pod() -> None:
    selected = []
    for name in ("tamis-ray", "tamis-starter"):
        policy = the("NetworkPolicy", name)["spec"]
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        selected.append(policy["podSelector"]["matchLabels"])
    assert [
        template["metadata"]["labels"] for _, template in PODS if template["metadata"]["labels"] not in selected
    ] == []
    assert the("NetworkPolicy", "tamis-starter")["spec"]["ingress"] == []


def test_only_the_cluster_and_the_operator_reach_a_cluster() -> None:
    inside, operator = the("NetworkPolicy", "tamis-ray")["spec"]["ingress"]
    [source] = inside["from"]
    assert set(source) == {"podSelector"}
    [source] = operator["from"]
    assert set(source) == {"namespaceSelector", "podSelector"}
    assert operator["ports"] == [{"port": 8265, "protocol": "TCP"}]


def test_the_starter_may_make_rayjobs_and_nothing_else() -> None:
    assert the("Role")["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]
    assert the("RoleBinding")["subjects"] == [{"kind": "ServiceAccount", "name": "tamis-starter"}]
    pod = the("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == the("ServiceAccount")["metadata"]["name"]


def test_the_namespace_is_restricted() -> None:
    assert the("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


# ---- What runs


def test_dq13_the_schedule() -> None:
    spec = the("CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] > 0
    job = spec["jobTemplate"]["spec"]
    assert 1 <= job["backoffLimit"] <= 6
    assert job["ttlSecondsAfterFinished"] > 0
    # It waits for the RayJob, which has to end first.
    assert job["activeDeadlineSeconds"] >= the("RayJob")["spec"]["activeDeadlineSeconds"]
    [zone] = [entry for entry in job["template"]["spec"]["containers"][0]["env"] if entry["name"] == "TIME_ZONE"]
    assert zone["value"] == spec["timeZone"] == load_config(FOLDER / "tamis.toml").config.timezone


def test_what_fails_the_same_way_again_is_not_tried_again() -> None:
    job = the("CronJob")["spec"]["jobTemplate"]["spec"]
    stop, ignore = job["podFailurePolicy"]["rules"]
    assert (stop["action"], ignore["action"]) == ("FailJob", "Ignore")
    assert stop["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]
    # Conflict, resources, transient and killed ones are left.
    assert sorted(stop["onExitCodes"]["values"]) == [1, 2, 3, 4, 7]


@pytest.mark.parametrize("kind", ["RayJob", "RayCronJob"])
def test_the_command_exists_and_names_its_day(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = the(kind)["spec"] if kind == "RayJob" else the(kind)["spec"]["jobTemplate"]
    words = shlex.split(spec["entrypoint"])
    assert words[:2] == ["tamis", "run"]
    day = words[words.index("--as-of") + 1]
    assert day == (DAY if kind == "RayJob" else "$(TZ=Europe/Paris date +%F)")
    config = words[words.index("--config") + 1]
    # All options exist: what is missing is the file.
    with pytest.raises(SystemExit) as ended:
        app([DAY if word == day else word for word in words[1:]])
    assert ended.value.code == 2
    assert f"no configuration file '{config}'" in capsys.readouterr().err
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    folder = next(mount for mount in head["containers"][0]["volumeMounts"] if mount["name"] == "configuration")
    assert config == f"{folder['mountPath']}/tamis.toml"


def test_the_two_ways_to_schedule_run_the_same_job() -> None:
    one, other = dict(the("RayJob")["spec"]), dict(the("RayCronJob")["spec"]["jobTemplate"])
    assert one.pop("jobId") == f"tamis-run-{DAY}"
    one.pop("entrypoint")
    other.pop("entrypoint")
    assert one == other
    assert the("RayCronJob")["spec"]["schedule"] == the("CronJob")["spec"]["schedule"]


def test_the_configuration_is_one_and_uses_the_claim() -> None:
    loaded = load_config(FOLDER / "tamis.toml").config
    assert loaded.out.startswith("/data/")
    [source] = loaded.sources
    assert str(source.path).startswith("/data/")
    assert loaded.execution.executor == "ray"
    assert loaded.execution.address is None


def test_the_image_is_built_from_what_is_locked() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    for line in (entry for entry in text.splitlines() if entry.startswith("FROM ")):
        assert "${PYTHON}" in line
    assert re.search(r"^ARG PYTHON=python:3\.\d+\.\d+-slim-\w+$", text, flags=re.MULTILINE)
    assert text.count("--constraint") == 2
    assert re.search(r"uv==\d+\.\d+\.\d+ ", text)
    assert re.search(r"^USER 10001:10001$", text, flags=re.MULTILINE)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE)
    assert [name for line in copied for name in line.split() if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "cluster" in project["optional-dependencies"]
    image = the("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.endswith(f":{project['version']}")
