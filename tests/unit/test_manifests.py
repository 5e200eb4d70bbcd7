"""The files that place ecgopt in containers, against the schemas of Compose and Kubernetes."""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

STORAGE = Path(__file__).resolve().parents[2] / "storage"
MANIFESTS = sorted((STORAGE / "kubernetes").rglob("*.yaml"))
KUBERNETES_VERSIONS = ("1.31", "1.34")


def resources():
    return [
        pytest.param(resource, id=f"{path.stem}-{resource['kind']}")
        for path in MANIFESTS
        for resource in yaml.safe_load_all(path.read_text())
    ]


def pods():
    return [
        pytest.param(content.values[0]["spec"]["template"]["spec"], id=content.id)
        for content in resources()
        if "template" in content.values[0].get("spec", {})
    ]


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("resource", resources())
def test_every_manifest_fits_the_schema_of_kubernetes(resource, version):
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_compose_file_fits_the_compose_specification():
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", STORAGE / "compose.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("pod", pods())
def test_no_pod_runs_as_root_or_may_become_it(pod):
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("pod", pods())
def test_secrets_reach_pods_as_files_and_never_in_arguments_or_environment(pod):
    for container in pod["containers"]:
        assert all("valueFrom" not in variable for variable in container.get("env", []))
        assert "envFrom" not in container
        assert "password=" not in json.dumps(container)


def test_the_template_of_the_secrets_works_nowhere_as_it_stands():
    for secret in yaml.safe_load_all((STORAGE / "kubernetes/templates/secret.yaml").read_text()):
        assert set(secret["stringData"].values()) == {""}


def test_both_ways_ship_the_same_rules_of_access():
    (configuration,) = (
        resource.values[0] for resource in resources() if resource.values[0]["kind"] == "ConfigMap"
    )
    shipped = (STORAGE / "postgres" / "pg_hba.conf").read_text()
    assert configuration["data"]["pg_hba.conf"] == shipped


@pytest.mark.parametrize("pod", pods())
def test_what_a_pod_mounts_is_made_by_another_manifest_or_by_the_user(pod):
    made = {
        (resource.values[0]["kind"], resource.values[0]["metadata"]["name"])
        for resource in resources()
    }
    made.add(("ConfigMap", "ecgopt-study"))  # the user's own study file
    for volume in pod["volumes"]:
        if "secret" in volume:
            assert ("Secret", volume["secret"]["secretName"]) in made
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in made
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            assert ("PersistentVolumeClaim", claim) in made
