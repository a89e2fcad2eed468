"""The fields of KubeRay's resources that our manifests use, and no others.

Written from the types of KubeRay v1.6 in ray-operator/apis/ray/v1 (`RayJobSpec`, `RayClusterSpec`, `AuthOptions`,
`HeadGroupSpec`, `WorkerGroupSpec`) and from https://docs.ray.io/en/master/cluster/kubernetes/references/api.html. Pod
templates are checked as pods of Kubernetes where `kubernetes-validate` is installed.
"""

from __future__ import annotations

from typing import Any


def closed(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """A table of these keys and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}
WHETHER = {"type": "boolean"}
# `ray start --KEY=VALUE`: values are text, a number without quotes is refused.
START = {"type": "object", "additionalProperties": {"type": "string"}}
LABELS = {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,63}$"}}
TEMPLATE = closed({"metadata": closed({"labels": LABELS}), "spec": {"type": "object"}})
HEAD = closed(
    {"rayStartParams": START, "template": TEMPLATE},
    serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    enableIngress=WHETHER,
)
WORKERS = closed(
    {
        "groupName": TEXT,
        "replicas": COUNT,
        "minReplicas": COUNT,
        "maxReplicas": COUNT,
        "rayStartParams": START,
        "template": TEMPLATE,
    }
)
CLUSTER = closed(
    {"headGroupSpec": HEAD, "workerGroupSpecs": {"type": "array", "items": WORKERS, "minItems": 1}},
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=closed({"mode": {"enum": ["disabled", "token"]}}, secretName=TEXT),
)
RAY_JOB_SPEC = closed(
    {"entrypoint": TEXT, "rayClusterSpec": CLUSTER},
    jobId=TEXT,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit=COUNT,
    activeDeadlineSeconds={"type": "integer", "minimum": 1},
    shutdownAfterJobFinishes=WHETHER,
    ttlSecondsAfterFinished=COUNT,
)
METADATA = closed({"name": {"type": "string", "pattern": "^[a-z0-9.-]{1,47}$"}}, labels=LABELS)
RESOURCES = {
    "RayJob": closed(
        {"apiVersion": {"const": "ray.io/v1"}, "kind": {"const": "RayJob"}, "metadata": METADATA, "spec": RAY_JOB_SPEC}
    ),
    "RayCronJob": closed(
        {
            "apiVersion": {"const": "ray.io/v1"},
            "kind": {"const": "RayCronJob"},
            "metadata": METADATA,
            "spec": closed({"schedule": TEXT, "jobTemplate": RAY_JOB_SPEC}, suspend=WHETHER),
        }
    ),
}
