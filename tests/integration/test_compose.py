"""The servers of the compose file as they are started there, with and without a password."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import yaml
from nearhit_worker.stack import Child, free_port, server_program, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())


@pytest.fixture(params=["", "pass-W0rd_"], ids=["no password", "password"])
def password(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["cache", "broker"])
def child(request: pytest.FixtureRequest, password: str, tmp_path: Path) -> Iterator[tuple[Child, int]]:
    """A server that is started with the command and the file of its service."""
    service, port = COMPOSE["services"][request.param], free_port()
    (config,) = service["configs"]
    file = tmp_path / "password.conf"
    file.write_text(COMPOSE["configs"][config["source"]]["content"].replace("${VALKEY_PASSWORD:-}", password))
    words = [str(file) if word == config["target"] else word for word in service["command"][1:]]
    assert str(file) in words
    own = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    started = Child(request.param, [server_program(), *words, *own], tmp_path)
    yield started, port
    started.stop()


def test_a_password_is_in_force_and_on_no_command_line(child: tuple[Child, int], password: str) -> None:
    started, port = child

    def answers(given: str | None) -> bool:
        with redis.Redis(port=port, password=given) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError as error:
                return isinstance(error, redis.AuthenticationError) and given is None

    wait_until(lambda: answers(None), 20, "the server is there")
    with redis.Redis(port=port) as client:
        if password:
            with pytest.raises(redis.AuthenticationError):
                client.ping()
        else:
            assert client.ping()
    assert answers(password or None)
    line = Path(f"/proc/{started.process.pid}/cmdline").read_text()
    assert "valkey" in line
    assert not password or password not in line
    commands = [str(service.get("command", "")) for service in COMPOSE["services"].values()]
    assert not any("PASSWORD" in one for one in commands)
