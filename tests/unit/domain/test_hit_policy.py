"""The decisions of a lookup: what is never served, whatever the server said."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nearhit.domain.hit_policy import (
    MAX_TTL_SECONDS,
    Lifetimes,
    Refused,
    Rules,
    Undecided,
    check_threshold,
    choose,
    judge_exact,
    settle,
)
from nearhit.domain.neighbour import Chosen, Neighbour
from nearhit.domain.outcome import MissReason, Tier
from nearhit.domain.question import Question
from nearhit.domain.sight import Sight
from nearhit.errors import ConfigError

NOW_MS = 1_700_000_000_000
SCOPE, EMBEDDER = "a" * 32, "0123456789ab"
ASKED = Question("what is it", SCOPE)


@dataclass(frozen=True)
class Said:
    accepted: bool
    reason: str | None = None


class Guard:
    """Refuses every text with the word 'bad' in it."""

    def judge(self, prompt: str, candidate: str, similarity: float) -> Said:
        return Said(accepted=False, reason="numbers") if "bad" in candidate else Said(accepted=True)


def fields(prompt: str = "what is that", **changes: str) -> dict[bytes, bytes]:
    values = {
        "scope": SCOPE,
        "prompt": prompt,
        "response": json.dumps(prompt),
        "embedder": EMBEDDER,
        "created": str(NOW_MS * 1000),
        "fresh_until": str(NOW_MS + 1),
        "expires": str(NOW_MS + 1),
        **changes,
    }
    return {name.encode(): value.encode() for name, value in values.items()}


def near(similarity: float, prompt: str = "what is that", **changes: str) -> Neighbour:
    return Neighbour(b"key", similarity, fields(prompt, **changes))


NEIGHBOURS = st.builds(
    near,
    st.floats(-1.5, 1.5) | st.floats(0.7, 1.0) | st.just(float("nan")),
    st.sampled_from(["what is that", "what is bad", "what is it"]),
    scope=st.sampled_from([SCOPE, SCOPE, "b" * 32]),
    embedder=st.sampled_from([EMBEDDER, EMBEDDER, "ba9876543210"]),
    expires=st.sampled_from([str(NOW_MS + 1), str(NOW_MS), "0", "soon"]),
)


@given(st.lists(NEIGHBOURS, max_size=6), st.sampled_from([0.7, 0.85, 1.0]))
def test_only_a_neighbour_that_holds_every_rule_is_ever_served(found: list[Neighbour], threshold: float) -> None:
    choice = choose(found, ASKED, EMBEDDER, Rules(threshold, Guard()), NOW_MS)
    if isinstance(choice, Chosen):
        assert choice.similarity >= threshold
        assert choice.entry.scope == SCOPE
        assert choice.entry.embedder == EMBEDDER
        assert choice.entry.expires_ms > NOW_MS
        assert "bad" not in choice.entry.prompt
        assert any(one.similarity == pytest.approx(choice.similarity, abs=0.51) for one in found)


@given(st.lists(NEIGHBOURS, max_size=6))
def test_a_nearer_sound_neighbour_goes_before_a_farther_one(found: list[Neighbour]) -> None:
    ordered = sorted(found, key=lambda one: -one.similarity if one.similarity == one.similarity else 9)
    choice = choose(ordered, ASKED, EMBEDDER, Rules(0.7), NOW_MS)
    sound = [
        one
        for one in ordered
        if one.similarity >= 0.7
        and one.fields[b"scope"] == SCOPE.encode()
        and one.fields[b"embedder"] == EMBEDDER.encode()
        and one.fields[b"expires"] == str(NOW_MS + 1).encode()
    ]
    if sound:
        assert isinstance(choice, Chosen)
        assert choice.similarity == min(1.0, sound[0].similarity)
    else:
        assert isinstance(choice, Refused)


@pytest.mark.parametrize(
    ("neighbour", "reason"),
    [
        (near(0.8499), MissReason.BELOW_THRESHOLD),
        (near(-0.5), MissReason.BELOW_THRESHOLD),
        (near(float("nan")), MissReason.UNREADABLE),
        (near(0.99, scope="b" * 32), MissReason.UNREADABLE),
        (near(0.99, embedder="ba9876543210"), MissReason.UNREADABLE),
        (near(0.99, expires=str(NOW_MS)), MissReason.EXPIRED),
        (near(0.99, prompt="what is bad"), MissReason.GUARD),
        (near(0.99, created="soon"), MissReason.UNREADABLE),
        (Neighbour(b"key", 0.99, {}), MissReason.EXPIRED),
    ],
)
def test_a_neighbour_that_breaks_a_rule_is_refused_with_that_reason(neighbour: Neighbour, reason: MissReason) -> None:
    choice = choose([neighbour], ASKED, EMBEDDER, Rules(0.85, Guard()), NOW_MS)
    assert isinstance(choice, Refused)
    assert choice.reason is reason
    served = choose([neighbour, near(0.9, "what is this")], ASKED, EMBEDDER, Rules(0.85, Guard()), NOW_MS)
    if reason is not MissReason.BELOW_THRESHOLD:
        assert isinstance(served, Chosen)
        assert served.entry.prompt == "what is this"


def test_a_miss_names_the_nearest_one_that_failed() -> None:
    found = [near(0.97, "what is bad"), near(0.95, "so bad"), near(0.5, "else")]
    choice = choose(found, ASKED, EMBEDDER, Rules(0.85, Guard()), NOW_MS)
    assert isinstance(choice, Refused)
    assert choice.nearest is not None
    assert (choice.reason, choice.nearest.prompt, choice.nearest.refusal) == (
        MissReason.GUARD,
        "what is bad",
        "numbers",
    )


def test_no_neighbour_is_an_empty_miss() -> None:
    assert choose([], ASKED, EMBEDDER, Rules(0.85), NOW_MS) == Refused(MissReason.EMPTY)


def test_the_same_text_needs_no_guard() -> None:
    bad = Question("what is bad", SCOPE)
    assert isinstance(choose([near(1.0, "what is bad")], bad, EMBEDDER, Rules(0.85, Guard()), NOW_MS), Chosen)


@pytest.mark.parametrize("guard", [Guard(), None])
def test_a_neighbour_of_which_the_difference_was_not_read_is_refused_before_any_guard(guard: Guard | None) -> None:
    rules = Rules(0.85, guard, sight_of=lambda text: Sight(cut=8))
    choice = choose([near(1.0, "what is bad")], ASKED, EMBEDDER, rules, NOW_MS)
    assert isinstance(choice, Refused)
    assert choice.nearest is not None
    assert (choice.reason, choice.nearest.refusal) == (MissReason.UNSEEN, "cut_text")
    served = choose([near(1.0, "what is bad"), near(0.9, "what is it")], ASKED, EMBEDDER, rules, NOW_MS)
    assert isinstance(served, Chosen)
    assert isinstance(choose([near(1.0, "This is it")], ASKED, EMBEDDER, replace(rules, guard=None), NOW_MS), Chosen)


LONG = "It is a long story. " * 20


@pytest.mark.parametrize("cut", [None, 300])
def test_long_texts_that_share_nearly_all_are_settled_by_their_excerpts(cut: int | None) -> None:
    asked = structs.replace(ASKED, text=LONG + "What is it?")
    rules = Rules(0.85, Guard(), sight_of=lambda text: Sight(cut=cut) if len(text) > 300 else Sight(), closer=True)
    found = [near(1.0, "so bad"), near(0.99, LONG + "What is that?")]
    undecided = choose(found, asked, EMBEDDER, rules, NOW_MS)
    assert isinstance(undecided, Undecided)
    assert undecided.excerpts == ("What is it?", "What is that?")
    assert undecided.before is not None
    assert undecided.before.nearest is not None
    assert undecided.before.nearest.prompt == "so bad"
    served = settle(undecided, 0.9, rules)
    assert isinstance(served, Chosen)
    assert (served.similarity, served.entry.prompt) == (0.9, LONG + "What is that?")
    for far in (0.84, float("nan")):
        refused = settle(undecided, far, rules)
        assert isinstance(refused, Refused)
        assert refused.nearest is not None
        assert (refused.reason, refused.nearest.refusal) == (MissReason.UNSEEN, "excerpt")


def test_the_guard_judges_excerpts_by_themselves_and_a_remote_embedder_is_not_asked_for_them() -> None:
    asked = structs.replace(ASKED, text=LONG + "What is it?")
    rules = Rules(0.85, Guard(), closer=True)
    undecided = choose([near(0.99, LONG + "What is bad?")], asked, EMBEDDER, rules, NOW_MS)
    assert isinstance(undecided, Undecided)
    refused = settle(undecided, 0.95, rules)
    assert isinstance(refused, Refused)
    assert refused.reason is MissReason.GUARD
    assert isinstance(
        choose([near(0.99, LONG + "What is that?")], asked, EMBEDDER, replace(rules, closer=False), NOW_MS), Chosen
    )


def test_a_hit_says_how_old_its_answer_is_and_how_old_it_may_become() -> None:
    stored = fields("what is it", created=str((NOW_MS - 30_000) * 1000), expires=str(NOW_MS + 90_000))
    found = judge_exact(stored, ASKED, NOW_MS)
    assert found is not None
    hit = ASKED.hit(Tier.EXACT, Chosen(b"key", found, 1.0), NOW_MS / 1000, 0.9, {})
    assert (hit.age_seconds, hit.lifetime_seconds) == (30.0, 120.0)


@pytest.mark.parametrize(
    "change",
    [{"prompt": "what is that"}, {"scope": "b" * 32}, {"expires": str(NOW_MS)}, {"expires": "soon"}, {"created": ""}],
    ids=str,
)
def test_an_exact_entry_is_served_only_for_its_own_text_scope_and_life(change: dict[str, str]) -> None:
    assert judge_exact(fields("what is it"), ASKED, NOW_MS) is not None
    assert judge_exact(fields(**{"prompt": "what is it", **change}), ASKED, NOW_MS) is None


@given(
    st.floats(0.001, MAX_TTL_SECONDS),
    st.none() | st.floats(0.001, MAX_TTL_SECONDS),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_a_life_is_within_its_bounds(ttl: float, fresh: float | None, jitter: float, chance: float) -> None:
    ttl_ms, fresh_ms = Lifetimes(ttl, fresh, jitter).milliseconds(chance)
    assert 1 <= fresh_ms <= ttl_ms <= round(ttl * 1000) <= MAX_TTL_SECONDS * 1000
    assert ttl_ms >= ttl * 1000 * (1 - jitter) - 1


@pytest.mark.parametrize("values", [(0, None, 0), (-1, None, 0), (float("nan"), None, 0), (4e7, None, 0)], ids=str)
def test_a_life_out_of_bounds_is_refused(values: tuple[float, float | None, float]) -> None:
    with pytest.raises(ConfigError, match="ttl_seconds"):
        Lifetimes(*values)


@pytest.mark.parametrize(
    "values", [(60, 0, 0), (60, float("nan"), 0), (60, None, 1), (60, None, float("nan"))], ids=str
)
def test_freshness_and_jitter_out_of_bounds_are_refused(values: tuple[float, float | None, float]) -> None:
    with pytest.raises(ConfigError, match=r"fresh_seconds|jitter"):
        Lifetimes(*values)


@pytest.mark.parametrize("threshold", [0, -0.1, 1.01, float("nan"), True, "0.8", None])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: object) -> None:
    with pytest.raises(ConfigError, match="threshold"):
        check_threshold(threshold)
    with pytest.raises(ConfigError, match="threshold"):
        Rules(threshold)  # type: ignore[arg-type]  # what a caller may pass all the same


@pytest.mark.parametrize("k", [0, 101, -1])
def test_a_count_of_neighbours_out_of_bounds_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="k must be"):
        Rules(0.8, None, k)
