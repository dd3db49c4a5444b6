"""The Dockerfile and what it is given, as far as can be told without building it."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

ROOT = Path(__file__).resolve().parents[2]


def instructions(stage: int) -> list[str]:
    """The instructions of one stage, each on one line, without comments."""
    text = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    joined = lines.replace("\\\n", " ")
    stages = re.split(r"^(?=FROM )", joined, flags=re.MULTILINE)[1:]
    return [line.strip() for line in stages[stage].splitlines() if line.strip()]


BUILD, FINAL = 0, 1


def of(stage: int, word: str) -> list[str]:
    return [line[len(word) + 1 :] for line in instructions(stage) if line.startswith(f"{word} ")]


def test_both_stages_begin_with_the_same_pinned_python() -> None:
    (first,), (second,) = of(BUILD, "FROM"), of(FINAL, "FROM")
    assert first == f"{second} AS build"
    assert re.fullmatch(r"python:3\.1\d\.\d+-slim-\w+", second)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = second.split(":")[1].rsplit(".", 1)[0]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]


def test_libraries_come_by_their_hashes_and_nothing_else_can_be_installed() -> None:
    runs = " && ".join(of(BUILD, "RUN"))
    downloads = re.findall(r"pip download [^&]*", runs)
    assert len(downloads) == 1
    for word in ("--require-hashes", "--only-binary :all:", "-r requirements.lock"):
        assert word in downloads[0]
    installs = re.findall(r"pip (?:--python \S+ )?install [^&]*", runs)
    assert len(installs) == 2
    assert all("--no-index" in install for install in installs)


def test_the_command_that_builds_our_wheel_does_so(tmp_path: Path) -> None:
    (words,) = re.findall(r"hatchling (build [^&]*)", " ".join(of(BUILD, "RUN")))
    arguments = [str(tmp_path) if word == "/dist" else word for word in words.split()]
    assert str(tmp_path) in arguments
    subprocess.run(
        [sys.executable, "-m", "hatchling", *arguments], cwd=ROOT, check=True, capture_output=True
    )
    assert len(list(tmp_path.glob("*.whl"))) == 1


def test_the_image_holds_neither_pip_nor_a_package_manager_run() -> None:
    assert any("pip uninstall" in run for run in of(FINAL, "RUN"))
    assert "--without-pip /opt/thongsuot" in " ".join(of(BUILD, "RUN"))
    assert not any("apt-get" in run or "pip install" in run for run in of(FINAL, "RUN"))
    copied = of(FINAL, "COPY")
    assert copied == [
        "--from=build /opt/thongsuot /opt/thongsuot",
        "docker/healthcheck.py /opt/thongsuot/healthcheck.py",
    ]


def test_it_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    (user,) = of(FINAL, "USER")
    assert user == "10001:10001"
    assert instructions(FINAL).index(f"USER {user}") < instructions(FINAL).index('CMD ["worker"]')
    assert of(FINAL, "ENTRYPOINT") == ['["thongsuot"]'], "no shell: SIGTERM reaches the worker"
    (check,) = of(FINAL, "HEALTHCHECK")
    assert "/opt/thongsuot/healthcheck.py" in check
    (labels,) = of(FINAL, "LABEL")
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert of(FINAL, "ARG") == [f"VERSION={project['version']}"]
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    defaults = set(re.findall(r"\$\{HUB_VERSION:-([^}]+)\}", compose))
    assert defaults == {project["version"]}


def dockerignore() -> GitIgnoreSpec:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    # `*` of a .dockerignore stands for what lies at the root only.
    return GitIgnoreSpec.from_lines("/*" if line == "*" else line for line in lines)


def test_what_is_copied_is_there_and_is_sent_to_the_builder() -> None:
    sources = [
        source
        for stage in (BUILD, FINAL)
        for line in of(stage, "COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    ]
    assert {"requirements.lock", "streams", "docker/healthcheck.py"} <= set(sources)
    text = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in text, source


@pytest.mark.parametrize(
    "path",
    [
        *("secrets/master_key", "docker/hub.env", ".env", ".git/config", "tests/conftest.py"),
        *("streams/__pycache__/a.pyc", "connectors/one_stop/x.db", "var/ledger.db"),
    ],
)
def test_what_must_not_get_into_an_image_is_not_sent(path: str) -> None:
    assert dockerignore().match_file(path)


# --- the health check -----------------------------------------------------------------------------------


class _Live(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/live" else 404)
        self.end_headers()
        self.wfile.write(b'{"why": ["intake: 7 records wait"]}')

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Live) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asked(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "docker" / "healthcheck.py"],
        env={"THONGSUOT_MONITORING__PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1), (404, 1)])
def test_the_health_check_goes_by_live(
    port: int, status: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Live, "status", status)
    done = asked(port)
    assert done.returncode == code
    assert "intake: 7 records wait" in done.stdout, "the reason is kept by the engine"
    assert done.stderr == ""


def test_the_health_check_fails_where_nobody_answers() -> None:
    done = asked(9)
    assert done.returncode == 1
    assert "port 9 does not answer" in done.stdout
    assert done.stderr == ""
