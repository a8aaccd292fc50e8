"""The image and the example for Kubernetes: what their files promise, and every command line in them tried as a plain process."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
import yaml

from daywatch.cli import COMMANDS
from daywatch.embedded import free_port
from daywatch.settings import setting_names
from tests.plain_processes import PlainProcess, Rewrite, dockerfile, until
from tests.secure_servers import PASSWORD, Certificates, SecureKafka, SecureRedis
from tests.servers import REPOSITORY, kafka_launcher, redis_program

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


# the image ---------------------------------------------------------------------------------------------------------------


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path of the repository through to the builder."""
    through = True
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern, lets = line.removeprefix("!"), line.startswith("!")
        parts = path.split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        if any(fnmatch.fnmatch(head, pattern) or fnmatch.fnmatch(head, pattern.removeprefix("**/")) for head in heads):
            through = lets
    return through


def copied(lock: str) -> dict[str, str]:
    """What the builder copies from the repository, and to where below its working directory."""
    found: dict[str, str] = {}
    for kind, argument in dockerfile():
        if kind == "COPY" and "--from=" not in argument:
            *sources, target = argument.replace("${LOCK}", lock).split()
            for source in sources:
                found[source] = f"{target.rstrip('/')}/{Path(source).name}" if target.endswith("/") else target
    return found


@pytest.mark.parametrize("lock", ["run", "llm"])
def test_what_the_image_copies_is_there_and_comes_through(lock: str) -> None:
    sources = copied(lock)
    assert set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(sources)
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert in_context(source), f"{source}: kept away by .dockerignore"


def test_what_nobody_else_should_have_stays_out_of_the_image() -> None:
    for path in (
        ".git/config",
        ".env",
        "daywatch.env",
        "daywatch.toml",
        "demo/report.html",
        "tests/conftest.py",
        "detector/__pycache__/x.pyc",
    ):
        assert not in_context(path), path


def test_everything_in_the_image_is_installed_by_hash() -> None:
    installs = [part for kind, argument in dockerfile() if kind == "RUN" for part in argument.split("&&") if "pip install" in part]
    assert installs
    for line in installs:
        assert "--no-deps" in line
        assert "--require-hashes" in line or line.split()[-1] == ".", line


def test_the_image_has_what_every_role_needs() -> None:
    """The lock of the image holds the extras that roles need; that of models those of the models, too."""
    extras = PROJECT["project"]["optional-dependencies"]
    roles = PROJECT["project"]["dependencies"] + extras["incidents"]
    for lock, wanted in {"run": roles, "llm": roles + extras["llm"]}.items():
        text = (REPOSITORY / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
        missing = [name for name in wanted if not re.search(rf"^{re.split(r'[^a-z0-9-]', name)[0].strip()}==", text, re.MULTILINE)]
        assert missing == [], f"run `make locks`: {lock}.txt"


def test_the_image_runs_as_nobody_in_particular() -> None:
    last = max(n for n, (kind, _) in enumerate(dockerfile()) if kind == "FROM")
    said = dict(dockerfile()[last:])
    user, _, group = said["USER"].partition(":")
    # by number: Kubernetes refuses to believe a name when it is told runAsNonRoot
    assert int(user) >= 1000
    assert int(group) >= 1000
    assert f"--uid {user}" in "".join(argument for kind, argument in dockerfile()[last:] if kind == "RUN")


def test_what_the_image_installs_is_the_whole_command(tmp_path: Path) -> None:
    """The build as the Dockerfile has it, from nothing but what it copies; then its entry point, which must find its own files."""
    context, site = tmp_path / "context", tmp_path / "site"
    context.mkdir()
    for source, target in copied("run").items():
        place = context / target.removeprefix("./") if target != "./" else context / source
        place.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy)(REPOSITORY / source, place)
    built = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--offline",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        site,
        context,
    ]
    done = subprocess.run(built, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    if listed.returncode == 0:
        packages = tuple(f"{name}/" for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
        wanted = [name for name in listed.stdout.splitlines() if name.startswith(packages) and (REPOSITORY / name).exists()]
        assert [name for name in wanted if not (site / name).exists()] == []
    (entry,) = (json.loads(argument) for kind, argument in dockerfile() if kind == "ENTRYPOINT")
    (default,) = (json.loads(argument) for kind, argument in dockerfile() if kind == "CMD")
    run = PlainProcess([str(site / "bin" / entry[0]), *default], {"PYTHONPATH": str(site)}, tmp_path / "container")
    assert run.code() == 0, run.err
    assert all(name in run.out for name in ("window", "detect"))
    where = subprocess.run(
        [sys.executable, "-c", "import daywatch.cli; print(daywatch.cli.__file__)"],
        env=os.environ | {"PYTHONPATH": str(site)}, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(site)), "the test ran something else"


# Kubernetes --------------------------------------------------------------------------------------------------------------


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document["kind"] != "Kustomization":
                yield path.name, document


OBJECTS = {f"{document['kind']}/{document['metadata']['name']}": (name, document) for name, document in documents()}
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8"))
PODS = {
    document["metadata"]["name"].removeprefix("daywatch-"): document["spec"]["template"]["spec"]
    for _, document in OBJECTS.values()
    if "template" in document.get("spec", {})
}
ROLES = ("window", "detect", "correlate")


def as_kubernetes_reads(document: dict[str, Any]) -> dict[str, Any]:
    """An object as Kubernetes' own description of its type has it: what the type does not know is missing.

    Raises:
        msgspec.ValidationError: something is missing, or of another type.
    """
    import msgspec
    from lightkube.core.resource_registry import resource_registry

    shape = resource_registry.load(document["apiVersion"], document["kind"])
    return dict(msgspec.convert(document, shape).to_dict())


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_what_kubernetes_describes(name: str) -> None:
    _, document = OBJECTS[name]
    assert as_kubernetes_reads(document) == document


def test_a_misspelled_field_or_a_wrong_type_would_be_found() -> None:
    import msgspec

    def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(json.dumps(OBJECTS["Deployment/daywatch-window"][1]))
        change(document["spec"])
        return document

    misspelled = broken(lambda spec: spec["template"]["spec"]["containers"][0].update(readinesProbe={}))
    assert as_kubernetes_reads(misspelled) != misspelled
    changes: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda spec: spec.update(replicas="1"),
        lambda spec: spec.pop("selector"),
        lambda spec: spec["template"]["spec"]["containers"][0].update(args="window"),
    )
    for change in changes:
        with pytest.raises(msgspec.ValidationError):
            as_kubernetes_reads(broken(change))


def test_the_kustomization_names_every_file_but_the_example_of_a_secret() -> None:
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert set(KUSTOMIZATION["resources"]) == there - {"kustomization.yaml", "secret.example.yaml"}
    assert {image["name"] for image in KUSTOMIZATION["images"]} == {
        container["image"] for pod in PODS.values() for container in pod["containers"]
    }


def test_there_is_one_worker_of_each_role_and_one_job_for_the_topics() -> None:
    deployments = {document["metadata"]["name"]: document["spec"] for _, document in OBJECTS.values() if document["kind"] == "Deployment"}
    assert {name: spec["replicas"] for name, spec in deployments.items()} == {f"daywatch-{role}": 1 for role in ROLES}
    for name, spec in deployments.items():
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert f"daywatch-{labels['app.kubernetes.io/component']}" == name
    assert [name for name in OBJECTS if name.startswith("Job/")] == ["Job/daywatch-topics"]


@pytest.mark.parametrize("role", [*ROLES, "topics"])
def test_a_pod_has_limits_and_no_rights(role: str) -> None:
    pod = PODS[role]
    image_user = next(argument for kind, argument in dockerfile() if kind == "USER")
    assert pod["securityContext"] | {"fsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": int(image_user.split(":")[0]),
        "runAsGroup": int(image_user.split(":")[1]),
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    # a service called daywatch would else be announced as DAYWATCH_SERVICE_HOST, which no setting is
    assert pod["enableServiceLinks"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(container["resources"]["limits"]) == set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


@pytest.mark.parametrize("role", ROLES)
def test_a_worker_is_started_again_when_it_stands_still_and_not_when_it_waits(role: str) -> None:
    (container,) = PODS[role]["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    (port,) = container["ports"]
    assert str(port["containerPort"]) == settings()["DAYWATCH_METRICS__PORT"]
    assert all(container[f"{name}Probe"]["httpGet"]["port"] == port["name"] for name in ("startup", "liveness", "readiness"))
    assert PODS[role]["terminationGracePeriodSeconds"] >= 20


def settings() -> dict[str, str]:
    """What every pod's environment comes from."""
    return dict(OBJECTS["ConfigMap/daywatch-settings"][1]["data"])


def test_settings_and_secrets_are_those_that_exist() -> None:
    names = {variable.removeprefix("DAYWATCH_").lower().replace("__", ".") for variable in settings()}
    assert names <= set(setting_names())
    secret = OBJECTS["Secret/daywatch-secrets"][1]["stringData"]
    for role, pod in PODS.items():
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "daywatch-settings"}}], role
        (mount,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets")
        files = {value for value in settings().values() if value.startswith("/")}
        assert {f"{mount}/{name}" for name in secret} == files
        assert not any(re.search(r"(password|key)$", name) for name in names), "secrets lie in files"
        assert container["args"][0] in COMMANDS


# its command lines, on a broker and a store as the settings describe them: TLS, passwords from files --------------------------


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Callable[[str], PlainProcess]]:
    """Starts a role's container as a process: the words and environment of its pod, the secret's files, this machine's addresses."""
    launcher, program = kafka_launcher(), redis_program()
    if launcher is None or program is None:
        pytest.skip("no Apache Kafka or no Redis: see CONTRIBUTING.md")
    certificates = Certificates.make(tmp_path / "certificates")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    authority = Path(certificates.authority.certificate).read_text(encoding="utf-8")
    for name in OBJECTS["Secret/daywatch-secrets"][1]["stringData"]:
        (secrets / name).write_text(authority if name == "ca.crt" else PASSWORD, encoding="utf-8")
    user = settings()["DAYWATCH_KAFKA__SASL_USERNAME"]
    broker = SecureKafka(launcher, tmp_path / "kafka", certificates)
    owner = f"user {settings()['DAYWATCH_STORE__USERNAME']} on >{PASSWORD} ~{settings()['DAYWATCH_NAMESPACE']}:* &* +@all"
    store = SecureRedis(tmp_path / "redis", program, certificates, ["user default off", owner])
    running: list[PlainProcess] = []

    def start(role: str) -> PlainProcess:
        port = str(free_port())
        door = broker.address(settings()["DAYWATCH_KAFKA__SECURITY_PROTOCOL"])
        here = {settings()["DAYWATCH_KAFKA__BOOTSTRAP_SERVERS"]: door, settings()["DAYWATCH_STORE__URL"]: store.tls}
        here |= {"/run/secrets/daywatch": str(secrets), "0.0.0.0": "127.0.0.1", settings()["DAYWATCH_METRICS__PORT"]: port}
        environment = Rewrite(here).values(settings())
        environment["DAYWATCH_TOPICS__REPLICATION_FACTOR"] = "1"  # the one thing that a single broker cannot do
        (entry,) = (json.loads(argument) for kind, argument in dockerfile() if kind == "ENTRYPOINT")
        (container,) = PODS[role]["containers"]
        process = PlainProcess([*container.get("command", entry), *container["args"]], environment, tmp_path / f"{role}-{len(running)}")
        process.port = port  # type: ignore[attr-defined]
        running.append(process)
        return process

    try:
        broker.start()
        broker.know(user)
        for kind in ("TOPIC", "GROUP", "TRANSACTIONAL_ID"):
            broker.allow(user, kind, f"{settings()['DAYWATCH_NAMESPACE']}.", "ALL", prefix=True)
        store.start()
        yield start
    finally:
        for process in running:
            process.kill()
        store.stop()
        broker.kill()


def answers(process: PlainProcess, path: str) -> bool:
    """Whether a probe would be content. It fails the test when the process has ended."""
    assert process.runs(), f"it ended: {process.err[-3000:]}"
    try:
        with urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=30) as answer:  # type: ignore[attr-defined]
            return bool(answer.status == 200)
    except (HTTPError, URLError):
        return False


def test_every_command_line_of_the_example_works(pods: Callable[[str], PlainProcess]) -> None:
    early = pods("window")
    assert early.code() == 1, "without topics it says so and ends"
    assert "daywatch topics create" in early.err
    assert pods("topics").code() == 0
    assert pods("topics").code() == 0, "a job may be started again"
    workers = [pods(role) for role in ROLES]
    for role, worker in zip(ROLES, workers, strict=True):
        probes = [PODS[role]["containers"][0][f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")]
        until(lambda worker=worker, probes=probes: all(answers(worker, path) for path in probes), 180)
    for worker in workers:
        assert worker.stop(10) == 0, worker.err[-2000:]
        assert worker.written() == []
        assert PASSWORD not in worker.err + worker.out
        assert all(json.loads(line)["level"] for line in worker.err.splitlines())
