"""What Compose and Kubernetes read has the keys, and the values, that their schemas know.

``nox -s schemas`` installs the packages with the schemas. The extra ``dev`` does not have them,
because one of them has 17,000 files.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.deploy.files import FOLDER, manifests

TO_HAVE = "the schemas are not installed: nox -s schemas"
jsonschema = pytest.importorskip("jsonschema", reason=TO_HAVE)
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason=TO_HAVE)
builtin_schemas = pytest.importorskip("check_jsonschema.builtin_schemas", reason=TO_HAVE)

#: Of Kubernetes.
VERSIONS = ["1.29", "1.34"]
COMPOSE_FILE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
BY_NAME = {f"{found['kind']} {found['metadata']['name']}": found for found in manifests()}


def check_compose(found: dict[str, Any]) -> None:
    schema = builtin_schemas.get_builtin_schema("vendor.compose-spec")
    jsonschema.validators.validator_for(schema)(schema).validate(found)


def misspelt(found: Any, *path: str | int) -> Any:
    """Return a copy in which the last letter of the key at a path is missing."""
    found = deepcopy(found)
    *above, key = path
    parent = found
    for step in above:
        parent = parent[step]
    parent[str(key)[:-1]] = parent.pop(key)
    return found


def test_compose_has_known_keys_only() -> None:
    check_compose(COMPOSE_FILE)


@pytest.mark.parametrize(
    "path",
    [
        ("services",),
        ("services", "web", "read_only"),
        ("services", "scheduler", "healthcheck", "interval"),
        ("services", "scheduler", "deploy", "resources", "limits", "memory"),
    ],
)
def test_a_misspelt_key_of_compose_is_found(path: tuple[str, ...]) -> None:
    with pytest.raises(jsonschema.ValidationError, match=f"'{path[-1][:-1]}' "):
        check_compose(misspelt(COMPOSE_FILE, *path))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", BY_NAME)
def test_kubernetes_has_known_keys_only(name: str, version: str) -> None:
    kubernetes_validate.validate(BY_NAME[name], version, strict=True)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Deployment shop-web", ("spec", "template", "spec", "containers", 0, "livenessProbe")),
        ("Deployment shop-scheduler", ("spec", "template", "spec", "securityContext")),
        ("Job shop-migrate", ("spec", "backoffLimit")),
        ("Service shop-web", ("spec", "ports", 0, "targetPort")),
        ("PodDisruptionBudget shop-web", ("spec", "maxUnavailable")),
        ("ConfigMap shop", ("data",)),
    ],
)
def test_a_misspelt_key_of_kubernetes_is_found(name: str, path: tuple[str | int, ...]) -> None:
    with pytest.raises(kubernetes_validate.ValidationError, match=f"'{str(path[-1])[:-1]}' "):
        kubernetes_validate.validate(misspelt(BY_NAME[name], *path), VERSIONS[-1], strict=True)
