"""`docker-compose.yml`: what the file promises, and every command line in it tried on a real broker and store.

Grafana alone is not run. Docker is needed for none of it; where it is there, or a Compose program named by DAYWATCH_TEST_COMPOSE,
`docker compose config` is asked, too.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from daywatch.embedded import free_port
from daywatch.settings import Settings
from stream.synth import write_organisation
from tests.plain_processes import PlainProcess, Rewrite, dockerfile, health_words, until
from tests.servers import REPOSITORY, kafka_launcher, read_values, redis_program
from windowing.offline import windows_of

FILE = REPOSITORY / "docker-compose.yml"
WORKERS = ("window", "detect", "detect-gpu", "correlate")
PLACEHOLDER = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def interpolated(value: Any) -> Any:
    """The file with the defaults of its variables in their places."""
    if isinstance(value, dict):
        return {name: interpolated(each) for name, each in value.items()}
    if isinstance(value, list):
        return [interpolated(each) for each in value]
    return PLACEHOLDER.sub(lambda found: found[2] or "", value) if isinstance(value, str) else value


COMPOSE: dict[str, Any] = interpolated(yaml.safe_load(FILE.read_text(encoding="utf-8")))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LASTING = [name for name, service in SERVICES.items() if "restart" in service]


def words(service: str) -> list[str]:
    """What a container of this service runs."""
    entry = next(json.loads(argument) for kind, argument in dockerfile() if kind == "ENTRYPOINT")
    own = SERVICES[service]["image"].startswith("daywatch")
    return [*(entry if own else []), *SERVICES[service]["command"]]


# the file itself --------------------------------------------------------------------------------------------------------


def schema_says(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_file_is_what_the_compose_specification_admits() -> None:
    said = schema_says(FILE)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_specification_would_tell_of_a_misspelled_key(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(FILE.read_text(encoding="utf-8").replace("stop_grace_period", "stop_grace", 1), encoding="utf-8")
    assert schema_says(broken).returncode != 0


def compose_program() -> list[str] | None:
    """Docker Compose 2.24 or later: older ones do not know optional files of settings."""
    named = os.environ.get("DAYWATCH_TEST_COMPOSE")
    for program in ([named] if named else [], ["docker", "compose"], ["docker-compose"]):
        if not program or shutil.which(program[0]) is None:
            continue
        said = subprocess.run([*program, "version", "--short"], check=False, capture_output=True, text=True, timeout=60)
        version = re.match(r"v?(\d+)\.(\d+)", said.stdout.strip())
        if said.returncode == 0 and version is not None and (int(version[1]), int(version[2])) >= (2, 24):
            return program
    return None


@pytest.mark.parametrize("profiles", ["", "cpu", "gpu", "cpu,metrics", "tools"])
def test_docker_compose_reads_the_file_as_these_tests_do(profiles: str, tmp_path: Path) -> None:
    program = compose_program()
    if program is None:
        pytest.skip("no Docker Compose: needs `docker compose` 2.24 or DAYWATCH_TEST_COMPOSE=PROGRAM")
    # a copy: whoever runs the tests may keep settings beside the file
    for name in ("docker-compose.yml", ".env"):
        shutil.copy(REPOSITORY / name, tmp_path)
    around = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "BROKER_"))}
    around |= {"COMPOSE_PROFILES": profiles} if profiles else {}
    said = subprocess.run(
        [*program, "config", "--format", "json"], cwd=tmp_path, env=around, check=False, capture_output=True, text=True, timeout=60
    )
    assert said.returncode == 0, said.stderr
    read = json.loads(said.stdout)["services"]
    assert set(read) == started(profiles or env_file()["COMPOSE_PROFILES"])
    for name, service in read.items():
        assert service.get("command") == SERVICES[name].get("command")
        assert service.get("environment", {}) == SERVICES[name].get("environment", {})
        assert service.get("healthcheck", {}).get("test") == SERVICES[name].get("healthcheck", {}).get("test")


def env_file() -> dict[str, str]:
    lines = (REPOSITORY / ".env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))  # type: ignore[arg-type]


def started(profiles: str) -> set[str]:
    """The services that these profiles start."""
    chosen = set(profiles.split(","))
    return {name for name, service in SERVICES.items() if not service.get("profiles") or chosen & set(service["profiles"])}


def test_without_a_word_everything_starts_that_a_site_needs_and_one_judge() -> None:
    assert started(env_file()["COMPOSE_PROFILES"]) == {"kafka", "redis", "topics", "window", "detect", "correlate"}


def test_a_gpu_takes_the_place_of_the_cpu() -> None:
    assert started("gpu") - started("cpu") == {"detect-gpu"}
    assert started("cpu") - started("gpu") == {"detect"}
    devices = SERVICES["detect-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert [device["capabilities"] for device in devices] == [["gpu"]]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits_and_lasting_ones_a_health_check_and_bounded_logs(name: str) -> None:
    service = SERVICES[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    if name in LASTING:
        assert health_words(service["healthcheck"]["test"])
        assert service["healthcheck"]["retries"] > 1
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "nothing is offered to other machines unasked"


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service["image"].startswith("daywatch")])
def test_every_role_runs_without_rights_from_one_image(name: str) -> None:
    service = SERVICES[name]
    assert service["image"] == ("daywatch-llm" if name == "detect-gpu" else "daywatch")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert "user" not in service, "the image names its user"
    assert "privileged" not in service
    builds = service.get("build")
    assert builds == {"topics": ".", "detect-gpu": {"context": ".", "args": {"LOCK": "llm"}}}.get(name)
    assert service["pull_policy"] == ("build" if builds else "never")


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_waits_for_topics_and_store_and_has_time_to_stop(name: str) -> None:
    waits = {other: how["condition"] for other, how in SERVICES[name]["depends_on"].items()}
    assert waits == {"topics": "service_completed_successfully", "redis": "service_healthy"}
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 20


def test_what_must_outlive_a_container_lies_on_a_volume() -> None:
    mounted = {name: dict(volume.split(":")[:2] for volume in service.get("volumes", [])) for name, service in SERVICES.items()}
    assert mounted["kafka"]["kafka"] == SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]
    assert mounted["redis"]["redis"] == "/data"
    used = {volume for volumes in mounted.values() for volume in volumes if not volume.startswith((".", "/"))}
    assert used == set(COMPOSE["volumes"])


# what it starts ----------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """The file's broker and store, running here, and how its addresses are rewritten."""

    rewrite: dict[str, str]
    place: Path
    running: list[PlainProcess] = field(default_factory=list)

    def start(self, name: str, command: list[str] | None = None, extra: dict[str, str] | None = None) -> PlainProcess:
        """A service's container, or another command in it, as a process; `health` is its port's own."""
        rewrite = Rewrite(self.rewrite | {"9464": str(free_port()), "0.0.0.0": "127.0.0.1"})
        environment = rewrite.values(SERVICES[name].get("environment", {})) | (extra or {})
        left = [f"{key}={value}" for key, value in environment.items() if re.search(r"\b(kafka|redis):\d", value)]
        assert left == [], "an address that this test does not know"
        line = words(name) if command is None else [*words(name)[: -len(SERVICES[name]["command"])], *command]
        process = PlainProcess(rewrite.all(line), environment, self.place / f"{name}-{len(self.running)}")
        process.health = rewrite.all(health_words(SERVICES[name]["healthcheck"]["test"])) if name in LASTING else []  # type: ignore[attr-defined]
        self.running.append(process)
        return process

    def run(self, *command: str) -> PlainProcess:
        """`docker compose run --rm daywatch COMMAND`, to its end."""
        process = self.start("daywatch", list(command))
        process.code()
        return process


def healthy(process: PlainProcess) -> PlainProcess:
    until(lambda: process.well(process.health))  # type: ignore[attr-defined]
    return process


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Apache Kafka with the environment of the file, made into properties by the image's own wrapper; its addresses, rewritten."""
    launcher = kafka_launcher()
    if launcher is None:
        pytest.skip("no Apache Kafka: needs Java and DAYWATCH_TEST_KAFKA=DIR with the kafka launcher")
    place = tmp_path_factory.mktemp("kafka")
    inside, outside, controller = free_port(), free_port(), free_port()
    ports = {"kafka:19092": f"127.0.0.1:{inside}", "kafka:9093": f"127.0.0.1:{controller}"}
    ports |= {"//:19092": f"//127.0.0.1:{inside}", "//:9092": f"//127.0.0.1:{outside}", "//:9093": f"//127.0.0.1:{controller}"}
    ports |= {"127.0.0.1:9092": f"127.0.0.1:{outside}", "127.0.0.1/9092": f"127.0.0.1/{outside}"}
    rewrite = Rewrite(ports | {SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]: str(place / "data")})
    for name in ("default", "mounted", "final"):
        (place / name).mkdir()
    (place / "default" / "server.properties").touch()
    directories = [part for name in ("default", "mounted", "final") for part in (f"--{name}-configs-dir", str(place / name))]
    environment = rewrite.values(SERVICES["kafka"]["environment"]) | {"CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"}
    made = subprocess.run(
        [launcher, "tool", "kafka.docker.KafkaDockerWrapper", "setup", *directories],
        env=os.environ | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    broker = PlainProcess([str(launcher), "tool", "kafka.Kafka", str(place / "final" / "server.properties")], os.environ, place / "broker")
    try:
        until(lambda: broker.well(rewrite.all(health_words(SERVICES["kafka"]["healthcheck"]["test"]))))
        yield ports
    finally:
        broker.kill()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Redis by the file's command line, but for port and place; its address."""
    if redis_program() is None:
        pytest.skip("no Redis: needs redis-server on the PATH or DAYWATCH_TEST_REDIS=PROGRAM")
    program, *options = SERVICES["redis"]["command"]
    assert program == "redis-server"
    place, port = tmp_path_factory.mktemp("redis"), free_port()
    (place / "data").mkdir()
    server = PlainProcess([str(redis_program()), *options, "--port", str(port), "--dir", str(place / "data")], {}, place / "server")
    check, *arguments = health_words(SERVICES["redis"]["healthcheck"]["test"])
    assert check == "redis-cli"
    try:
        until(lambda: server.well([check, "-p", str(port), *arguments]))
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()


@pytest.fixture
def site(kafka: dict[str, str], redis: str, tmp_path: Path) -> Iterator[Site]:
    site = Site(kafka | {"redis:6379": redis}, tmp_path)
    try:
        yield site
    finally:
        for process in site.running:
            process.kill()


def test_the_store_keeps_what_it_is_told_and_evicts_nothing(redis: str) -> None:
    from redis import Redis

    host, port = redis.split(":")
    with Redis(host, int(port), decode_responses=True) as client:
        found = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "save")}
    limit = SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"]
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(2 << 30),
        "save": "",
    }
    assert limit == "4g", "twice the store's own limit: rewriting its file may need as much again"


def test_the_broker_makes_no_topics_by_itself_and_takes_a_busy_days_window(kafka: dict[str, str]) -> None:
    from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

    resource = ConfigResource(ResourceType.BROKER, "1")
    admin = AdminClient({"bootstrap.servers": kafka["kafka:19092"]})
    found = admin.describe_configs([resource], request_timeout=30)[resource].result(30)
    assert found["auto.create.topics.enable"].value == "false"
    # what the workers' producers may send at once, and a little for the batch around it
    from stream.kafka_transactions import TransactionalProducer  # noqa: F401 - its limit is the one below

    assert int(found["message.max.bytes"].value) >= 16_000_000


def documented() -> list[str]:
    """Commands for the service `daywatch` that the file's opening shows."""
    opening = FILE.read_text(encoding="utf-8").split("\nname:", 1)[0]
    return [found[1].strip() for found in re.finditer(r"docker compose run --rm .*?\bdaywatch (.*?)(?:\s{2,}#.*)?$", opening, re.MULTILINE)]


def test_every_command_line_of_the_file_works(site: Site, tmp_path: Path) -> None:
    """The whole site: topics, all workers side by side, a replay; every window is judged, and all stop when told to."""
    topics = site.start("topics")
    assert topics.code() == 0, topics.err
    workers = {name: site.start(name) for name in ("window", "detect", "correlate")}
    for worker in workers.values():
        healthy(worker)

    shown = documented()
    assert {line.split()[0] for line in shown} == {"replay", "alerts", "incidents", "doctor"}
    organisation = tmp_path / "organisation"
    write_organisation(organisation, 12, 24, seed=5, insiders=1)
    replayed = site.run(*next(line for line in shown if line.startswith("replay")).replace("/data", str(organisation)).split())
    assert replayed.code() == 0, replayed.err

    windows = {
        json.loads(text)["id"] for batch in windows_of(organisation, Settings().window.spec(), "UTC") for text in batch.windows["value"]
    }
    assert windows
    until(lambda: {json.loads(value)["window_id"] for value in read_values(site.rewrite["kafka:19092"], "daywatch.verdicts")} == windows)

    for command in ("alerts", "incidents"):
        follow = site.start("daywatch", next(line for line in shown if line.startswith(command)).split())
        until(lambda follow=follow: follow.out or not follow.runs())
        assert follow.stop(30) == 0, follow.err
    # tests run side by side, and whoever asks has to wait
    doctor = site.run(*next(line for line in shown if line.startswith("doctor")).split(), "--patience", "60")
    assert doctor.code() == 0, doctor.out + doctor.err
    for worker in workers.values():
        assert worker.well(worker.health)  # type: ignore[attr-defined]
        assert worker.stop(10) == 0, worker.err[-2000:]
        assert worker.written() == []


def test_the_judge_on_a_gpu_starts_and_stops(site: Site, smollm2: Path) -> None:
    """Here on a processor: the model that comes with the image, by the same command line."""
    assert site.start("topics").code() == 0
    worker = site.start("detect-gpu")
    ready = [part.replace("/healthz", "/readyz") for part in worker.health]  # type: ignore[attr-defined]
    until(lambda: worker.well(ready), 500)
    assert worker.stop(30) == 0, worker.err[-2000:]
    assert any(volume.endswith(":/home/daywatch") for volume in SERVICES["detect-gpu"]["volumes"]), "models are unpacked there"


def test_the_help_that_the_image_gives_without_a_command(site: Site) -> None:
    shown = site.start("daywatch")
    assert shown.code() == 0
    assert "window" in shown.out


# metrics -----------------------------------------------------------------------------------------------------------------


def mounts(service: str) -> dict[str, Path]:
    """Directories of the repository by where a container sees them."""
    bound = (volume.split(":") for volume in SERVICES[service]["volumes"] if volume.startswith("./"))
    return {inside: REPOSITORY / outside for outside, inside, *_ in bound}


def test_prometheus_asks_every_worker_where_it_answers() -> None:
    config = yaml.safe_load((mounts("prometheus")["/etc/prometheus"] / "prometheus.yml").read_text(encoding="utf-8"))
    (scrape,) = config["scrape_configs"]
    (found,) = scrape["dns_sd_configs"]
    assert sorted(found["names"]) == sorted(WORKERS)
    assert {str(found["port"])} == {SERVICES[name]["environment"]["DAYWATCH_METRICS__PORT"] for name in WORKERS}
    # what a metric itself says must not be renamed: the dashboard asks for it
    assert "relabel_configs" not in scrape


def test_grafana_finds_its_source_and_the_dashboard() -> None:
    places = mounts("grafana")
    (source,) = yaml.safe_load((places["/etc/grafana/provisioning"] / "datasources" / "prometheus.yml").read_text())["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert f"127.0.0.1:{port}:{port}" in SERVICES[host]["ports"]
    (provider,) = yaml.safe_load((places["/etc/grafana/provisioning"] / "dashboards" / "daywatch.yml").read_text())["providers"]
    dashboards = places[provider["options"]["path"]]
    assert [json.loads(path.read_text(encoding="utf-8"))["title"] for path in dashboards.glob("*.json")]


def test_prometheus_starts_by_its_command_line_with_the_rules(tmp_path: Path) -> None:
    named = os.environ.get("DAYWATCH_TEST_PROMETHEUS") or shutil.which("prometheus")
    if not named:
        pytest.skip("no Prometheus: needs prometheus on the PATH or DAYWATCH_TEST_PROMETHEUS=PROGRAM")
    config = tmp_path / "config"
    shutil.copytree(mounts("prometheus")["/etc/prometheus"], config)
    port = free_port()
    rewrite = Rewrite({"/etc/prometheus": str(config), "=/prometheus": f"={tmp_path / 'data'}", "127.0.0.1:9090": f"127.0.0.1:{port}"})
    own = config / "prometheus.yml"
    own.write_text(rewrite(own.read_text(encoding="utf-8")), encoding="utf-8")
    options = rewrite.all(SERVICES["prometheus"]["command"])
    server = PlainProcess([named, *options, f"--web.listen-address=127.0.0.1:{port}"], {}, tmp_path / "server")
    try:
        until(lambda: server.well(rewrite.all(health_words(SERVICES["prometheus"]["healthcheck"]["test"]))))
        with urlopen(f"http://127.0.0.1:{port}/api/v1/rules", timeout=30) as answer:
            groups = json.load(answer)["data"]["groups"]
    finally:
        server.kill()
    written = [group for path in (config / "rules").glob("*.yml") for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    assert written
    assert sorted(group["name"] for group in groups) == sorted(group["name"] for group in written)
    assert sum(len(group["rules"]) for group in groups) == sum(len(group["rules"]) for group in written)
