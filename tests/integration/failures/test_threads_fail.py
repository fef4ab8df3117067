"""A process that gets no threads, and loops that end too early: the cache opens once it can, and nothing is raised."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import AsyncSemanticCache, FillOutcome, Hit, MissReason
from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.errors import EmbedderUnavailableError
from nearhit.testing import HashEmbedder
from nearhit.valkey.key_names import LogKeys
from tests.support.failures import count, reason
from tests.support.store import Store
from tests.support.threads import no_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from nearhit import Settings
    from tests.support.faces import Face


def test_a_cache_that_gets_no_thread_opens_when_there_is_one(own_face: Callable[..., Face]) -> None:
    face = own_face()
    with no_threads():
        assert {reason(face.lookup("What is it?")) for _ in range(3)} == {MissReason.WARMING}
        assert "thread" in face.lookup("What is it?").detail  # type: ignore[union-attr]
        assert not face.warm_up(0.1)
    assert count(face, "nearhit_errors_total", stage="open", kind="UnavailableError") == 1
    assert face.warm_up()
    assert reason(face.lookup("What is it?")) in {MissReason.EMPTY, MissReason.BELOW_THRESHOLD}


def test_a_cache_that_never_got_a_thread_closes(own_face: Callable[..., Face]) -> None:
    face = own_face(verify_share=1.0)
    with no_threads():
        face.lookup("What is it?")
        face.close_cache()
        assert reason(face.lookup("What is it?")) is MissReason.CLOSED


def test_an_open_cache_answers_without_a_thread(
    own_face: Callable[..., Face], own_settings: Callable[..., Settings], own_server: ValkeyServer
) -> None:
    """Refreshing and verifying want threads of their own, and get them later."""
    face = own_face(verify_share=1.0, verify_model="openai/stub", vector_cache_entries=0)
    assert face.warm_up()
    store = Store(own_settings())
    store.add("what is it good for today", "much", refresh=b"{}", fresh_until_ms=1)
    store.close()
    asked = "what was it good for today"
    wait_until(lambda: isinstance(face.lookup("What is it good for today"), Hit), 10, "the entry is found")
    keys = LogKeys(face.metrics.namespace)
    with no_threads():
        for _ in range(3):
            assert isinstance(face.lookup(asked), Hit)
            assert isinstance(face.lookup("what is it good for today"), Hit)
    assert isinstance(face.lookup(asked), Hit)
    with own_server.client() as client:
        wait_until(lambda: bool(client.xlen(keys.log("refresh"))), 10, "the refresh is asked for")
        wait_until(lambda: bool(client.xlen(keys.log("verify"))), 10, "the hit is to be verified")


def test_an_embedder_that_gets_no_thread_is_unavailable() -> None:
    embedder = DeadlineEmbedder(HashEmbedder(8))
    with no_threads(), pytest.raises(EmbedderUnavailableError, match="no thread"):
        embedder.embed(["a text"], 1.0)
    assert embedder.embed(["a text"], 1.0).vectors.shape == (1, 8)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "standing still"])
def test_a_loop_that_ends_while_it_opens_the_cache_leaves_it_to_the_next(own_settings: Any, closed: bool) -> None:
    cache = AsyncSemanticCache(own_settings())
    first = asyncio.new_event_loop()

    async def begin() -> None:
        asking = asyncio.ensure_future(cache.lookup("What is it?"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not asking.done()

    first.run_until_complete(begin())  # unlike asyncio.run this cancels nothing
    if closed:
        first.close()

    async def scene() -> bool:
        opened = await cache.warm_up(20)
        if closed:
            await cache.close()
        return opened

    assert asyncio.run(scene())
    if not closed:  # what the first loop goes on to open is not taken, and leaves no thread behind
        space = cache._readiness.space  # noqa: SLF001 - which of the two openings counts

        async def end() -> None:
            await asyncio.sleep(0.5)
            await cache.close()

        first.run_until_complete(end())
        assert cache._readiness.space is space  # noqa: SLF001 - the same
        first.run_until_complete(first.shutdown_default_executor())
        first.close()
    gc.collect()


def asked_for(face: Face) -> Any:
    async def create() -> str:
        return "little"

    return face.run(face.cache.get_or_create("What was it?", create if face.kind == "asyncio" else lambda: "little"))


def test_a_fill_that_gets_no_thread_waits_and_is_sent_with_the_next_one(
    own_face: Callable[..., Face], own_server: ValkeyServer
) -> None:
    face = own_face()
    assert face.warm_up()
    own_server.stop()
    with no_threads():
        assert face.fill("What is it?", "much") is FillOutcome.SPOOLED
        assert asked_for(face) == "little"
    own_server.start()
    wait_until(lambda: face.fill("What will it be?", "more") is FillOutcome.ACCEPTED, 20, "the log takes fills again")
    keys = LogKeys(face.metrics.namespace)
    wait_until(lambda: own_server.client().xlen(keys.log("interactive")) >= 3, 10, "no fill was lost")
    face.close_cache()


def test_single_flight_without_a_thread_asks_by_itself_and_closes(own_face: Callable[..., Face]) -> None:
    face = own_face()
    assert face.warm_up()
    with no_threads():
        assert asked_for(face) == "little"
        face.close_cache()
