"""Scenarios: conversations of ours with a server, each with the outcome that it must have, recorded or live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs
from nearhit_worker.stack import wait_until

from nearhit.domain.entry import Entry, prompt_digest, to_fields
from nearhit.domain.hit_policy import Rules
from nearhit.domain.outcome import Hit, Miss, MissReason, Stored, Tier
from nearhit.domain.question import Question
from nearhit.domain.vectors import to_bytes, unit_rows
from nearhit.embedding import registry
from nearhit.embedding.vector_cache import VectorCache
from nearhit.errors import ConfigError, ContractError, IndexLostError, IndexMismatchError
from nearhit.flow.steps import Flow, ReplyError, Send
from nearhit.index.opening import choose_engine
from nearhit.index.space import Space
from nearhit.index.valkey_search import ValkeySearchEngine
from nearhit.read.lookup import lookup
from nearhit.testing import HashEmbedder
from nearhit.valkey import search_protocol
from nearhit.valkey.key_names import CacheKeys
from nearhit.write.upsert import remove, upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis
    from numpy.typing import NDArray

DIMENSION = 8
EMBEDDER = HashEmbedder(DIMENSION)
KEYS = CacheKeys("recorded", "0123456789ab")
SCOPE, ELSEWHERE = "a" * 32, "b" * 32
LATER_MS = 4_000_000_000_000
USER, PASSWORD = "reader", "secret"
BACKFILLED = 4_000


@dataclass(frozen=True)
class Scenario:
    """A conversation.

    Attributes:
        flow: what is asked; its result or the class of its error is the outcome.
        outcome: what it must be.
        before: what a recording does to the real server first.
        server: ``search`` has the module, ``plain`` has not.
        user: the ACL user who asks; empty for the default one.
    """

    flow: Callable[[], Flow[Any]]
    outcome: Any
    before: Callable[[redis.Redis], object] = lambda _: None
    server: str = "search"
    user: str = ""


def engine(dimension: int = DIMENSION) -> ValkeySearchEngine:
    return ValkeySearchEngine(KEYS, dimension)


def vector(*values: float) -> NDArray[np.float32]:
    row: NDArray[np.float32] = unit_rows([[*values, *[0.0] * (DIMENSION - len(values))]])[0]
    return row


def entry(prompt: str, row: NDArray[np.float32], response: bytes = b'"an answer"', scope: str = SCOPE) -> Entry:
    return Entry(
        scope=scope,
        tenant="",
        prompt=prompt,
        response=response,
        embedding=to_bytes(row),
        embedder=KEYS.embedder,
        created_us=1_700_000_000_000_000,
        fresh_until_ms=LATER_MS,
        expires_ms=LATER_MS,
    )


ENTRIES = (
    entry("near", vector(1, 0.2)),
    entry("nearer", vector(1, 0.1)),
    entry("opposite", vector(-1, 0.5)),
    entry("in another scope", vector(1), scope=ELSEWHERE),
)


def key(one: Entry) -> bytes:
    return KEYS.entry(one.scope, prompt_digest(one.prompt)).encode()


def put(client: redis.Redis, *entries: Entry) -> None:
    """Write entries as plain hashes; recordings are made of what our own commands do, not of this."""
    for one in entries:
        client.hset(key(one), mapping=to_fields(one))  # type: ignore[arg-type]  # bytes are fine


def make(client: redis.Redis, dimension: int = DIMENSION) -> None:
    shape = search_protocol.Shape(KEYS.prefix, dimension)
    client.execute_command(*search_protocol.create_index(engine().index, shape, search_protocol.Hnsw()))


def make_ready(client: redis.Redis, dimension: int = DIMENSION) -> None:
    make(client, dimension)
    wait_until(
        lambda: not search_protocol.parse_info(client.execute_command("FT.INFO", engine().index)).backfilling,
        30,
        "it is ready",
    )


def filled(client: redis.Redis) -> None:
    make_ready(client)
    put(client, *ENTRIES)


def backfilling(client: redis.Redis) -> None:
    rows = np.random.default_rng(1).standard_normal((BACKFILLED, DIMENSION))
    pipeline = client.pipeline(transaction=False)
    for at, row in enumerate(rows):
        pipeline.hset(f"{KEYS.prefix}{at}", mapping={"scope": SCOPE, "embedding": to_bytes(unit_rows([row])[0])})
    pipeline.execute()
    make(client)


def forbidden(client: redis.Redis) -> None:
    filled(client)
    client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all", "-FT.SEARCH", "-FT.INFO")


def with_a_short_vector(client: redis.Redis) -> None:
    filled(client)
    client.hset(f"{KEYS.prefix}bad", "embedding", "x")


def with_another_type(client: redis.Redis) -> None:
    filled(client)
    client.set(key(ENTRIES[3]), "x")


def search(row: NDArray[np.float32], scope: str = SCOPE) -> Callable[[], Flow[Any]]:
    def flow() -> Flow[Any]:
        found = yield from engine().search(scope, row, 4)
        return [(one.key, round(one.similarity, 5), one.fields[b"prompt"]) for one in found]

    return flow


def info() -> Flow[Any]:
    found = yield from engine().info()
    same = found.shape == search_protocol.Shape(KEYS.prefix, DIMENSION)
    return (found.documents, found.vectors, found.indexing_failures, found.backfilling, same)


def info_of_backfill() -> Flow[Any]:
    found = yield from engine().info()
    return (found.backfilling, found.backfill_share < 1, found.vectors < BACKFILLED)


def create_again() -> Flow[Any]:
    shape = search_protocol.Shape(KEYS.prefix, DIMENSION)
    reply = (yield Send((search_protocol.create_index(engine().index, shape, search_protocol.Hnsw()),)))[0]
    return isinstance(reply, ReplyError) and search_protocol.is_existing_index(reply.text)


def drop() -> Flow[Any]:
    replies = yield Send((search_protocol.drop_index(engine().index), search_protocol.drop_index(engine().index)))
    return (replies[0], isinstance(replies[1], ReplyError) and search_protocol.is_missing_index(replies[1].text))


def ask(text: str, scope: str = SCOPE) -> Callable[[], Flow[Any]]:
    def flow() -> Flow[Any]:
        vectors = VectorCache(10)
        for one in ENTRIES:
            vectors.put(one.prompt, np.frombuffer(one.embedding, dtype="<f4"))
        vectors.put("asked", vector(1))
        space = Space(KEYS, DIMENSION, engine(), vectors)
        outcome: Hit | Miss = yield from lookup(Question(text, scope), space, Rules(0.9), {})
        if isinstance(outcome, Hit):
            return (outcome.tier, outcome.answer, outcome.cached_prompt, round(outcome.similarity, 5))
        return outcome.reason

    return flow


def with_a_large_answer(client: redis.Redis) -> None:
    """Leave an entry as it is when its answer is too large for a search record."""
    filled(client)
    client.hset(key(ENTRIES[1]).decode(), mapping={"response": "", "response_large": '"a large answer"'})


def write() -> Flow[Any]:
    first = yield from upsert(ENTRIES[:2], KEYS)
    older = structs.replace(ENTRIES[0], created_us=1_600_000_000_000_000)
    second = yield from upsert([older], KEYS)
    removed = yield from remove([key(one).decode() for one in ENTRIES[:2]], KEYS)
    return (first, second, removed)


def resolve() -> Flow[Any]:
    first = yield from registry.resolve("recorded", EMBEDDER.name)
    second = yield from registry.resolve("recorded", EMBEDDER.name)
    return (first == second, first.dimension, first.verified)


def nearest(*found: tuple[Entry, float]) -> Sequence[Any]:
    return [(key(one), similarity, one.prompt.encode()) for one, similarity in found]


SCENARIOS: dict[str, Scenario] = {
    "make an index": Scenario(lambda: engine().prepare(), True),
    "verify an index": Scenario(lambda: engine().prepare(), False, make),
    "make an index that is there": Scenario(create_again, True, make),
    "drop an index twice": Scenario(drop, (b"OK", True), make),
    "an index of another dimension": Scenario(
        lambda: engine().prepare(), IndexMismatchError, lambda client: make(client, DIMENSION + 1)
    ),
    "no index to describe": Scenario(info, IndexLostError),
    "describe an index": Scenario(info, (4, 4, 0, False, True), filled),
    "describe an index that skipped a vector": Scenario(
        info,
        (5, 4, 1, False, True),
        with_a_short_vector,
    ),
    "describe an index that is being filled": Scenario(info_of_backfill, (True, True, True), backfilling),
    "hits": Scenario(
        search(vector(1)),
        # the cosines of these right triangles: one over the root of 1.01, of 1.04, and minus that of 1.25
        nearest((ENTRIES[1], 0.99504), (ENTRIES[0], 0.98058), (ENTRIES[2], -0.89443)),
        filled,
    ),
    "no hits": Scenario(search(vector(1), "c" * 32), [], filled),
    "no index to search": Scenario(search(vector(1)), IndexLostError),
    "a question of another dimension": Scenario(search(unit_rows([[1.0] * 5])[0]), ContractError, filled),
    "searching is not allowed": Scenario(search(vector(1)), ConfigError, forbidden, user=USER),
    "describing is not allowed": Scenario(lambda: engine().prepare(), ConfigError, forbidden, user=USER),
    "a server with the module": Scenario(choose_engine, "valkey-search"),
    "a server without the module": Scenario(choose_engine, "local", server="plain"),
    "search without the module": Scenario(search(vector(1)), ConfigError, server="plain"),
    "make an index without the module": Scenario(lambda: engine().prepare(), ConfigError, server="plain"),
    "an exact hit": Scenario(ask("near"), (Tier.EXACT, "an answer", "near", 1.0), filled),
    "a semantic hit": Scenario(ask("asked"), (Tier.SEMANTIC, "an answer", "nearer", 0.99504), filled),
    "a miss": Scenario(ask("asked", "c" * 32), MissReason.EMPTY, filled),
    "a lost index": Scenario(ask("asked"), MissReason.INDEX_LOST),
    "a key of another type": Scenario(ask("in another scope", ELSEWHERE), MissReason.UNAVAILABLE, with_another_type),
    "a lookup that may not search": Scenario(ask("asked"), MissReason.MISCONFIGURED, forbidden, user=USER),
    "a lookup without the module": Scenario(ask("asked"), MissReason.MISCONFIGURED, server="plain"),
    "a large answer": Scenario(ask("asked"), (Tier.SEMANTIC, "a large answer", "nearer", 0.99504), with_a_large_answer),
    "a large answer, exact": Scenario(
        ask("nearer"), (Tier.EXACT, "a large answer", "nearer", 1.0), with_a_large_answer
    ),
    "write and remove": Scenario(write, ([Stored.STORED, Stored.STORED], [Stored.STALE], 2), make),
    "register an embedder": Scenario(resolve, (True, DIMENSION, True)),
}
