"""The container: what can be said of deploy/Dockerfile and compose.yaml without a daemon that builds them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shield.config.load import load, remarks
from shield.operator.server import AdminServer, AdminSettings
from tests.operator.test_server import View

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
CONFIG = ROOT / "deploy" / "docker" / "config.toml"
pytestmark = pytest.mark.skipif(not DOCKERFILE.exists(), reason="deploy/ is no part of the wheel")


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what follows it on one line."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def test_it_runs_as_nobody_with_no_rights_and_says_how_it_is() -> None:
    user, group = last("USER").split(":")
    assert int(user) > 0
    assert int(group) > 0
    words = [name for name, _ in instructions()]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word in ("RUN", "COPY"))
    assert last("STOPSIGNAL") == "SIGTERM"
    known = {"FROM", "WORKDIR", "ENV", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ARG"}
    assert set(words) <= known | {"ENTRYPOINT", "CMD"}
    assert json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))[:1] == ["shield", "run"]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    wanted = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert {"shield", "pyproject.toml", "requirements/run.txt"} <= wanted
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in wanted:
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_an_argument_has_it_built_with_the_packages_of_extras() -> None:
    """The story: identity.asn is set, and the container does not start, as maxminddb is not in it."""
    (argument,) = [rest for word, rest in instructions() if word == "ARG"]
    name, _, usual = argument.partition("=")
    (install,) = [rest for word, rest in instructions() if word == "RUN" and f'requirements/"${name}"' in rest]
    assert "--require-hashes" in install
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for file, wanted in ((usual, ()), ("image.txt", (*extras["mmdb"], *extras["traces"]))):
        pinned = {
            line.split()[0] for line in (ROOT / "requirements" / file).read_text().splitlines() if line[:1] != " "
        }
        assert {*project["dependencies"], *wanted} <= pinned, file


def test_what_the_wheel_is_made_of_is_copied() -> None:
    """hatchling reads these files: a build without one of them fails."""
    project = (ROOT / "pyproject.toml").read_text()
    copied = " ".join(rest for word, rest in instructions() if word == "COPY")
    shared = re.findall(r'^"([^"]+)" = "(?:share|shield)/', project, re.MULTILINE)
    assert len(shared) >= 3
    for path in shared:
        assert any(path == each or path.startswith(f"{each}/") for each in copied.split()), path


async def test_the_healthcheck_says_whether_shield_is_well() -> None:
    command = json.loads(re.search(r"CMD (\[.*\])", last("HEALTHCHECK"))[1])  # type: ignore[index]
    assert command[0] == "python"
    assert load(str(CONFIG)).admin.address in command[2]
    server = AdminServer(AdminSettings("127.0.0.1:0"), View())
    await server.start()
    code = command[2].replace("127.0.0.1:9901", server.address)

    async def status() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.DEVNULL)
        return await process.wait()

    assert await status() == 0
    await server.close()
    assert await status() == 1


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"][name]
    return found


def test_compose_gives_no_rights_and_hides_the_application() -> None:
    whole = yaml.safe_load(COMPOSE.read_text())
    for name in ("app", "shield"):
        one = service(name)
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert int(one["user"].partition(":")[0]) > 0
    assert "ports" not in service("app")
    assert [whole["networks"][name] for name in service("app")["networks"]] == [{"internal": True}]
    assert service("shield")["user"] == last("USER")
    for place in ("build", "volumes"):
        assert place in service("shield")


def test_compose_and_config_fit_each_other() -> None:
    config = load(str(CONFIG))
    assert remarks(str(CONFIG)) == []
    one = service("shield")
    (port,) = one["ports"]
    assert config.listen.addresses == (f"0.0.0.0:{port.partition(':')[2]}",)
    assert config.upstream.servers == ("http://app:8000",)
    assert "8000" in service("app")["command"]
    mounted = [volume.split(":")[1] for volume in one["volumes"]]
    assert {config.state.directory, config.http.body_spool_directory, "/etc/shield/config.toml"} == set(mounted)
    assert (COMPOSE.parent / one["volumes"][0].partition(":")[0]).resolve() == CONFIG
    assert set(json.loads(last("VOLUME"))) == {config.state.directory, config.http.body_spool_directory}
    seconds = float(one["stop_grace_period"].removesuffix("s"))
    assert seconds > config.timeouts.drain
    for volume in one["volumes"][1:]:
        assert volume.partition(":")[0] in yaml.safe_load(COMPOSE.read_text())["volumes"]


def test_docker_understands_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    subprocess.run([docker, "compose", "-f", str(COMPOSE), "config", "-q"], check=True, timeout=60)
