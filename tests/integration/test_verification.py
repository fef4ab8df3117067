"""Shadow verification with real parts: hits are drawn, asked again, judged, counted once, and act on the threshold."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from nearhit_worker.runtime import Runtime
from nearhit_worker.stack import ValkeyServer, wait_until

from nearhit import Hit, Metrics, Settings, Thresholds, Tier
from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.valkey.key_names import LogKeys
from nearhit.verification import samples
from nearhit.verification.request import decode
from nearhit.verification.samples import FALSE_HIT, TRUE_HIT, UNJUDGED, Sample
from nearhit.verification.verifier import ASK_SECONDS, MAX_TRIES
from nearhit.verification.watch import watch_of
from nearhit.write.refresher import ask_model
from tests.support.judging_server import JudgingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

    from tests.support.faces import Face
    from tests.support.store import Store

CACHED = "how do i reset my password please"
ASKED = "how can i reset my password please"
"""0.87 from the cached one for hash/64."""
ANSWER = "Use the link on the sign-in page."


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgingServer]:
    """A provider on loopback, where LiteLLM finds it by the provider's own variables."""
    with JudgingServer() as one:
        monkeypatch.setenv("OPENAI_API_BASE", one.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        # litellm makes its client at the first call: threads that make it at once leave all but one to the collector,
        # and the main thread would get an event loop that nobody closes
        with ThreadPoolExecutor(1) as thread:
            recipe = {"model": "openai/stub", "messages": [{"role": "user", "content": "?"}]}
            thread.submit(ask_model, recipe, True, ASK_SECONDS).result()
        one.asked.clear()
        yield one


def drawing(settings: Callable[..., Settings], **changes: Any) -> Settings:
    """Return settings that draw every semantic hit."""
    given = {"verify_share": 1.0, "verify_model": "openai/stub", "verify_judge": "exact", **changes}
    return settings(**given, retry_ceiling_seconds=0.01)


def seen(runtime: Runtime) -> list[Sample]:
    found: list[Sample] = runtime.log.run(samples.everything(runtime.keys), 5.0)
    return found


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"nearhit_{name}", {"namespace": metrics.namespace, **labels}) or 0.0


def drained(runtime: Runtime, client: redis.Redis) -> None:
    def empty() -> bool:
        runtime.tick("verify")
        return not client.xlen(runtime.keys.log("verify")) + client.zcard(runtime.keys.retry("verify"))

    wait_until(empty, 40, "the verify log is empty")


def hit(face: Face, prompt: str = ASKED, scope: Any = None) -> Hit:
    wait_until(lambda: bool(face.lookup(prompt, scope)), 10, "the entry is found")
    found = face.lookup(prompt, scope)
    assert isinstance(found, Hit)
    return found


@pytest.mark.parametrize(("said", "verdict"), [(ANSWER, TRUE_HIT), ("Ask your administrator.", FALSE_HIT)])
def test_a_hit_is_asked_again_and_counted(
    face: Callable[..., Face],
    store: Callable[..., Store],
    settings: Callable[..., Settings],
    client: redis.Redis,
    model: JudgingServer,
    said: str,
    verdict: str,
) -> None:
    model.text = said
    scope = {"tenant": "acme", "model": "ignored", "system": "Be kind.", "temperature": 0}
    store().add(CACHED, ANSWER, scope=scope)
    made = drawing(settings)
    one = face(verify_share=1.0, verify_model="openai/stub")
    assert one.warm_up()
    found = hit(one, scope=scope)
    wait_until(lambda: counted(one.metrics, "verify_requests_total", outcome="sent") >= 1, 10, "it is sent")
    runtime = Runtime(made, Metrics(namespace=made.namespace))
    drained(runtime, client)
    first = seen(runtime)[0]
    assert (first.verdict, first.threshold, first.origin) == (verdict, 0.8, "settings")
    assert abs(first.similarity - found.similarity) < 1e-5
    assert first.scope == scope_digest(Scope.of(scope))
    path, body = model.asked[0]
    assert path.endswith("/chat/completions")
    assert body["messages"] == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": ASKED}]
    assert (body["model"], body["temperature"]) == ("stub", 0)
    assert counted(runtime.metrics, "verifications_total", verdict=verdict) == len(seen(runtime))
    assert client.pttl(runtime.keys.verified) > 0
    runtime.close()


def test_nothing_is_drawn_unless_it_is_turned_on_nor_of_exact_hits(
    face: Callable[..., Face], store: Callable[..., Store], client: redis.Redis, namespace: str
) -> None:
    store().add(CACHED, ANSWER)
    off, on = face(), face(verify_share=1.0, verify_model="openai/stub")
    assert off.warm_up()
    assert on.warm_up()
    assert hit(off).tier is Tier.SEMANTIC
    wait_until(lambda: bool(on.lookup(CACHED)) and hit(on, CACHED).tier is Tier.EXACT, 10, "the exact tier answers")
    assert not on.lookup("something else altogether")
    many = on.run(on.cache.lookup_many([CACHED, ASKED, "something else altogether"]))
    assert [bool(outcome) for outcome in many] == [True, True, False]
    log = LogKeys(namespace).log("verify")
    wait_until(lambda: client.xlen(log) == 1, 10, "the one semantic hit of the batch is sent")
    rows: Any = client.xrange(log)
    request = decode(rows[0][1][b"m"])
    assert (request.question, request.cached_question, request.cached_answer) == (ASKED, CACHED, f'"{ANSWER}"'.encode())
    client.delete(log)


def test_a_share_of_the_hits_is_drawn(
    face: Callable[..., Face], store: Callable[..., Store], client: redis.Redis, namespace: str
) -> None:
    store().add(CACHED, ANSWER)
    one = face(verify_share=0.3, verify_model="openai/stub")
    assert one.warm_up()
    hit(one)
    for _ in range(200):
        one.lookup(ASKED)
    one.close()
    log = LogKeys(namespace).log("verify")
    drawn = client.xlen(log) + counted(one.metrics, "verify_requests_total", outcome="dropped")
    assert 25 <= drawn <= 100  # 60 expected; outside of this once in a million
    client.delete(log)


def test_what_cannot_be_asked_again_or_sent_is_counted_and_harms_no_lookup(
    face: Callable[..., Face], store: Callable[..., Store], tmp_path: Path
) -> None:
    here = store()
    here.add(CACHED, ANSWER)
    here.add(CACHED, ANSWER, scope={"model": "openai/stub"})
    with ValkeyServer(tmp_path / "log", durable=True) as log:
        one = face(log_url=log.url, verify_share=1.0)
        assert one.warm_up()
        hit(one)  # neither the settings nor the scope name a model
        wait_until(lambda: counted(one.metrics, "verify_requests_total", outcome="unaskable") >= 1, 10, "it is said")
    started = time.monotonic()
    for _ in range(300):
        assert one.lookup(ASKED, {"model": "openai/stub"})
    assert time.monotonic() - started < 20
    wait_until(lambda: counted(one.metrics, "verify_requests_total", outcome="dropped") > 100, 30, "they are counted")


@pytest.mark.parametrize(
    ("status", "reason", "asked"), [(500, "unavailable", MAX_TRIES), (429, "unavailable", MAX_TRIES), (401, "", 1)]
)
def test_a_model_that_does_not_answer_leaves_the_hit_unjudged(
    store: Callable[..., Store],
    settings: Callable[..., Settings],
    plain_server: ValkeyServer,
    model: JudgingServer,
    face: Callable[..., Face],
    status: int,
    reason: str,
    asked: int,
) -> None:
    store().add(CACHED, ANSWER)
    made = drawing(settings)
    one = face(verify_share=1.0, verify_model="openai/stub")
    assert one.warm_up()
    many = one.run(one.cache.lookup_many([ASKED]))
    wait_until(lambda: bool(many[0]) or bool(hit(one)), 10, "a hit")
    one.close()
    model.status = status
    runtime = Runtime(made, Metrics(namespace=made.namespace))
    with made.log_server().single_client() as client:
        waiting = client.xlen(runtime.keys.log("verify"))
        drained(runtime, client)
        assert client.xlen(runtime.keys.dead) == 0
    assert [sample.verdict for sample in seen(runtime)] == [UNJUDGED] * waiting
    assert len(model.asked) == asked * waiting
    verdict = f"unjudged_{reason or 'misconfigured'}"
    assert counted(runtime.metrics, "verifications_total", verdict=verdict) == waiting
    runtime.close()


@pytest.mark.parametrize(
    ("judge", "said", "verdict", "expected"),
    [
        ("llm", "Click the sign-in page's link.", "SAME", TRUE_HIT),
        ("llm", "Write a letter.", "DIFFERENT", FALSE_HIT),
        ("llm", "Write a letter.", "I cannot say", UNJUDGED),
        ("embedding", "Use the link on our sign-in page.", "", TRUE_HIT),
        ("embedding", "Write a letter.", "", FALSE_HIT),
    ],
)
def test_every_judge_compares_the_answers(
    settings: Callable[..., Settings],
    plain_server: ValkeyServer,
    namespace: str,
    model: JudgingServer,
    judge: str,
    said: str,
    verdict: str,
    expected: str,
) -> None:
    made = Settings(
        threshold=0.8,
        url=plain_server.url,
        namespace=namespace,
        model="hash/64",
        verify_judge=judge,
        verify_similarity=0.7,
    )
    model.text, model.verdict = said, verdict
    runtime = Runtime(made, Metrics(namespace=namespace))
    with plain_server.client() as client:
        client.xadd(runtime.keys.log("verify"), {"m": a_request(), "n": 0, "q": 1})
        drained(runtime, client)
        assert [sample.verdict for sample in seen(runtime)] == [expected]
        assert len(model.asked) == (2 if judge == "llm" else 1)
        client.delete(runtime.keys.verified)
    runtime.close()


def a_request() -> bytes:
    from nearhit.verification.request import VerificationRequest, encode

    recipe = {"model": "openai/stub", "messages": [{"role": "user", "content": ASKED}]}
    return encode(
        VerificationRequest(
            recipe=recipe,
            question=ASKED,
            cached_question=CACHED,
            cached_answer=f'"{ANSWER}"'.encode(),
            similarity=0.87,
            threshold=0.8,
            origin="settings",
            since_ms=0,
            scope="a" * 32,
        )
    )


def test_garbage_in_the_verify_log_is_counted_and_gone(plain_server: ValkeyServer, namespace: str) -> None:
    made = Settings(threshold=0.8, url=plain_server.url, namespace=namespace, model="hash/64")
    runtime = Runtime(made, Metrics(namespace=namespace))
    with plain_server.client() as client:
        client.xadd(runtime.keys.log("verify"), {"m": b"\xff", "n": 0, "q": 1})
        drained(runtime, client)
        assert seen(runtime) == []
    assert counted(runtime.metrics, "verifications_total", verdict="unjudged_unreadable") == 1
    runtime.close()


# What every worker makes of the samples.


def add(client: redis.Redis, made: Settings, count: int, sample: Sample) -> None:
    for _ in range(count):
        client.execute_command("XADD", LogKeys(made.namespace).verified, "*", *samples.fields_of(sample))
    client.pexpire(LogKeys(made.namespace).verified, 60_000)


def watching(made: Settings) -> Runtime:
    return Runtime(made, Metrics(namespace=made.namespace))


@pytest.fixture
def made(plain_server: ValkeyServer, namespace: str) -> Settings:
    return Settings(threshold=0.8, url=plain_server.url, namespace=namespace, model="hash/64")


def test_a_broken_budget_raises_the_threshold_once_and_is_measured_anew(
    made: Settings, plain_server: ValkeyServer
) -> None:
    workers = [watching(made), watching(made)]
    with plain_server.client() as client, Thresholds(made) as thresholds:
        add(client, made, 90, Sample(TRUE_HIT, 0.9, 0.8, "settings", 0))
        for one in workers:
            one.measure()
        assert counted(workers[0].metrics, "verified_hits", verdict=TRUE_HIT) == 90
        assert counted(workers[0].metrics, "false_hit_ratio", bound="measured") == 0
        add(client, made, 40, Sample(FALSE_HIT, 0.84, 0.8, "settings", 0))
        for one in workers:
            one.measure()
        entry = thresholds.in_force()
        assert (entry.threshold, entry.who, entry.was) == (0.845, "verification", 0.8)
        assert entry.why.startswith("40 false of 130 verified hits at 0.8, at least ")
        assert sum(counted(one.metrics, "threshold_raises_total") for one in workers) == 1
        assert counted(workers[0].metrics, "false_hit_ratio", bound="low") > made.verify_budget
        for one in workers:  # the same samples raise nothing again
            one.measure()
            one.measure()
        assert thresholds.in_force() == entry
        assert counted(workers[0].metrics, "verified_hits", verdict=FALSE_HIT) == 0
        add(client, made, 30, Sample(FALSE_HIT, 0.9, entry.threshold, "*", entry.when_ms))
        workers[1].measure()
        again = thresholds.in_force()
        assert (again.threshold, again.was) == (0.905, 0.845)
        assert thresholds.unset()  # somebody takes it back: what has raised it does not raise it again
        for one in workers:
            one.measure()
        assert thresholds.entries() == []
        add(client, made, 30, Sample(FALSE_HIT, 0.83, 0.8, "settings", 0))
        workers[0].measure()
        assert thresholds.in_force().threshold == 0.835
        thresholds.unset()
        client.delete(LogKeys(made.namespace).verified)
    for one in workers:
        one.close()


def test_a_tenants_own_threshold_is_raised_alone(made: Settings, plain_server: ValkeyServer) -> None:
    worker = watching(made)
    field = f"tenant:{tenant_digest('acme')}"
    with plain_server.client() as client, Thresholds(made) as thresholds:
        entry = thresholds.set(0.85, tenant="acme")
        add(client, made, 60, Sample(TRUE_HIT, 0.9, 0.8, "settings", 0))
        add(client, made, 30, Sample(FALSE_HIT, 0.9, 0.85, field, entry.when_ms))
        worker.measure()
        assert {one.field: one.threshold for one in thresholds.entries()} == {field: 0.905}
        assert thresholds.entries()[0].about == "tenant acme"
        thresholds.unset(tenant="acme")
    worker.close()


def test_a_ceiling_at_the_threshold_only_measures(plain_server: ValkeyServer, namespace: str) -> None:
    made = Settings(threshold=0.8, url=plain_server.url, namespace=namespace, model="hash/64", verify_ceiling=0.8)
    worker = watching(made)
    with plain_server.client() as client, Thresholds(made) as thresholds:
        add(client, made, 50, Sample(FALSE_HIT, 0.9, 0.8, "settings", 0))
        worker.measure()
        worker.measure()
        assert thresholds.entries() == []
        assert counted(worker.metrics, "false_hit_ratio", bound="low") > 0.8
        assert counted(worker.metrics, "threshold_raises_total") == 0
    worker.close()


def test_samples_age_out_and_are_forgotten_with_their_stream(plain_server: ValkeyServer, namespace: str) -> None:
    made = Settings(threshold=0.8, url=plain_server.url, namespace=namespace, model="hash/64", verify_ceiling=0.8)
    worker = watching(made)
    name = LogKeys(namespace).verified
    with plain_server.client() as client:
        old = int(time.time() * 1000 - made.verify_window_seconds * 1000 - 5_000)
        client.execute_command("XADD", name, f"{old}-1", *samples.fields_of(Sample(FALSE_HIT, 0.9, 0.8, "settings", 0)))
        client.xadd(name, {"v": "true_hit", "s": "garbage"})
        add(client, made, 3, Sample(TRUE_HIT, 0.9, 0.8, "settings", 0))
        worker.measure()
        hits = {verdict: counted(worker.metrics, "verified_hits", verdict=verdict) for verdict in samples.VERDICTS}
        assert hits == {TRUE_HIT: 3, FALSE_HIT: 0, UNJUDGED: 0}
        client.delete(name)
        worker.measure()
        assert counted(worker.metrics, "verified_hits", verdict=TRUE_HIT) == 0
        assert worker.metrics.registry.get_sample_value(
            "nearhit_false_hit_ratio", {"namespace": namespace, "bound": "low"}
        ) != pytest.approx(0)
    worker.close()


def test_more_samples_than_a_page_are_all_seen(made: Settings, plain_server: ValkeyServer) -> None:
    metrics = Metrics(namespace=made.namespace)
    runtime = watching(made)
    watch = watch_of(runtime.log, runtime.keys, metrics, made)
    with plain_server.client() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(samples.PAGE + 500):
            pipe.execute_command(
                "XADD", runtime.keys.verified, "*", *samples.fields_of(Sample(TRUE_HIT, 0.9, 0.8, "settings", 0))
            )
        pipe.execute()
        client.pexpire(runtime.keys.verified, 60_000)
        watch.look()
        assert counted(metrics, "verified_hits", verdict=TRUE_HIT) == samples.PAGE + 500
        assert len(seen(runtime)) == samples.PAGE + 500
    runtime.close()
