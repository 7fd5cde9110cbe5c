"""The compose file cannot be started everywhere, so it is held against the code."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from gateway import commands, health
from kit.database import APPLICATION_ROLE
from kit.secrets import load_master_key
from kit.settings import Settings

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
VARIABLES = {field.validation_alias or f"TESSERA_{name.upper()}" for name, field in Settings.model_fields.items()}
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")
GIVEN = {
    "POSTGRES_OWNER_PASSWORD": "owner1",
    "POSTGRES_APP_PASSWORD": "app1",
    "TESSERA_MASTER_KEY": urlsafe_b64encode(bytes(range(32))).decode(),
}


def resolved(text: str) -> str:
    """A value as compose would resolve it, from what a person must give."""
    return re.sub(r"\$\{(\w+)(?::\?[^}]*|:-([^}]*))?\}", lambda found: GIVEN.get(found[1], found[2] or ""), text)


def environment(service: str) -> dict[str, str]:
    """The variables of a service, resolved."""
    return {name: resolved(value) for name, value in SERVICES[service].get("environment", {}).items()}


def is_one_shot(service: dict[str, Any]) -> bool:
    """Whether a service is meant to end by itself."""
    return service.get("restart") == "no"


def test_the_services_of_a_team_are_all_there():
    assert set(OURS) == {"migrate", "gateway", "worker"}
    assert SERVICES["postgres"]["image"] == "postgres:18"
    cluster = {name for name, service in SERVICES.items() if service.get("profiles") == ["citus"]}
    assert cluster == {"citus-coordinator", "citus-worker-1", "citus-worker-2", "citus-join"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_service_runs_a_command_that_exists_with_options_that_exist(name):
    program, *words = OURS[name]["command"]
    assert program == "tessera"
    tessera = typer.main.get_command(commands.app)
    with tessera.make_context(program, list(words)) as context:
        called, command, options = tessera.resolve_command(context, words)
        command.make_context(called, options, parent=context).close()


@pytest.mark.parametrize("words", [["toil"], ["worker", "--hard"]])
def test_a_command_or_option_that_does_not_exist_would_be_seen(words, monkeypatch):
    monkeypatch.setitem(OURS, "gateway", {**OURS["gateway"], "command": ["tessera", *words]})
    with pytest.raises(Exception, match="No such"):
        test_a_service_runs_a_command_that_exists_with_options_that_exist("gateway")


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_code_reads_every_variable_that_is_set(name):
    assert set(environment(name)) <= VARIABLES


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_settings_accept_what_is_set(name, monkeypatch):
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert urlsplit(settings.database_url.get_secret_value()).password == "app1"
    if name != "migrate":
        assert len(load_master_key(settings)) == 32


def test_only_the_migrations_sign_in_as_the_owner():
    for name in OURS:
        urls = {variable: urlsplit(value) for variable, value in environment(name).items() if "://" in value}
        assert urls["DATABASE_URL"].username == APPLICATION_ROLE
        assert ("TESSERA_MIGRATION_URL" in urls) == (name == "migrate")
    assert f"CREATE ROLE {APPLICATION_ROLE} LOGIN PASSWORD" in COMPOSE["configs"]["application-role"]["content"]


def test_a_service_waits_for_services_that_can_be_waited_for():
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert name in SERVICES
            if how["condition"] == "service_completed_successfully":
                assert is_one_shot(SERVICES[name])
            else:
                assert how["condition"] == "service_healthy"
                assert "healthcheck" in SERVICES[name]


def test_a_service_says_whether_it_is_well_or_ends_by_itself():
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) != is_one_shot(service), name


def test_the_gateway_is_asked_at_an_address_that_it_answers():
    check = " ".join(SERVICES["gateway"]["healthcheck"]["test"])
    path = urlsplit(re.search(r"http://[^']+", check)[0]).path
    assert path in {route.path for route in health.ROUTES}


def test_volumes_and_configs_are_declared():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        for config in service.get("configs", ()):
            assert config["source"] in COMPOSE["configs"]


def test_no_secret_is_written_down_and_none_has_a_default():
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", value), f"{name}: {variable}"
            if password := re.search(r"://[^:/@]+:(.*)@", value):
                assert re.fullmatch(r"\$\{\w+:\?[^}]*\}", password[1]), f"{name}: {variable}"


def test_the_image_installs_nothing_without_a_hash_and_runs_without_rights():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert all("--require-hashes" in line or "--no-deps --no-build-isolation" in line for line in installs)
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    assert [line for line in last_stage if line.startswith("USER ")] == ["USER 10001"]
