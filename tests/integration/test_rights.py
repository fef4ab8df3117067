"""Users with the rights that the documentation names, and nothing else: enough for everything, and no more."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import Child, ValkeyServer, Worker, free_port, wait_until

from nearhit import FillOutcome, Hit, Metrics, Server, Settings
from nearhit.cli import main, path_checks, server_checks
from nearhit.cli.finding import Finding, Status
from nearhit.cli.servers import Ask, Servers
from nearhit.valkey import rights
from nearhit.valkey.key_names import LogKeys
from tests.conftest import MODULE
from tests.support import observability as seen
from tests.support.cluster import join
from tests.support.faces import KINDS, Face

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
NAMESPACE = "guarded"
PARTS = {"cache server": "cache", "search module": "cache", "log's server": "log", "broker": "broker"}
NARROW = {
    "~nearhit:*": (f"~nearhit:{NAMESPACE}:*", f"~nearhit:{{{NAMESPACE}}}:*", f"~nearhit:lease:{{nearhit:{NAMESPACE}:*"),
    "~nearhit-*": (f"~nearhit-{NAMESPACE}-*",),
}
ON_OCCASION = {
    *("client|setname", "select"),  # for a database that is not 0
    *(
        "xclaim",
        "xgroup|delconsumer",
        "zadd",
        "zrem",
        "zscore",
        "incrby",
        "pexpire",
        "hvals",
    ),  # late fills, silent workers, a purge
    *(
        "watch",
        "unwatch",
        "hget",
        "zrange",
        "script|load",
        "evalsha",
        "smembers",
    ),  # messages of killed workers, exchanges
    *("latency|histogram", "client|list"),  # newer exporters, and those that are asked for clients
}
"""Commands that a round may not come to; each is sent somewhere in the code."""


class Guarded:
    """A cache server, a log's server and a broker, with the users of the documentation."""

    def __init__(self, folder: Path, module: str) -> None:
        self.module = module
        self.servers = {
            "cache": ValkeyServer(folder / "cache", module=module),
            "log": ValkeyServer(folder / "log", durable=True),
            "broker": ValkeyServer(folder / "broker"),
        }

    def make_users(self, *, narrow: bool) -> None:
        """Run the commands of the documentation; ``narrow`` keeps the users to one namespace, as it says below them."""
        for part, command in recipes():
            if part != "search module" or self.module:
                words = command.split()
                if narrow:
                    words = [rule for word in words for rule in NARROW.get(word, (word,))]
                with self.servers[PARTS[part]].client() as client:
                    client.execute_command(*words)

    def environ(self, role: str, **more: str) -> dict[str, str]:
        """Return the variables of a process of a role."""
        urls = {name: f"{one.port}/0" for name, one in self.servers.items()}
        who = f"nearhit-{role}:PASSWORD@127.0.0.1"
        values = {
            "threshold": "0.8",
            "model": "hash/64",
            "guard": "0",
            "namespace": NAMESPACE,
            "durability": "fsync",
            "deadline_ms": "2000",
            "enqueue_deadline_ms": "5000",
            "url": f"valkey://{who}:{urls['cache']}",
            "log_url": f"valkey://{who}:{urls['log']}",
            "broker_url": f"valkey://{who}:{urls['broker']}",
        }
        return {**{f"NEARHIT_{name.upper()}": value for name, value in values.items()}, **more}

    def denied(self) -> list[dict[str, str]]:
        """Return what a server has refused, from its own log."""
        return [row for one in self.servers.values() for row in _acl_log(one)]

    def unused(self) -> set[str]:
        """Return the commands that users are allowed and nobody has sent, whatever the server."""
        used: set[str] = set()
        for one in self.servers.values():
            with one.client() as client:
                used |= {name.removeprefix("cmdstat_").lower() for name in client.info("commandstats")}
        allowed = {rule[1:] for _, line in recipes() for rule in line.split() if rule.startswith("+")}
        elsewhere = (
            {"dbsize", "expire", "xread"} if self.module else {one for one in allowed if one[:3] in {"ft.", "ran"}}
        )
        return allowed - used - elsewhere


def recipes() -> list[tuple[str, str]]:
    """Return the commands as the documentation shows them, with the server that each is for."""
    text = (ROOT / "docs" / "operations.md").read_text().partition("<!-- rights -->")[2].partition("<!-- /rights")[0]
    return re.findall(r"^# (.+), \w+\n(ACL SETUSER .+)$", text, re.MULTILINE)


def _acl_log(server: ValkeyServer) -> list[dict[str, str]]:
    with server.client() as client:
        rows: list[dict[str, Any]] = client.acl_log()
    return [{name: str(row[name]) for name in ("username", "reason", "context", "object")} for row in rows]


@pytest.fixture(params=["local", pytest.param("valkey-search", marks=pytest.mark.search)])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def guarded(engine: str, tmp_path: Path) -> Iterator[Guarded]:
    """The three servers, whose users the test makes, for an engine."""
    if engine != "local" and not MODULE:
        pytest.skip("no search module: set NEARHIT_TEST_SEARCH_MODULE to the path of libsearch.so")
    made = Guarded(tmp_path, "" if engine == "local" else MODULE)
    with ExitStack() as stack:
        for one in made.servers.values():
            stack.enter_context(one)
        yield made


@pytest.mark.timeout(240)
def test_the_documented_users_can_do_everything_and_are_allowed_no_more(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded.make_users(narrow=bool(guarded.module))
    for name, value in guarded.environ("worker").items():
        monkeypatch.setenv(name, value)

    def run(*words: str, code: int = 0) -> str:
        assert main(list(words)) == code, capsys.readouterr()
        return capsys.readouterr().out

    with Worker(tmp_path / "worker", guarded.environ("worker")):
        for kind in KINDS:
            ask_and_fill(kind, Settings.from_env(guarded.environ("application")))
        run("fill", "How do I do it?", "So.", "--wait")
        run("threshold", "set", "0.81")
        assert "0.81" in run("threshold")
        run("threshold", "unset")
        run("export", "--to", str(tmp_path / "all.jsonl"))
        run("load", str(tmp_path / "all.jsonl"))
        run("stats")
        run("verify")
        refused = Runtime(Settings.from_env(), Metrics(namespace=NAMESPACE))
        refused.refuse(b"no fill", "undecodable", "a test")
        refused.close()
        assert "undecodable" in run("dead", "list")
        run("dead", "drop", "--all")
        assert ", 0 failed" in run("doctor")
    with Worker(tmp_path / "other", guarded.environ("worker", NEARHIT_MODEL="hash/128")):
        run("reindex", "--model", "hash/128", "--timeout", "60")
    watch(guarded)
    assert guarded.denied() == []
    assert guarded.unused() <= ON_OCCASION


def ask_and_fill(kind: str, settings: Settings) -> None:
    """Do what an application does."""
    question = f"How do I restore a snapshot of the volume with {kind}?"
    with Face(kind, settings) as face:
        assert face.warm_up(10)
        assert face.fill(face.lookup(question), "an answer") is FillOutcome.ACCEPTED
        wait_until(lambda: isinstance(face.lookup(question), Hit), 20, "the worker has stored the answer")
        reworded = question.replace("a snapshot of the", "the snapshot of a")
        wait_until(lambda: isinstance(face.lookup(reworded), Hit), 20, "it is found in other words")
        created = asyncio.to_thread(str, "nobody") if kind == "asyncio" else "nobody"
        assert face.run(face.cache.get_or_create(f"Who is {kind}?", lambda: created)) == "nobody"
        assert face.run(face.cache.invalidate(prompt=question)).removed == 1


def watch(guarded: Guarded) -> None:
    """Let redis_exporter look at every server, with all series that dashboards and alerts use."""
    shown = ""
    for server in guarded.servers.values():
        port, keys, is_log = free_port(), LogKeys(NAMESPACE), server is guarded.servers["log"]
        waiting = keys.retry("bulk")
        if is_log:
            scale_by(server, waiting)
        child = Child(
            "exporter",
            [
                *(seen.program("redis_exporter", "prometheus-redis-exporter"), "-redis.user", "nearhit-monitor"),
                *("-redis.addr", f"redis://127.0.0.1:{server.port}", "-redis.password", "PASSWORD"),
                *("-web.listen-address", f"127.0.0.1:{port}"),
                *(("-check-single-streams", keys.log("bulk"), "-check-single-keys", waiting) if is_log else ()),
            ],
            server.folder,
        )

        def scraped(port: int = port) -> bool:
            nonlocal shown
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                shown += answer.read().decode()
                return True
            return False

        wait_until(scraped, 20, "the exporter answers")
        child.stop()
        assert "rror" not in child.tail()
    assert shown.count("\nredis_up 1") == len(guarded.servers)
    assert {name for name in seen.REDIS_EXPORTER if f"\n{name}" not in shown} == set()


def commands_of(server: ValkeyServer) -> dict[str, int]:
    """Return every command and subcommand that a server knows, with the least number of its words."""
    found: dict[str, int] = {}
    with closing(Ask(Server(url=server.url), "server")) as ask:
        rows = list(ask("COMMAND"))
    while rows:
        name, arity, *_, inner = rows.pop()
        rows += inner
        found |= {} if inner else {name.decode(): abs(arity)}
    return found


def scale_by(server: ValkeyServer, waiting: str) -> None:
    """Let fills wait for a retry, and ask for their number as KEDA does, in one step whatever is there."""
    with server.client() as client:
        client.zadd(waiting, {"a fill": 1})
    script = "local t = redis.call('type', KEYS[1]).ok return redis.call(t == 'zset' and 'zcard' or 'llen', KEYS[1])"
    with redis.Redis(port=server.port, username="nearhit-monitor", password="PASSWORD") as client:
        assert [client.eval(script, 1, one) for one in (waiting, f"{waiting}-none")] == [1, 0]


def test_every_other_command_is_refused(guarded: Guarded) -> None:
    guarded.make_users(narrow=False)
    for name, server in guarded.servers.items():
        known = commands_of(server)
        for role in (rights.APPLICATION, rights.WORKER, rights.MONITOR):
            lines = [line for part, line in recipes() if PARTS[part] == name and f"nearhit-{role} " in line]
            allowed = {rule[1:].lower() for line in lines for rule in line.split() if rule[0] == "+"}
            with server.client() as client:
                let_in = {one.lower() for one in known if not _refused(client, f"nearhit-{role}", one, known[one])}
            assert let_in - {"auth", "hello", "quit", "reset"} <= allowed, role
            assert not let_in & {"flushall", "config|set", "acl|setuser", "keys", "shutdown", "module|load", "debug"}


def _refused(client: redis.Redis, user: str, command: str, words: int) -> bool:
    name, *inner = command.split("|")
    reply = client.execute_command("ACL", "DRYRUN", user, *[name, *inner, *["nearhit:x"] * words][:words])
    return b"has no permissions to run" in reply


@pytest.mark.parametrize(
    ("engine", "rule", "check", "status", "said"),
    [
        ("local", "-hmget", "cache rights", Status.FAIL, "lacks +hmget"),
        ("local", "-randomkey", "cache rights", Status.WARN, "a worker needs +randomkey"),
        ("local", "-waitaof", "log rights", Status.FAIL, "lacks +waitaof"),
        ("local", "-xinfo|groups", "log rights", Status.WARN, "a worker needs +xinfo|groups"),
        ("local", "-lpush", "broker rights", Status.FAIL, "lacks +lpush"),
        ("local", "-multi", "log rights", Status.FAIL, "lacks +multi"),
        ("local", "-exec", "cache rights", Status.FAIL, "lacks +exec"),
        ("local", "resetkeys", "log rights", Status.FAIL, "lacks ~nearhit:*"),
        ("local", "resetkeys", "broker rights", Status.FAIL, "lacks ~nearhit-*, ~_kombu.binding*.nearhit-*, ~unacked*"),
        ("local", "-ping", "cache rights", Status.FAIL, "lacks +ping"),
        ("local", "-@all", "cache server", Status.FAIL, "refuses PING"),
        ("local", "-echo", "cache rights", Status.PASS, "all rights of a worker"),
        pytest.param(
            "valkey-search", "-ft.search", "cache rights", Status.FAIL, "lacks +ft.search", marks=pytest.mark.search
        ),
    ],
)
def test_the_doctor_names_a_right_that_is_missing_and_runs_nothing(
    guarded: Guarded, rule: str, check: str, status: Status, said: str
) -> None:
    guarded.make_users(narrow=False)
    with guarded.servers[check.partition(" ")[0]].client() as client:
        client.execute_command("ACL", "SETUSER", "nearhit-worker", rule)
    found = doctored(Settings.from_env(guarded.environ("worker", NEARHIT_DURABILITY="write")))[check]
    assert (found.status, said in found.text) == (status, True), found
    if check.endswith("rights") and status is not Status.PASS:
        assert found.advice.partition("ACL SETUSER nearhit-worker ")[2].startswith(("+", "~"))
    for one in guarded.servers.values():
        with one.client() as client:
            assert client.keys("*") == []


def doctored(settings: Settings) -> dict[str, Finding]:
    with Servers(settings) as both:
        found = [*server_checks.check_cache_server(both), *server_checks.check_log_server(both)]
    return {one.check: one for one in [*found, *path_checks.check_broker(settings)]}


def test_every_command_that_the_code_sends_is_in_a_recipe(plain_server: ValkeyServer) -> None:
    paths = [path for room in ("nearhit", "worker", "tasks") for path in (ROOT / room).rglob("*.py")]
    sources = "\n".join(path.read_text() for path in paths if path.name != "rights.py")
    words = {*re.findall(r'\("([A-Z]{2,}|FT\.[A-Z_]+)"', sources), *re.findall(r"redis\.p?call\('([A-Z]+)'", sources)}
    known = {one.partition("|")[0].upper() for one in commands_of(plain_server)}
    sent = {one for one in words if one in known or one.startswith("FT.")}
    assert {"XADD", "HMGET", "ZRANGEBYSCORE", "FT.SEARCH", "PEXPIREAT", "XCLAIM"} <= sent
    on_clusters = {"ASKING", "CLUSTER", "COMMAND", "READONLY"}
    assert (
        sent - {sample.split()[0] for one in rights.RECIPES for sample in one.commands}
        <= {"AUTH", "HELLO"} | on_clusters
    )


def test_users_of_a_cluster_need_what_is_named_for_it(kind: str, tmp_path: Path) -> None:
    (more,) = re.findall(r"On a cluster add `([^`]+)`", (ROOT / "docs" / "operations.md").read_text())
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with ValkeyServer(tmp_path / "node", options=options) as node:
        join([node])
        with node.client() as client:
            for part, command in recipes():
                if part in {"cache server", "log's server"}:
                    client.execute_command(*command.split(), *more.split())
        url = f"valkey+cluster://nearhit-worker:PASSWORD@127.0.0.1:{node.port}"
        with ValkeyServer(tmp_path / "cache") as cache:
            values = {"threshold": 0.8, "url": cache.url, "log_url": url, "namespace": NAMESPACE, "model": "hash/64"}
            settings = Settings.from_env({}, **values, enqueue_deadline_ms=2_000, deadline_ms=2_000)
            with Face(kind, settings) as face:
                assert face.warm_up(10)
                wait_until(lambda: face.fill("Who?", "you") is FillOutcome.ACCEPTED, 20, "the log takes a fill")
                runtime = Runtime(settings, Metrics(namespace=NAMESPACE))
                wait_until(
                    lambda: runtime.drain("interactive") + isinstance(face.lookup("Who?"), Hit) > 0, 20, "it is stored"
                )
                runtime.close()
        assert _acl_log(node) == []
