"""The image, Compose and Kubernetes: nobody is root, nothing is written, all names agree."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from typing import Any

import pytest

from tests.deploy.files import COMPOSE, DOCKERFILE, FOLDER, OURS, container, manifests, pods, unit
from tests.support.processes import ROOT

UID = 10001
SETTINGS = (ROOT / "example_project/settings.py").read_text()
#: What the environment may hold: gunicorn's and Python's names, and those that settings read.
KNOWN = {"PATH", "PORT", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "DATABASE_URL"} | set(
    re.findall(r'env\.\w+\("(\w+)"', SETTINGS)
)


def copied() -> list[str]:
    """Return what the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_the_image_runs_as_a_number() -> None:
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == [f"{UID}:{UID}"]
    assert f"--uid {UID} " in DOCKERFILE


def test_what_is_copied_exists_and_is_sent() -> None:
    sent = re.findall(r"^!(.*)$", (FOLDER / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert sorted(sent) == sorted(copied())
    assert [source for source in copied() if not (ROOT / source).exists()] == []


def test_the_extras_that_are_installed_exist() -> None:
    [extras] = re.findall(r"scheduled-tasks\[(.*?)\]", DOCKERFILE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_units_and_image_have_the_same_directory() -> None:
    [directory] = re.findall(r"^WORKDIR (/srv/.*)$", DOCKERFILE, re.MULTILINE)
    for path in (FOLDER / "systemd").glob("*.service"):
        found = dict(unit(path))
        assert found["WorkingDirectory"] == directory
        assert found["ExecStart"].startswith(f"{directory}/.venv/bin/")
    assert f"PATH={directory}/.venv/bin:$PATH" in DOCKERFILE


@pytest.mark.parametrize("name", OURS)
def test_compose_gives_no_rights(name: str) -> None:
    service = COMPOSE[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "/tmp" in service["tmpfs"]
    assert service.get("user") is None


@pytest.mark.parametrize("name", pods())
def test_kubernetes_gives_no_rights(name: str) -> None:
    pod, only = pods()[name], container(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == UID
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


@pytest.mark.parametrize("name", pods())
def test_mounts_are_in_memory_and_limited(name: str) -> None:
    volumes = {volume["name"]: volume["emptyDir"] for volume in pods()[name]["volumes"]}
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == set(volumes)
    assert all(volume["medium"] == "Memory" for volume in volumes.values())
    assert all("sizeLimit" in volume for volume in volumes.values())
    assert "memory" in container(name)["resources"]["limits"]


@pytest.mark.parametrize("name", ["shop-scheduler", "shop-web"])
def test_rollouts_and_drains_leave_a_pod(name: str) -> None:
    by_kind = {found["kind"]: found for found in manifests() if found["metadata"]["name"] == name}
    deployment, budget = by_kind["Deployment"]["spec"], by_kind["PodDisruptionBudget"]["spec"]
    assert deployment["replicas"] > budget["maxUnavailable"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == deployment["selector"]["matchLabels"] == budget["selector"]["matchLabels"]


def test_the_service_leads_to_the_web_server() -> None:
    [service] = [found["spec"] for found in manifests() if found["kind"] == "Service"]
    [deployment] = [found for found in manifests() if found["metadata"]["name"] == "shop-web"][:1]
    assert service["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    [port] = container("shop-web")["ports"]
    assert service["ports"][0]["targetPort"] == port["name"]
    assert f"PORT={port['containerPort']}" in DOCKERFILE


def test_two_schedulers_wait_for_migrate() -> None:
    scheduler = COMPOSE["scheduler"]
    assert scheduler["deploy"]["replicas"] == 2
    for name in ("scheduler", "web"):
        assert COMPOSE[name]["depends_on"]["migrate"] == {
            "condition": "service_completed_successfully"
        }
    assert COMPOSE["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}


def names_in_the_environment() -> dict[str, set[str]]:
    env_file = (FOLDER / "systemd/shop.env").read_text()
    configs: list[dict[str, Any]] = [found for found in manifests() if found["kind"] == "ConfigMap"]
    [image] = re.findall(r"^ENV (.*?[^\\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    return {
        "shop.env": set(re.findall(r"^(\w+)=", env_file, re.MULTILINE)),
        "configmap": {name for config in configs for name in config["data"]},
        "Dockerfile": set(re.findall(r"(\w+)=", image)),
        **{name: set(COMPOSE[name]["environment"]) for name in OURS},
    }


@pytest.mark.parametrize("where", names_in_the_environment())
def test_names_in_the_environment_are_read(where: str) -> None:
    found = names_in_the_environment()[where]
    assert found
    assert found <= KNOWN


def test_no_secret_is_in_the_files() -> None:
    assert "\n#SECRET_KEY=\n" in (FOLDER / "systemd/shop.env").read_text()
    for found in manifests():
        assert found["kind"] != "Secret"
        assert not any(fnmatch(name, "*SECRET*") for name in found.get("data", {}))
