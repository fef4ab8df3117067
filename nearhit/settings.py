"""Settings: the only module that reads the environment."""

from __future__ import annotations

import os
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, get_type_hints

from nearhit.domain.hit_policy import Lifetimes, check_threshold
from nearhit.errors import ConfigError
from nearhit.valkey.durability import DURABILITIES
from nearhit.valkey.key_names import check_namespace
from nearhit.valkey.server import Server
from nearhit.valkey.server_url import broker_problem

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGINES = ("auto", "valkey-search", "local")
LAYOUTS = ("nearhit", "litellm")
JUDGES = ("litellm/", "onnx:")
ON_FAILURE = ("refuse", "accept")
VERIFY_JUDGES = ("exact", "embedding", "llm")
PREFIX = "NEARHIT_"


def _setting(default: Any, text: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, checked when it is made. Times carry their unit in their name.

    ``threshold`` alone has no default: which similarity means the same question depends on the embedding model and on
    what a wrong answer costs.
    """

    threshold: float = field(metadata={"text": "Smallest cosine similarity of a semantic hit, above 0 and at most 1."})
    threshold_floor: float = _setting(
        0.0, "Lowest threshold that may be set while processes run; 0 is `threshold`: it can only be raised."
    )
    url: str = _setting("", "Cache server: `valkey://`, `valkeys://`, `redis://`, `rediss://`, `unix://`.", secret=True)
    log_url: str = _setting(
        "", "Server of the fill log (AOF, `noeviction`); empty takes the cache server.", secret=True
    )
    broker_url: str = _setting(
        "", "Celery broker: a Valkey server, written as above, or `amqp://`; empty takes the log's server.", secret=True
    )
    namespace: str = _setting("default", "Keeps caches apart that share a server.")
    engine: str = _setting("auto", "`valkey-search`, `local`, or `auto`: asks the server which one it can do.")
    layout: str = _setting("nearhit", "`litellm` shares entries with LiteLLM's own `valkey-semantic` cache.")
    layout_index: str = _setting("litellm_semantic_cache_index", "Index that `layout=litellm` shares.")
    model: str = _setting("local/minilm", "Embedding model: `local/minilm`, `hash/384`, or any LiteLLM model string.")
    guard: bool = _setting(True, "Refuse near texts that mean something else.")
    judge: str = _setting(
        "", "Second stage, asked about what the guard accepted: `litellm/<model>` or `onnx:<folder>`; empty asks none."
    )
    judge_below: float = _setting(
        1.0, "Only a neighbour to which the guard gives a smaller chance of a right answer is judged; 1 judges all."
    )
    judge_level: float = _setting(0.5, "Smallest probability with which the judge's `same` counts.")
    judge_deadline_ms: int = _setting(150, "Longest time of all judging in a lookup, within `NEARHIT_DEADLINE_MS`.")
    judge_on_failure: str = _setting("refuse", "When the judge fails: `refuse` the neighbour, or `accept` it.")
    neighbours: int = _setting(4, "Neighbours looked at before a lookup is a miss.")
    deadline_ms: int = _setting(250, "Longest time of a lookup; then it is a miss.")
    enqueue_deadline_ms: int = _setting(50, "Longest time that `fill` holds its caller.")
    embed_timeout_ms: int = _setting(10_000, "Longest time of an embedding call in a worker.")
    durability: str = _setting(
        "write", "What `accepted` says of a fill: `write`: the log's server has it; `fsync`: its disk has it."
    )
    connect_timeout_ms: int = _setting(1_000, "Longest time of a connect.")
    max_connections: int = _setting(
        64,
        "Connections of a process at most, to the cache server and to the log's; further threads wait for a free one. "
        "Each takes 17 KB of the server and one of its `maxclients`.",
    )
    ttl_seconds: float = _setting(86_400.0, "Hard time to live of an entry.")
    fresh_seconds: float = _setting(0.0, "Soft time to live: a later hit is served and asked again; 0 is the hard one.")
    ttl_jitter: float = _setting(0.1, "Share of the time to live that is taken off at random.")
    hnsw_m: int = _setting(16, "HNSW links of a node.")
    hnsw_ef_construction: int = _setting(200, "HNSW candidates while inserting.")
    hnsw_ef_runtime: int = _setting(40, "HNSW candidates while searching.")
    vector_cache_entries: int = _setting(4_096, "Vectors of recent texts kept in the process.")
    local_max_entries: int = _setting(100_000, "Entries that the local engine holds.")
    single_flight_ms: int = _setting(
        30_000, "Longest wait of `get_or_create` for another process that asks the same; 0 asks at once."
    )
    verify_share: float = _setting(0.0, "Share of semantic hits that are verified in the background; 0 is none.")
    verify_model: str = _setting("", "LiteLLM model that is asked again; empty takes the one that the scope names.")
    verify_judge: str = _setting("llm", "What compares the two answers: `exact`, `embedding` or `llm`.")
    verify_judge_model: str = _setting("", "LiteLLM model of the judge `llm`; empty takes the model that was asked.")
    verify_similarity: float = _setting(0.9, "Cosine from which two answers agree for the judge `embedding`.")
    verify_budget: float = _setting(0.05, "Share of semantic hits that may be false.")
    verify_ceiling: float = _setting(
        0.99, "Highest threshold that a broken budget raises to; at or below the threshold it only measures."
    )
    verify_window_seconds: float = _setting(604_800.0, "How long a verified hit counts.")
    spool_max_fills: int = _setting(10_000, "Fills kept in memory while the log's server is down.")
    batch_max_fills: int = _setting(64, "Fills gathered into one embedding call and one upsert.")
    batch_wait_ms: int = _setting(20, "Longest time that a fill waits for others to join its batch.")
    poll_seconds: float = _setting(1.0, "How often a worker looks at the log without being woken.")
    claim_idle_ms: int = _setting(15_000, "After how long the fills of a silent worker are taken over.")
    max_tries: int = _setting(100, "Tries of a fill, with growing waits, before it goes to the dead-letter log.")
    max_deliveries: int = _setting(5, "Workers that may fall silent over a fill before it goes to the dead-letter log.")
    retry_ceiling_seconds: float = _setting(60.0, "Longest wait before a fill is tried again.")
    concurrency: int = _setting(4, "Threads of a worker.")
    metrics_port: int = _setting(9464, "Port of a worker's /metrics and /health; 0 takes a free one.")
    metrics_host: str = _setting("127.0.0.1", "Address of a worker's /metrics and /health.")

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        check_namespace(self.namespace)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for one in fields(self):
            _check_kind(one, getattr(self, one.name))
        if not self.model.strip():
            raise ConfigError("model must name an embedding model, not be empty")
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"{name} must be {least} to {most}, not {value!r}")
        _check_floor(self.threshold_floor, self.threshold)
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

        The cache server may also come from ``VALKEY_URL``, or ``VALKEY_HOST``, ``VALKEY_PORT`` and
        ``VALKEY_PASSWORD``, or the same with ``REDIS_``; see ``Server.from_env``.

        Args:
            environ: where to read; ``None`` is the process's environment.
            changes: settings that go before the environment.

        Raises:
            ConfigError: a value cannot be read or is out of range, or ``NEARHIT_THRESHOLD`` is missing.
        """
        source = os.environ if environ is None else environ
        kinds = get_type_hints(cls)
        values: dict[str, Any] = {}
        for name in setting_names():
            text = source.get(PREFIX + name.upper())
            if text is not None and text.strip():
                values[name] = _read(PREFIX + name.upper(), text.strip(), kinds[name])
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


_CHOICES = {
    "engine": ENGINES,
    "layout": LAYOUTS,
    "judge_on_failure": ON_FAILURE,
    "verify_judge": VERIFY_JUDGES,
    "durability": DURABILITIES,
}

_RANGES: dict[str, tuple[float, float]] = {
    "threshold_floor": (0, 1),
    "judge_below": (0, 1),
    "judge_level": (0, 1),
    "judge_deadline_ms": (1, 60_000),
    "neighbours": (1, 100),
    "deadline_ms": (1, 60_000),
    "enqueue_deadline_ms": (1, 60_000),
    "embed_timeout_ms": (1, 600_000),
    "connect_timeout_ms": (1, 60_000),
    "max_connections": (1, 10_000),
    "ttl_seconds": (0.001, 366 * 86_400),
    "fresh_seconds": (0, 366 * 86_400),
    "ttl_jitter": (0, 0.99),
    "hnsw_m": (2, 512),
    "hnsw_ef_construction": (1, 4096),
    "hnsw_ef_runtime": (1, 4096),
    "vector_cache_entries": (0, 10_000_000),
    "local_max_entries": (1, 100_000_000),
    "single_flight_ms": (0, 600_000),
    "spool_max_fills": (0, 10_000_000),
    "verify_share": (0, 1),
    "verify_similarity": (-1, 1),
    "verify_budget": (0.0001, 0.9999),
    "verify_ceiling": (0, 1),
    "verify_window_seconds": (1, 366 * 86_400),
    "batch_max_fills": (1, 4096),
    "batch_wait_ms": (0, 10_000),
    "poll_seconds": (0.01, 3600),
    "claim_idle_ms": (100, 3_600_000),
    "max_tries": (1, 1_000_000),
    "max_deliveries": (1, 1000),
    "retry_ceiling_seconds": (0.01, 86_400),
    "concurrency": (1, 1024),
    "metrics_port": (0, 65_535),
}


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "float": ((int, float), "a number"),
    "int": ((int,), "a whole number"),
    "str": ((str,), "text"),
    "bool": ((bool,), "True or False"),
}


def _check_kind(one: Field[Any], value: Any) -> None:
    kinds, wanted = _KINDS[str(one.type)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        shown = repr(value) if one.repr else type(value).__name__
        raise ConfigError(f"{one.name} must be {wanted}, not {shown}")


def _check_floor(floor: float, threshold: float) -> None:
    if floor > threshold:
        raise ConfigError(f"threshold_floor must be at most the threshold {threshold!r}, not {floor!r}")


def setting_names() -> list[str]:
    """Return the names of all settings, in the order of their definition."""
    return [one.name for one in fields(Settings)]


def settings_table() -> str:
    """Return the Markdown table of all variables; the README's is compared with it."""
    rows = ["| variable | default | what it sets |", "|---|---|---|"]
    for one in fields(Settings):
        default = "required" if one.name == "threshold" else f"`{one.default}`" if one.default != "" else ""
        rows.append(f"| `{PREFIX}{one.name.upper()}` | {default} | {one.metadata['text']} |")
    return "\n".join(rows)


def _read(variable: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() in {"1", "true", "yes", "on"}:
            return True
        if text.lower() in {"0", "false", "no", "off"}:
            return False
        raise ConfigError(f"{variable} must be true or false, not {text!r}")
    try:
        return kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise ConfigError(f"{variable} must be {wanted}, not {text!r}") from None
