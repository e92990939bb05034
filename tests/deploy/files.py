"""The files of deploy/, read as those who use them read them."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import ROOT

FOLDER = ROOT / "deploy"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
UNITS = sorted((FOLDER / "systemd").glob("*.service"))
GUNICORN = runpy.run_path(str(FOLDER / "gunicorn.conf.py"))
#: The services of Compose that have our image.
OURS = [name for name in COMPOSE if name != "postgres"]


@cache
def manifests() -> list[dict[str, Any]]:
    """Return all objects of Kubernetes."""
    files = sorted((FOLDER / "kubernetes").glob("*.yaml"))
    return [found for file in files for found in yaml.safe_load_all(file.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    """Return what the pods of each Deployment and Job are made from, by its name."""
    return {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in manifests()
        if found["kind"] in ("Deployment", "Job")
    }


def container(name: str) -> dict[str, Any]:
    """Return the only container of a pod."""
    [only] = pods()[name]["containers"]
    return dict(only)


def unit(path: Path) -> list[tuple[str, str]]:
    """Return the settings of a unit in their order; a name may occur more than once."""
    return re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE)


def procfile() -> dict[str, str]:
    """Return the commands of the Procfile by their names."""
    lines = (FOLDER / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def probes(name: str) -> dict[str, list[str]]:
    """Return the commands that Kubernetes probes a container with."""
    found = ((kind, container(name).get(kind, {})) for kind in PROBES)
    return {kind: probe["exec"]["command"] for kind, probe in found if "exec" in probe}


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of our image and our units, and where it stands."""
    for path in UNITS:
        [line] = [value for name, value in unit(path) if name == "ExecStart"]
        yield path.name, shlex.split(line)
    [line] = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    yield "Dockerfile", json.loads(line)
    for name in OURS:
        service = COMPOSE[name]
        if "command" in service:
            yield f"compose {name}", service["command"]
        if "healthcheck" in service:
            yield f"compose {name} healthcheck", service["healthcheck"]["test"][1:]
    for name in pods():
        yield f"kubernetes {name}", container(name)["args"]
        for kind, command in probes(name).items():
            yield f"kubernetes {name} {kind}", command
    for name, line in procfile().items():
        yield f"Procfile {name}", shlex.split(line)


def seconds(text: str) -> int:
    """Return the seconds of a duration such as ``60s`` or ``60``."""
    found = re.fullmatch(r"(\d+)s?", text)
    assert found, text
    return int(found[1])
