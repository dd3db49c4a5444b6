"""docker-compose.yml and what it mounts: as safe and as true as can be told without a container engine."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pathspec import GitIgnoreSpec
from sqlalchemy.engine import make_url

from connectors.national_portal.simulator.__main__ import _arguments as portal_simulator_options
from connectors.one_stop.simulator.__main__ import _parser as one_stop_simulator_options
from monitoring.metrics import Metrics
from schemas.sealing import parse_key
from streams.secret_files import SUFFIX
from streams.settings import PREFIX, Settings, secret_variables, variables
from streams.worker import GRACE_SECONDS

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
ENV_FILES = ("docker/hub.env.example", "docker/simulators.env")


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return content


SERVICES: Mapping[str, dict[str, Any]] = compose()["services"]
ONE_OFF = {"setup"}
OURS = {"setup", "worker", "portal-simulator", "one-stop-simulator"}

each_service = pytest.mark.parametrize("name", SERVICES)


def interpolated(text: str) -> str:
    """As compose reads it when no variable is set: `${NAME:-default}` is the default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return float(found[1])


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    found = service.get("environment", {})
    assert isinstance(found, dict), "written as a mapping, so that names are seen"
    return found


def settings_of(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text("utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value for name, value in pairs}


def test_everything_that_the_hub_needs_is_there() -> None:
    assert {"kafka", "postgres", "registry", "prometheus", "alertmanager", "grafana"} <= set(
        SERVICES
    )
    assert set(SERVICES) >= OURS
    in_profile = {name for name, service in SERVICES.items() if "profiles" in service}
    assert in_profile == {"portal-simulator", "one-stop-simulator"}
    assert all(SERVICES[name]["profiles"] == ["simulators"] for name in in_profile)


# --- every service is shut in ---------------------------------------------------------------------------


@each_service
def test_a_service_runs_without_rights_on_a_file_system_that_it_cannot_write(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    for forbidden in ("privileged", "cap_add", "network_mode", "pid", "ipc", "devices"):
        assert forbidden not in service
    assert any(entry.startswith("/tmp:size=") for entry in service["tmpfs"])
    assert all(":size=" in entry for entry in service["tmpfs"]), "memory, so bounded"


@each_service
def test_a_service_has_limits_and_its_log_an_end(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@each_service
def test_a_service_is_watched_and_comes_back_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_OFF:
        assert service["healthcheck"] == {"disable": True}
        assert service["restart"] == "no"
        return
    check = service["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} < set(check)
    assert service["restart"] == "unless-stopped"
    assert seconds(service["stop_grace_period"]) >= 30


@each_service
def test_an_image_is_pinned(name: str) -> None:
    image = interpolated(SERVICES[name]["image"])
    assert re.fullmatch(r"[a-z0-9/.-]+:v?\d+\.\d+[\w.-]*", image), image
    assert (name in OURS) == image.startswith("thongsuot:")


def test_only_pages_for_people_are_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"prometheus", "alertmanager", "grafana"}
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_keeps_the_data_reaches_nothing_outside() -> None:
    networks = compose()["networks"]
    assert networks["core"] == {"internal": True}
    for name in ("kafka", "postgres", "registry", "setup"):
        assert SERVICES[name]["networks"] == ["core"]
    for service in SERVICES.values():
        assert set(service["networks"]) <= set(networks)


def test_what_is_kept_lies_in_named_volumes() -> None:
    kept = {"kafka", "postgres", "prometheus", "alertmanager", "grafana"}
    volumes = compose()["volumes"]
    assert kept <= set(volumes)
    used = {
        source
        for service in SERVICES.values()
        for source, _ in (volume.split(":")[:2] for volume in service.get("volumes", ()))
        if not source.startswith(".")
    }
    assert used == set(volumes)


# --- mounted files and secrets --------------------------------------------------------------------------


def mounted() -> Iterator[tuple[str, str]]:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            if volume.startswith("."):
                yield name, volume


def test_every_mounted_file_is_there_and_cannot_be_written() -> None:
    found = list(mounted())
    assert len(found) >= 5
    for _, volume in found:
        source, _, mode = volume.split(":")
        assert (ROOT / source).exists(), source
        assert mode == "ro", volume


def test_every_file_of_prometheus_and_alertmanager_is_named_as_it_is_mounted() -> None:
    prometheus = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8"))
    for rules in prometheus["rule_files"]:
        assert rules.startswith("/etc/prometheus/")
        assert (DOCKER / "prometheus" / rules.removeprefix("/etc/prometheus/")).exists()
    command = " ".join(SERVICES["prometheus"]["command"] + SERVICES["alertmanager"]["command"])
    assert "--config.file=/etc/prometheus/prometheus.yml" in command
    assert "--config.file=/etc/alertmanager/alertmanager.yml" in command
    assert (DOCKER / "alertmanager" / "alertmanager.yml").exists()


def secrets_used() -> dict[str, str]:
    """Path inside a container -> name of the secret."""
    found = {}
    for service in SERVICES.values():
        for secret in service.get("secrets", ()):
            name, target = (
                (secret, secret)
                if isinstance(secret, str)
                else (secret["source"], secret["target"])
            )
            found[f"/run/secrets/{target}"] = name
    return found


def test_every_secret_is_a_file_outside_the_repository_and_is_used() -> None:
    secrets = compose()["secrets"]
    assert set(secrets_used().values()) == set(secrets)
    ignored = GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    for secret in secrets.values():
        assert set(secret) == {"file"}
        path = interpolated(secret["file"])
        assert path.startswith("./secrets/")
        assert ignored.match_file(path.removeprefix("./")), path
    assert ignored.match_file("docker/hub.env")
    assert not ignored.match_file("docker/hub.env.example")


def test_every_path_of_a_secret_is_one_that_the_service_is_given() -> None:
    for name, service in SERVICES.items():
        given = {
            f"/run/secrets/{secret if isinstance(secret, str) else secret['target']}"
            for secret in service.get("secrets", ())
        }
        for variable, value in environment(service).items():
            if "/run/secrets/" in str(value):
                assert value in given, f"{name}: {variable}"


SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|LEDGER_URL|ONE_STOP__URL", re.IGNORECASE)


@each_service
def test_no_secret_stands_in_the_environment(name: str) -> None:
    for variable, value in environment(SERVICES[name]).items():
        if SECRET_NAME.search(variable):
            assert str(value).startswith("/run/secrets/"), variable
        assert not re.search(r"://[^/\s]*:[^/\s]*@", str(value)), variable


@pytest.mark.parametrize("file", ENV_FILES)
def test_no_secret_stands_in_the_files_of_settings(file: str) -> None:
    assert not [name for name in settings_of(file) if SECRET_NAME.search(name)]


# --- the hub's own settings -----------------------------------------------------------------------------


def known_settings() -> set[str]:
    files = {name + SUFFIX for name in secret_variables()}
    return {name for name, _ in variables()} | files


def named_in(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}\w+", text))


@pytest.mark.parametrize(
    "file",
    [
        *("docker-compose.yml", "docker/Dockerfile", "docker/healthcheck.py", *ENV_FILES),
        *("docker/README.md", "docs/van-hanh.md"),
    ],
)
def test_every_setting_named_is_one_of_the_hub(file: str) -> None:
    assert named_in((ROOT / file).read_text("utf-8")) <= known_settings()


@pytest.mark.parametrize("name", ["setup", "worker"])
def test_with_the_simulators_settings_and_secrets_the_hub_accepts_its_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_secrets(tmp_path, "--simulators")
    for variable in os.environ:
        if variable.startswith(PREFIX):
            monkeypatch.delenv(variable)
    paths = secrets_used()
    files = compose()["secrets"]
    for variable, value in settings_of("docker/simulators.env").items():
        monkeypatch.setenv(variable, value)
    for variable, value in environment(SERVICES[name]).items():
        if value in paths:
            value = str(tmp_path / Path(files[paths[value]]["file"]).name)
        monkeypatch.setenv(variable, value)
    settings = Settings()  # type: ignore[call-arg] # the fields come from the environment
    ledger = make_url(settings.ledger_url.get_secret_value())
    assert (ledger.host, ledger.username, ledger.database) == ("postgres", "ledger", "ledger")
    assert settings.monitoring.host == "0.0.0.0"
    assert not settings.kafka.embedded
    assert str(settings.national_portal.address).startswith("http://portal-simulator:8080/")


def test_the_example_asks_for_every_setting_that_has_no_default() -> None:
    required = {name for name, field in variables() if field.is_required()}
    given = set(environment(SERVICES["worker"])) | {
        name.removesuffix(SUFFIX) for name in environment(SERVICES["worker"])
    }
    assert required - given <= set(settings_of("docker/hub.env.example"))


def test_a_worker_is_given_the_time_to_hand_over() -> None:
    worker = SERVICES["worker"]
    assert seconds(worker["stop_grace_period"]) > GRACE_SECONDS + 5
    assert worker["deploy"]["replicas"] >= 2
    assert "container_name" not in worker, "or it could not be scaled"
    assert "/opt/thongsuot/healthcheck.py" in worker["healthcheck"]["test"]


def test_workers_begin_after_tables_topics_and_schemas_are_there() -> None:
    assert SERVICES["worker"]["depends_on"]["setup"] == {
        "condition": "service_completed_successfully"
    }
    (steps,) = SERVICES["setup"]["entrypoint"][2:]
    assert steps == "thongsuot db upgrade && thongsuot topics create && thongsuot schemas register"
    for name in ("kafka", "postgres", "registry"):
        assert SERVICES["setup"]["depends_on"][name] == {"condition": "service_healthy"}


def test_the_simulators_take_the_options_that_they_are_given() -> None:
    word, system, *options = SERVICES["portal-simulator"]["command"]
    assert (word, system) == ("simulate", "portal")
    assert portal_simulator_options(options).host == "0.0.0.0"
    given = one_stop_simulator_options().parse_args(SERVICES["one-stop-simulator"]["command"])
    assert given.url == f"sqlite:///{given.journal.parent}/one-stop.db"


def test_workers_wait_for_the_simulated_tables_only_where_they_are_simulated() -> None:
    assert SERVICES["worker"]["depends_on"]["one-stop-simulator"] == {
        "condition": "service_healthy",
        "required": False,
    }


def test_prometheus_asks_the_workers_where_they_answer() -> None:
    prometheus = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8"))
    jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
    (found,) = jobs["worker"]["dns_sd_configs"]
    port = environment(SERVICES["worker"])[PREFIX + "MONITORING__PORT"]
    assert (found["names"], found["type"], str(found["port"])) == (["worker"], "A", port)
    assert set(SERVICES["prometheus"]["networks"]) & set(SERVICES["worker"]["networks"])


def test_every_metric_of_the_hub_in_a_rule_is_one_that_it_has() -> None:
    rules = (DOCKER / "prometheus" / "rules.yml").read_text("utf-8")
    named = set(re.findall(r"\bhub_\w+", rules))
    assert named
    metrics = Metrics(targets=["national_portal"], version="1")
    served = metrics.render().decode()
    assert named <= metrics.names()
    assert 'state="paged"' in served


def test_nobody_pretends_to_be_called() -> None:
    alerts = yaml.safe_load((DOCKER / "alertmanager" / "alertmanager.yml").read_text("utf-8"))
    assert alerts["receivers"] == [{"name": alerts["route"]["receiver"]}]


def test_the_broker_and_its_only_replica_agree() -> None:
    lines = (DOCKER / "kafka" / "server.properties").read_text("utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert given["auto.create.topics.enable"] == "false"
    assert given["log.flush.interval.messages"] == "1"
    for name, value in given.items():
        if name.endswith(("replication.factor", "min.isr", "min.insync.replicas")):
            assert value == "1", name
    data = next(volume for volume in SERVICES["kafka"]["volumes"] if volume.startswith("kafka:"))
    assert data.split(":")[1] == given["log.dirs"]
    bootstrap = environment(SERVICES["worker"])[PREFIX + "KAFKA__BOOTSTRAP_SERVERS"]
    assert given["advertised.listeners"] == f"PLAINTEXT://{bootstrap}"
    assert SERVICES["kafka"]["hostname"] == bootstrap.partition(":")[0]


# --- the secrets' maker ---------------------------------------------------------------------------------


def make_secrets(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [DOCKER / "make-secrets.sh", *options],
        env={**os.environ, "HUB_SECRETS": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_secrets_are_made_once_and_only_their_owner_gets_at_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    said = make_secrets(folder)
    assert f"{folder}/one_stop_url" in said, "what only a person knows is asked for"
    assert folder.stat().st_mode & 0o777 == 0o700
    first = {file.name: file.read_text() for file in folder.iterdir()}
    wanted = {Path(interpolated(one["file"])).name for one in compose()["secrets"].values()}
    assert set(first) == wanted - {"one_stop_url", "portal_password"}
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    assert len(parse_key(first["master_key"])) == len(parse_key(first["hash_key"])) == 32
    assert len(set(first.values())) == len(first)
    assert first["ledger_password"] in first["ledger_url"]
    assert first["registry.properties"].strip().endswith(first["registry_password"])
    assert not any(value in said for value in first.values())

    make_secrets(folder, "--simulators")
    second = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(second) == wanted
    assert {name: second[name] for name in first} == first


@pytest.mark.parametrize(
    "script", ["make-secrets.sh", "postgres/roles.sh", "one-stop-simulator.sh"]
)
def test_the_scripts_are_sound_bash_and_executable(script: str) -> None:
    assert os.access(DOCKER / script, os.X_OK)
    subprocess.run(["bash", "-n", str(DOCKER / script)], check=True)
