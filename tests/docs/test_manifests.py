"""The files that place ecgopt in containers, against the schemas of Compose and Kubernetes."""

import json
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from ecgopt.cli.app import build_app

STORAGE = Path(__file__).resolve().parents[2] / "storage"
MANIFESTS = sorted((STORAGE / "kubernetes").rglob("*.yaml"))
DEMO = str(STORAGE.parent / "studies" / "demo.toml")
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


def our_commands():
    services = yaml.safe_load((STORAGE / "compose.yaml").read_text())["services"]
    composed = {name: one["command"] for name, one in services.items() if one["image"] == "ecgopt"}
    placed = {
        container["name"]: container["args"]
        for pod in pods()
        for container in pod.values[0]["containers"]
        if container["image"] == "ecgopt"
    }
    return [
        *(pytest.param(words, id=f"compose-{name}") for name, words in composed.items()),
        *(pytest.param(words, id=f"kubernetes-{name}") for name, words in placed.items()),
    ]


@pytest.mark.parametrize("words", our_commands())
def test_the_command_of_every_container_and_its_options_exist(words):
    # The study file that a container is given is not there while tests run: any other stands in.
    given = [DEMO if word.endswith((".toml", ".toml}")) else word for word in words]
    build_app().parse_args(given, exit_on_error=False, print_error=False)


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


def test_a_worker_has_longer_to_leave_than_it_takes():
    kubernetes = [parameter.values[0] for parameter in pods() if "worker" in parameter.id]
    assert [pod["terminationGracePeriodSeconds"] for pod in kubernetes] == [180]
    compose = yaml.safe_load((STORAGE / "compose.yaml").read_text())["services"]["worker"]
    assert compose["stop_grace_period"] == "3m"
    for words in (kubernetes[0]["containers"][0]["args"], compose["command"]):
        assert "--grace-seconds=150" in words


def test_the_dashboard_answers_to_the_names_that_its_proxies_are_reached_by():
    services = yaml.safe_load((STORAGE / "compose.yaml").read_text())["services"]
    assert "--behind-proxy=https://localhost:8443" in services["dashboard"]["command"]
    assert "--from=https://localhost:8443" in services["proxy"]["command"]
    ingress, _, deployment = yaml.safe_load_all(
        (STORAGE / "kubernetes" / "dashboard.yaml").read_text()
    )
    (rule,) = ingress["spec"]["rules"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert f"--behind-proxy=https://{rule['host']}" in container["args"]
    assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
