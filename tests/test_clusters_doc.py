"""The recipes of docs/clusters.md: every file parses, and every command is one that its real parser takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # a dependency of Dask
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from dataaudit import __version__
from dataaudit.cli import app

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "clusters.md").read_text("utf-8")
SECURE = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def objects() -> list[dict[str, Any]]:
    """Every object of every YAML block."""
    return [made for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) for made in yaml.safe_load_all(block)]


def of_kind(kind: str) -> dict[str, Any]:
    """The only object of a kind."""
    (found,) = (o for o in objects() if o["kind"] == kind)
    return found


def pods() -> dict[str, dict[str, Any]]:
    """The pod templates, by whose they are."""
    cluster, job = of_kind("DaskCluster")["spec"], of_kind("Job")["spec"]
    return {"scheduler": cluster["scheduler"]["spec"], "worker": cluster["worker"]["spec"], "scan": job["template"]["spec"]}


def containers() -> list[dict[str, Any]]:
    """All containers of all pods."""
    return [c for pod in pods().values() for c in (*pod["containers"], *pod.get("initContainers", ()))]


def container(name: str) -> dict[str, Any]:
    (found,) = (c for c in containers() if c["name"] == name)
    return found


def parsed(arguments: list[str]) -> dict[str, Any]:
    """What the real command line makes of the arguments behind `dataaudit`; raises where it takes them not."""
    command, bound, *_ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert command.__name__ == arguments[0]
    return dict(bound.arguments)


def shell_lines(text: str) -> Iterator[list[str]]:
    """The indented lines of a document that are commands."""
    for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


def test_there_is_all_that_a_cluster_needs() -> None:
    kinds = sorted(o["kind"] for o in objects())
    assert kinds == ["DaskAutoscaler", "DaskCluster", "Job", "NetworkPolicy", "NetworkPolicy", "PersistentVolumeClaim"]
    assert all(o["apiVersion"] and o["metadata"]["name"] and o["metadata"]["namespace"] == "audits" for o in objects())
    assert of_kind("DaskCluster")["apiVersion"] == of_kind("DaskAutoscaler")["apiVersion"] == "kubernetes.dask.org/v1"


def test_the_service_finds_the_scheduler() -> None:
    cluster = of_kind("DaskCluster")
    name, scheduler = cluster["metadata"]["name"], cluster["spec"]["scheduler"]
    assert scheduler["service"]["selector"] == {"dask.org/cluster-name": name, "dask.org/component": "scheduler"}
    ports = {p["name"]: p["containerPort"] for p in container("scheduler")["ports"]}
    assert ports == {"tcp-comm": 8786, "http-dashboard": 8787}
    assert {p["name"]: p["port"] for p in scheduler["service"]["ports"]} == ports
    assert all(p["targetPort"] in ports for p in scheduler["service"]["ports"])


def test_the_autoscaler_belongs_to_the_cluster_and_the_window_suffices() -> None:
    spec = of_kind("DaskAutoscaler")["spec"]
    assert set(spec) == {"cluster", "minimum", "maximum"}
    assert spec["cluster"] == of_kind("DaskCluster")["metadata"]["name"]
    assert spec["minimum"] <= of_kind("DaskCluster")["spec"]["worker"]["replicas"] <= spec["maximum"] <= 2 * spec["minimum"]


def test_one_image_whose_tag_is_this_version() -> None:
    images = {c["image"] for c in containers()}
    assert len(images) == 1
    (image,) = images
    assert image.rpartition(":")[2] == __version__
    assert f"docker build --tag {image} ." in TEXT


def test_nobody_is_root_or_has_a_token() -> None:
    for pod in pods().values():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in containers():
        assert one["securityContext"] == SECURE
        assert one["resources"]["limits"]["memory"] == one["resources"]["requests"]["memory"]
    (user,) = re.findall(r"^USER (\d+):\d+$", TEXT, re.MULTILINE)
    assert {pod["securityContext"]["runAsUser"] for pod in pods().values()} == {int(user)}


def test_what_is_mounted_is_there_and_nothing_secret_is_written_down() -> None:
    for pod in pods().values():
        volumes = {v["name"] for v in pod["volumes"]}
        for one in (*pod["containers"], *pod.get("initContainers", ())):
            mounts = {m["mountPath"]: m["name"] for m in one["volumeMounts"]}
            assert set(mounts.values()) <= volumes
            assert {"/scratch", "/tmp"} <= set(mounts), "a read-only root has nowhere else to write to"
    claim = of_kind("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for name in ("worker", "scan"):
        claims = [v["persistentVolumeClaim"]["claimName"] for v in pods()[name]["volumes"] if "persistentVolumeClaim" in v]
        assert claims == [claim["metadata"]["name"]]
        keys = {e["name"]: e for e in container(name)["env"]}
        assert all("valueFrom" in keys[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert container("worker")["env"] == container("scan")["env"], "workers read what the scan lists"


def test_policies_select_the_pods_that_there_are() -> None:
    first, second = (o for o in objects() if o["kind"] == "NetworkPolicy")
    name = of_kind("DaskCluster")["metadata"]["name"]
    assert first["spec"]["podSelector"]["matchExpressions"] == [{"key": "dask.org/cluster-name", "operator": "In", "values": [name]}]
    assert second["spec"]["podSelector"]["matchLabels"] == of_kind("Job")["spec"]["template"]["metadata"]["labels"]
    assert all(set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"} for p in (first, second))


def test_the_job_scans_with_options_that_there_are() -> None:
    program, *arguments = container("scan")["args"]
    assert program == "dataaudit"
    asked = parsed(arguments)
    assert asked["scheduler"] == f"tcp://{of_kind('DaskCluster')['metadata']['name']}-scheduler:8786"
    mounted = [m["mountPath"] for m in container("scan")["volumeMounts"] if m["name"] == "audits"]
    assert str(asked["out"].parent) in mounted
    assert asked["scheduler"] in container("wait")["args"][-1]
    compile(container("wait")["args"][-1], "wait", "exec")


def test_findings_end_the_job_and_an_evicted_pod_does_not() -> None:
    job = of_kind("Job")["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never", "a podFailurePolicy takes no other"
    ignored, failed = job["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert ignored["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert failed == {"action": "FailJob", "onExitCodes": {"containerName": "scan", "operator": "In", "values": [1]}}


def test_scheduler_and_workers_start_with_options_that_there_are() -> None:
    for name, command in (("scheduler", dask_scheduler), ("worker", dask_worker)):
        program, what, *arguments = container(name)["args"]
        assert (program, what) == ("dask", name)
        command.make_context(f"dask {name}", arguments)


@pytest.mark.parametrize("document", ["clusters.md", "scale.md"])
def test_commands_in_the_text_are_commands(document: str) -> None:
    seen = 0
    for line in shell_lines((DOCS / document).read_text("utf-8")):
        if line[0] == "dataaudit":
            parsed(line[1:])
            seen += 1
        if line[:2] in (["dask", "scheduler"], ["dask", "worker"]):
            {"scheduler": dask_scheduler, "worker": dask_worker}[line[1]].make_context(" ".join(line[:2]), line[2:])
    assert seen


def test_the_image_is_built_with_commands_that_there_are() -> None:
    (built,) = re.findall(r"```dockerfile\n(.*?)```", TEXT, re.DOTALL)
    (line,) = re.findall(r"^RUN dataaudit (.*?) &&", built, re.MULTILINE)
    assert parsed(shlex.split(line)) == {"cluster": False}
