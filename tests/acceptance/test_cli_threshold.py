"""The threshold command and what else shows or sets thresholds: what people and programs read of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.domain.scope import Scope, scope_digest, tenant_digest
from nearhit.valkey.key_names import LogKeys
from nearhit.verification.samples import Sample, fields_of
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from nearhit_worker.stack import ValkeyServer


@pytest.fixture
def terminal(tmp_path: Path, plain_server: ValkeyServer, namespace: str) -> Terminal:
    """A terminal with a server, a namespace of its own and the hash embedder."""
    return Terminal(
        tmp_path,
        NEARHIT_URL=plain_server.url,
        NEARHIT_NAMESPACE=namespace,
        NEARHIT_MODEL="hash/64",
        NEARHIT_THRESHOLD="0.8",
    )


def shown(terminal: Terminal) -> dict[str, float]:
    document = terminal.run("threshold", "--json").document
    return {one["field"]: one["threshold"] for one in document["entries"]}


def test_thresholds_are_set_shown_and_unset(terminal: Terminal) -> None:
    assert terminal.run("threshold", "set", "0.9", "--why", "prices").code == 0
    of_tenant = terminal.run("threshold", "set", "0.95", "--tenant", "acme")
    assert (of_tenant.code, of_tenant.out.partition(",")[0]) == (0, "tenant acme: 0.95")
    assert terminal.run("threshold", "set", "0.97", "--tenant", "acme", "--scope", "model=m").code == 0
    tenant, scope = tenant_digest("acme"), scope_digest(Scope(tenant="acme", model="m"))
    assert shown(terminal) == {"*": 0.9, f"tenant:{tenant}": 0.95, f"scope:{scope}": 0.97}
    text = terminal.run("threshold").out
    assert "prices" in text
    assert "tenant acme" in text
    digest = "5d0d337a27229f39a766e386cd6c92f8"
    assert terminal.run("threshold", "set", "0.98", "--scope-digest", digest).code == 0
    of_digest = terminal.run("threshold", "show", "--scope-digest", digest, "--json").document
    assert [(entry["field"], entry["threshold"]) for entry in of_digest["entries"]] == [(f"scope:{digest}", 0.98)]
    one = terminal.run("threshold", "show", "--tenant", "acme", "--scope", "model=other", "--json").document
    assert [entry["threshold"] for entry in one["entries"]] == [0.95]
    assert terminal.run("threshold", "unset", "--tenant", "acme").code == 0
    assert terminal.run("threshold", "unset", "--tenant", "acme").code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("set", "0.7"), "0.7 is below the floor 0.8"),
        (("set", "1.5"), "threshold must be a similarity"),
        (("set", "0.9", "--scope-digest", "ff"), "32 or 64 hex digits"),
        (("set", "0.9", "--scope-digest", "a" * 32, "--tenant", "acme"), "--scope-digest stands for the whole scope"),
        (("set",), "a similarity belongs to"),
        (("unset", "0.9"), "a similarity belongs to"),
    ],
    ids=str,
)
def test_what_cannot_be_set_is_refused_in_one_line(terminal: Terminal, words: tuple[str, ...], message: str) -> None:
    ended = terminal.run("threshold", *words)
    assert ended.code == 2
    assert message in ended.err
    assert shown(terminal) == {}


def test_verify_shows_what_was_measured_and_says_when_a_budget_is_broken(
    terminal: Terminal, plain_server: ValkeyServer, namespace: str
) -> None:
    empty = terminal.run("verify", "--json")
    assert (empty.code, empty.document["false_share"]["value"]) == (0, None)
    with plain_server.client() as client:
        for verdict, similarity in [("true_hit", 0.95)] * 10 + [("false_hit", 0.87)] * 10 + [("unjudged", 0.9)]:
            sample = Sample(verdict, similarity, 0.8, "settings", 0)
            client.execute_command("XADD", LogKeys(namespace).verified, "*", *fields_of(sample))
    ended = terminal.run("verify", "--json")
    assert ended.code == 1
    found = ended.document
    assert (found["true_hits"], found["false_hits"], found["unjudged"], found["broken"]) == (10, 10, 1, True)
    assert [one["from"] for one in found["bands"]] == [0.87, 0.9, 0.95]
    assert [(one["field"], one["threshold"]) for one in found["thresholds"]] == [("*", 0.8)]
    text = terminal.run("verify").out
    assert "10 of 20, 50.0%" in text
    assert "5.0%, broken" in text


def test_lookup_and_explain_show_the_threshold_in_force(terminal: Terminal) -> None:
    terminal.run("threshold", "set", "0.91")
    pair = ("how can i reset my password please", "how do i reset my password please")
    explained = terminal.run("explain", *pair, "--json").document
    assert (explained["threshold"], explained["would_hit"]) == (0.91, False)
    assert terminal.run("explain", *pair, "--threshold", "0.8", "--json").document["threshold"] == 0.8
    assert terminal.run("lookup", pair[0], "--json").document["threshold"] == 0.91


def test_calibrate_applies_what_it_found_by_scope(terminal: Terminal, tmp_path: Path) -> None:
    def rows(scope: dict[str, Any], *, wrong: str) -> list[dict[str, Any]]:
        right = [{"prompt": f"reset my password {n}", "candidate": f"reset my password {n}"} for n in range(80)]
        false = {"prompt": f"how {wrong} i reset my password please", "candidate": "how do i reset my password please"}
        pairs = [{**one, "same": True} for one in right] + [{**false, "same": False}] * 40
        return [{**one, "scope": scope} for one in pairs]

    path = tmp_path / "judged.jsonl"
    all_rows = rows({"tenant": "acme"}, wrong="can") + rows({"tenant": "b", "model": "m"}, wrong="much gold will")
    path.write_text("".join(json.dumps(row) + "\n" for row in all_rows))
    command = ("calibrate", str(path), "--budget", "0.1", "--no-guard", "--floor", "0.7")
    assert terminal.run(*command, "--by", "kind", "--apply").code == 2
    assert shown(terminal) == {}
    ended = terminal.run(*command, "--apply")
    assert ended.code == 0, ended.err
    found = shown(terminal)
    acme, other = (scope_digest(Scope(tenant="acme")), scope_digest(Scope(tenant="b", model="m")))
    assert found.keys() == {f"scope:{acme}", f"scope:{other}"}
    assert found[f"scope:{acme}"] > 0.87  # the similarity of its wrong pairs
    assert found[f"scope:{other}"] == 0.8  # 0.7 would do, the floor of the operator does not let it
    assert "calibrated: 0 false of 80 hits" in terminal.run("threshold").out
