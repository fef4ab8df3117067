"""Settings: the only module that reads the environment."""

from __future__ import annotations

import difflib
import itertools
import logging
import os
import re
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from nearhit.domain.hit_policy import Lifetimes, check_threshold
from nearhit.errors import ConfigError
from nearhit.valkey.durability import DURABILITIES
from nearhit.valkey.key_names import check_namespace
from nearhit.valkey.server import Server, is_service_link
from nearhit.valkey.server_url import broker_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = ("auto", "valkey-search", "local")
LAYOUTS = ("nearhit", "litellm")
JUDGES = ("litellm/", "onnx:")
ON_FAILURE = ("refuse", "accept")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
VERIFY_JUDGES = ("exact", "embedding", "llm")
PREFIX = "NEARHIT_"

_OTHERS = frozenset(f"{PREFIX}{name}" for name in ("CHAOS", "DEBUG", "RENDERER", "SEARCH_MODULE", "VALKEY_SERVER"))
"""Variables that are read elsewhere: by the command line, the embedded servers and the tests."""

_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?$")

log = logging.getLogger("nearhit")


def _setting(group: str, default: Any, text: str, allowed: tuple[Any, ...] = (), *, secret: bool = False) -> Any:
    """Return a field of a group; ``allowed`` are the least and the largest number, or the words to choose from."""
    return field(default=default, repr=not secret, metadata={"group": group, "text": text, "allowed": allowed})


_server = partial(_setting, "Servers")
_hit = partial(_setting, "What is a hit")
_judge = partial(_setting, "Second stage")
_time = partial(_setting, "Time limits of callers")
_life = partial(_setting, "Lifetime of entries")
_index = partial(_setting, "Index")
_fill = partial(_setting, "Fills")
_verify = partial(_setting, "Verification")
_worker = partial(_setting, "Worker process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, checked when it is made. Times carry their unit in their name.

    ``threshold`` alone has no default: which similarity means the same question depends on the embedding model and on
    what a wrong answer costs.
    """

    url: str = _server(
        "",
        "Cache server: `valkey://`, `valkeys://`, `redis://`, `rediss://`, `unix://`; with `+cluster`, `+sentinel`.",
        secret=True,
    )
    log_url: str = _server("", "Server of the fill log (AOF, `noeviction`); empty takes the cache server.", secret=True)
    broker_url: str = _server(
        "", "Celery broker: a Valkey server, written as above, or `amqp://`; empty takes the log's server.", secret=True
    )
    namespace: str = _server("default", "Keeps caches apart that share a server.")
    connect_timeout_ms: int = _server(1_000, "Longest time of a connect.", (1, 60_000))
    max_connections: int = _server(
        64,
        "Connections of a process at most, to the cache server and to the log's; further threads wait for a free one. "
        "Each takes 17 KB of the server and one of its `maxclients`.",
        (1, 10_000),
    )

    threshold: float = field(
        metadata=_hit(MISSING, "Smallest cosine similarity of a semantic hit, above 0 and at most 1.").metadata
    )
    threshold_floor: float = _hit(
        0.0, "Lowest threshold that may be set while processes run; 0 is `threshold`: it can only be raised.", (0, 1)
    )
    model: str = _hit("local/minilm", "Embedding model: `local/minilm`, `hash/384`, or any LiteLLM model string.")
    guard: bool = _hit(True, "Refuse near texts that mean something else.")
    neighbours: int = _hit(4, "Neighbours looked at before a lookup is a miss.", (1, 100))

    judge: str = _judge(
        "", "Second stage, asked about what the guard accepted: `litellm/<model>` or `onnx:<folder>`; empty asks none."
    )
    judge_below: float = _judge(
        1.0,
        "Only a neighbour to which the guard gives a smaller chance of a right answer is judged; 1 judges all.",
        (0, 1),
    )
    judge_level: float = _judge(0.5, "Smallest probability with which the judge's `same` counts.", (0, 1))
    judge_deadline_ms: int = _judge(
        150, "Longest time of all judging in a lookup, within `NEARHIT_DEADLINE_MS`.", (1, 60_000)
    )
    judge_on_failure: str = _judge(
        "refuse", "When the judge fails: `refuse` the neighbour, or `accept` it.", ON_FAILURE
    )

    deadline_ms: int = _time(250, "Longest time of a lookup; then it is a miss.", (1, 60_000))
    enqueue_deadline_ms: int = _time(50, "Longest time that `fill` holds its caller.", (1, 60_000))
    single_flight_ms: int = _time(
        30_000, "Longest wait of `get_or_create` for another process that asks the same; 0 asks at once.", (0, 600_000)
    )

    ttl_seconds: float = _life(86_400.0, "Hard time to live of an entry.", (0.001, 366 * 86_400))
    fresh_seconds: float = _life(
        0.0, "Soft time to live: a later hit is served and asked again; 0 is the hard one.", (0, 366 * 86_400)
    )
    ttl_jitter: float = _life(0.1, "Share of the time to live that is taken off at random.", (0, 0.99))

    engine: str = _index("auto", "`valkey-search`, `local`, or `auto`: asks the server which one it can do.", ENGINES)
    layout: str = _index("nearhit", "`litellm` shares entries with LiteLLM's own `valkey-semantic` cache.", LAYOUTS)
    layout_index: str = _index("litellm_semantic_cache_index", "Index that `layout=litellm` shares.")
    hnsw_m: int = _index(16, "HNSW links of a node.", (2, 512))
    hnsw_ef_construction: int = _index(200, "HNSW candidates while inserting.", (1, 4096))
    hnsw_ef_runtime: int = _index(40, "HNSW candidates while searching.", (1, 4096))
    local_max_entries: int = _index(100_000, "Entries that the local engine holds.", (1, 100_000_000))
    vector_cache_entries: int = _index(4_096, "Vectors of recent texts kept in the process.", (0, 10_000_000))

    durability: str = _fill(
        "write",
        "What `accepted` says of a fill: `write`: the log's server has it; `fsync`: its disk has it.",
        DURABILITIES,
    )
    spool_max_fills: int = _fill(10_000, "Fills kept in memory while the log's server is down.", (0, 10_000_000))
    embed_timeout_ms: int = _fill(10_000, "Longest time of an embedding call in a worker.", (1, 600_000))
    batch_max_fills: int = _fill(64, "Fills gathered into one embedding call and one upsert.", (1, 4096))
    batch_wait_ms: int = _fill(20, "Longest time that a fill waits for others to join its batch.", (0, 10_000))
    poll_seconds: float = _fill(1.0, "How often a worker looks at the log without being woken.", (0.01, 3600))
    claim_idle_ms: int = _fill(15_000, "After how long the fills of a silent worker are taken over.", (100, 3_600_000))
    max_tries: int = _fill(
        100, "Tries of a fill, with growing waits, before it goes to the dead-letter log.", (1, 1_000_000)
    )
    max_deliveries: int = _fill(
        5, "Workers that may fall silent over a fill before it goes to the dead-letter log.", (1, 1000)
    )
    retry_ceiling_seconds: float = _fill(60.0, "Longest wait before a fill is tried again.", (0.01, 86_400))

    verify_share: float = _verify(0.0, "Share of semantic hits that are verified in the background; 0 is none.", (0, 1))
    verify_model: str = _verify("", "LiteLLM model that is asked again; empty takes the one that the scope names.")
    verify_judge: str = _verify("llm", "What compares the two answers: `exact`, `embedding` or `llm`.", VERIFY_JUDGES)
    verify_judge_model: str = _verify("", "LiteLLM model of the judge `llm`; empty takes the model that was asked.")
    verify_similarity: float = _verify(0.9, "Cosine from which two answers agree for the judge `embedding`.", (-1, 1))
    verify_budget: float = _verify(0.05, "Share of semantic hits that may be false.", (0.0001, 0.9999))
    verify_ceiling: float = _verify(
        0.99, "Highest threshold that a broken budget raises to; at or below the threshold it only measures.", (0, 1)
    )
    verify_window_seconds: float = _verify(604_800.0, "How long a verified hit counts.", (1, 366 * 86_400))

    concurrency: int = _worker(4, "Threads of a worker.", (1, 1024))
    metrics_port: int = _worker(9464, "Port of a worker's /metrics and /health; 0 takes a free one.", (0, 65_535))
    metrics_host: str = _worker("127.0.0.1", "Address of a worker's /metrics and /health.")
    log_format: str = _worker("text", "How a worker writes its log: lines for people, or JSON objects.", LOG_FORMATS)
    log_level: str = _worker("info", "Least level of Nearhit's own lines in a worker's log.", LOG_LEVELS)

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_namespace(self.namespace)
        for one in fields(self):
            _check(one, getattr(self, one.name))
        if not self.model.strip():
            raise ConfigError("model must name an embedding model, not be empty")
        if self.threshold_floor > self.threshold:
            raise ConfigError(
                f"threshold_floor must be at most the threshold {self.threshold!r}, not {self.threshold_floor!r}"
            )
        self._check_judge()
        self._check_urls()

    def _check_urls(self) -> None:
        for name in ("url", "log_url"):
            if getattr(self, name):
                try:
                    Server(url=getattr(self, name))
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error}") from error
        problem = broker_problem(self.broker_url)
        if problem:
            raise ConfigError(f"broker_url cannot be read: {problem}")

    def _check_judge(self) -> None:
        if not self.judge:
            return
        if not any(self.judge.startswith(one) and self.judge != one for one in JUDGES):
            raise ConfigError(f"judge must be litellm/<model> or onnx:<folder>, not {self.judge!r}")
        if self.judge_deadline_ms > self.deadline_ms:
            raise ConfigError(
                f"judge_deadline_ms must be within deadline_ms={self.deadline_ms}, not {self.judge_deadline_ms}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **changes: Any) -> Settings:
        """Return the settings of the environment: ``NEARHIT_`` and a setting's name in capitals.

        A variable of the process's environment that begins so and is no setting is named in the log.

        The cache server may also come from ``VALKEY_URL``, or ``VALKEY_HOST``, ``VALKEY_PORT`` and
        ``VALKEY_PASSWORD``, or the same with ``REDIS_``; see ``Server.from_env``.

        Args:
            environ: where to read; ``None`` is the process's environment.
            changes: settings that go before the environment.

        Raises:
            ConfigError: a value cannot be read or is out of range, or ``NEARHIT_THRESHOLD`` is missing.
        """
        source = os.environ if environ is None else environ
        for problem in unknown_variables() if source is os.environ else ():
            log.warning(problem, extra={"action": "settings"})
        values: dict[str, Any] = {}
        for one in fields(cls):
            text = source.get(PREFIX + one.name.upper(), "").strip()
            if text and not (one.type == "int" and is_service_link(text)):
                values[one.name] = _read(one, text)
        values.update(changes)
        if "threshold" not in values:
            raise ConfigError("NEARHIT_THRESHOLD is not set: the similarity threshold has no default")
        unknown = set(values) - set(setting_names())
        if unknown:
            raise ConfigError(f"there is no setting {sorted(unknown)[0]!r}")
        return cls(**values)

    @property
    def lowest_threshold(self) -> float:
        """The threshold below which none may be set while processes run."""
        return self.threshold_floor or self.threshold

    def lifetimes(self) -> Lifetimes:
        """Return how long entries live."""
        return Lifetimes(self.ttl_seconds, self.fresh_seconds or None, self.ttl_jitter)

    @property
    def shared_index(self) -> str:
        """The index of LiteLLM's own cache whose layout is used; empty for ours."""
        return self.layout_index if self.layout == "litellm" else ""

    def server(self, environ: Mapping[str, str] | None = None) -> Server:
        """Return the cache server: ``url``, else what ``Server.from_env`` finds."""
        if self.url:
            return Server(url=self.url, **self._limits())
        return Server.from_env(os.environ if environ is None else environ, **self._limits())

    def log_server(self, environ: Mapping[str, str] | None = None) -> Server:
        """Return the server of the fill log: ``log_url``, else the cache server."""
        if self.log_url:
            return Server(url=self.log_url, **self._limits())
        return self.server(environ)

    def _limits(self) -> dict[str, Any]:
        return {
            "connect_timeout_seconds": self.connect_timeout_ms / 1000,
            "max_connections": self.max_connections,
        }


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
}


def _allowed(one: Field[Any]) -> str:
    """Return in words what a setting may be."""
    allowed = one.metadata["allowed"]
    if one.type == "str":
        return f"one of {', '.join(allowed)}" if allowed else "text"
    return _KINDS[str(one.type)][1] + (f" from {allowed[0]} to {allowed[1]}" if allowed else "")


def _check(one: Field[Any], value: Any) -> None:
    kinds, _ = _KINDS[str(one.type)]
    allowed = one.metadata["allowed"]
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if fits and allowed:
        fits = value in allowed if one.type == "str" else allowed[0] <= value <= allowed[1]
    if not fits:
        shown = repr(value) if one.repr else type(value).__name__
        raise ConfigError(f"{one.name} must be {_allowed(one)}, not {shown}")


def setting_names() -> list[str]:
    """Return the names of all settings, in the order of their definition."""
    return [one.name for one in fields(Settings)]


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Return a sentence for each variable that looks like a setting and is none, with the name that is nearest to it.

    >>> unknown_variables({"NEARHIT_TRESHOLD": "0.9", "NEARHIT_URL": "valkey://cache"})
    ['there is no setting NEARHIT_TRESHOLD: did you mean NEARHIT_THRESHOLD?']

    Args:
        environ: where to look; ``None`` is the process's environment.
    """
    known = [name.upper() for name in setting_names()]
    found = []
    for name, value in sorted((os.environ if environ is None else environ).items()):
        foreign = name in _OTHERS or name.startswith(f"{PREFIX}TEST_") or _KUBERNETES.search(name)
        rest = name.removeprefix(PREFIX)
        if rest != name and rest not in known and not foreign and not is_service_link(value):
            near = difflib.get_close_matches(rest, known, n=1)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "nothing reads it"
            found.append(f"there is no setting {name}: {hint}")
    return found


def settings_table() -> str:
    """Return the Markdown tables of all variables, one for each group; the README's are compared with them."""
    rows: list[str] = []
    for group, members in itertools.groupby(fields(Settings), lambda one: str(one.metadata["group"])):
        rows += ["", f"**{group}**", "", "| variable | default | allowed | what it sets |", "|---|---|---|---|"]
        for one in members:
            default = "required" if one.name == "threshold" else f"`{one.default}`" if one.default != "" else ""
            allowed = one.metadata["allowed"]
            shown = ", ".join(f"`{each}`" for each in allowed) if one.type == "str" else " to ".join(map(str, allowed))
            rows.append(f"| `{PREFIX}{one.name.upper()}` | {default} | {shown} | {one.metadata['text']} |")
    return "\n".join(rows[1:])


_TRUTH = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


def _read(one: Field[Any], text: str) -> Any:
    """Return what a variable of the environment says."""
    try:
        if one.type == "str":
            return text.lower() if one.metadata["allowed"] else text
        return _TRUTH[text.lower()] if one.type == "bool" else _KINDS[str(one.type)][0][-1](text)
    except (ValueError, KeyError):
        raise ConfigError(f"{PREFIX}{one.name.upper()} must be {_allowed(one)}, not {text!r}") from None
