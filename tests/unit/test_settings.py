"""Settings: read from the environment, refused with the variable's name, shown without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nearhit.errors import ConfigError
from nearhit.settings import Settings, setting_names, settings_table, unknown_variables
from nearhit.valkey.server import Server


def test_every_setting_is_a_variable_of_the_environment() -> None:
    environ = {"NEARHIT_THRESHOLD": "0.9", "NEARHIT_NEIGHBOURS": " 7 ", "NEARHIT_GUARD": "off", "NEARHIT_MODEL": ""}
    found = Settings.from_env(environ)
    assert (found.threshold, found.neighbours, found.guard, found.model) == (0.9, 7, False, "local/minilm")


def test_what_kubernetes_sets_for_a_service_of_that_name_is_no_setting() -> None:
    environ = {
        "NEARHIT_THRESHOLD": "0.9",
        "NEARHIT_METRICS_PORT": "tcp://10.0.0.1:80",
        "VALKEY_PORT": "tcp://10.0.0.2:1",
    }
    found = Settings.from_env(environ)
    assert found.metrics_port == 9464
    assert found.server({**environ, "VALKEY_HOST": "valkey"}) == Server(host="valkey", port=6379)


def test_variables_that_look_like_settings_and_are_none_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NEARHIT_TRESHOLD", "secret")
    monkeypatch.setenv("NEARHIT_WHATEVER", "x")
    monkeypatch.setenv("NEARHIT_PORT_9464_TCP_ADDR", "10.0.0.1")
    monkeypatch.setenv("NEARHIT_PORT", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("NEARHIT_TEST_SEARCH_MODULE", "/libsearch.so")
    Settings.from_env(threshold=0.9)
    assert caplog.messages == [
        "there is no setting NEARHIT_TRESHOLD: did you mean NEARHIT_THRESHOLD?",
        "there is no setting NEARHIT_WHATEVER: nothing reads it",
    ]
    assert unknown_variables({"NEARHIT_URL": "valkey://cache", "NEARHIT_SERVICE_PORT_METRICS": "9464"}) == []


def test_an_argument_goes_before_the_environment() -> None:
    assert Settings.from_env({"NEARHIT_THRESHOLD": "0.9"}, threshold=0.5).threshold == 0.5


def test_the_threshold_has_no_default() -> None:
    with pytest.raises(ConfigError, match="NEARHIT_THRESHOLD is not set"):
        Settings.from_env({})
    with pytest.raises(TypeError, match="threshold"):
        Settings()  # type: ignore[call-arg]  # that is the point


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"NEARHIT_THRESHOLD": "high"}, "NEARHIT_THRESHOLD must be a number, not 'high'"),
        ({"NEARHIT_NEIGHBOURS": "2.5"}, "NEARHIT_NEIGHBOURS must be a whole number from 1 to 100, not '2.5'"),
        ({"NEARHIT_GUARD": "perhaps"}, "NEARHIT_GUARD must be true or false, not 'perhaps'"),
        ({"NEARHIT_THRESHOLD": "nan"}, "threshold must be"),
        ({"NEARHIT_TTL_SECONDS": "nan"}, "ttl_seconds must be"),
        ({"NEARHIT_TTL_SECONDS": "1e12"}, "ttl_seconds must be"),
        ({"NEARHIT_DEADLINE_MS": "0"}, "deadline_ms must be"),
    ],
    ids=str,
)
def test_a_variable_of_nonsense_is_refused_with_its_name(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_env({"NEARHIT_THRESHOLD": "0.9", **environ})


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"engine": "faiss"},
            {"namespace": "a b"},
            {"namespace": 5},
            {"model": " "},
            {"model": None},
            {"neighbours": 0},
        ),
        *({"neighbours": 2.5}, {"neighbours": True}, {"neighbours": "4"}, {"hnsw_m": 16.0}, {"deadline_ms": None}),
        *({"url": "http://x"}, {"url": 5}, {"log_url": "x"}, {"url": "redis://h:70000"}, {"guard": "yes"}),
        *({"url": "valkey://h/abc"}, {"url": "valkey://h:6379?socket_timeout=soon"}, {"metrics_host": 5}),
        *({"broker_url": 7}, {"metrics_port": 70_000}, {"ttl_jitter": 1.0}, {"max_connections": 0}),
    ],
    ids=str,
)
def test_a_setting_of_nonsense_is_refused_with_its_name(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        Settings(**{"threshold": 0.9, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbours": 0}, "neighbours must be a whole number from 1 to 100, not 0"),
        ({"ttl_jitter": 1.0}, "ttl_jitter must be a number from 0 to 0.99, not 1.0"),
        ({"guard": "yes"}, "guard must be true or false, not 'yes'"),
        ({"judge_on_failure": "ask"}, "judge_on_failure must be one of refuse, accept, not 'ask'"),
        ({"broker_url": 7}, "broker_url must be text, not int"),
    ],
    ids=str,
)
def test_a_refusal_names_the_setting_its_value_and_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Settings(**{"threshold": 0.9, **change})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no setting 'treshold'"):
        Settings.from_env({}, threshold=0.9, treshold=0.8)


def test_urls_never_appear_in_a_representation() -> None:
    shown = repr(
        Settings(
            threshold=0.9, url="valkey://u:hunter2@h:1", log_url="valkey://u:hunter2@h:1", broker_url="amqp://hunter2"
        )
    )
    assert "hunter2" not in shown


def test_the_servers_come_from_the_settings_and_else_from_the_environment() -> None:
    environ = {"VALKEY_HOST": "v", "VALKEY_PORT": "7", "REDIS_HOST": "r"}
    assert Settings(threshold=0.9).server(environ).host == "v"
    assert Settings(threshold=0.9).server({"REDIS_HOST": "r", "REDIS_PASSWORD": "p"}).password == "p"
    assert Settings(threshold=0.9, url="valkey://u").server(environ) == Server(url="valkey://u")
    assert Settings(threshold=0.9, url="valkey://u").log_server(environ) == Server(url="valkey://u")
    assert Settings(threshold=0.9, log_url="valkey://l").log_server(environ) == Server(url="valkey://l")


def test_the_table_has_a_row_for_every_setting() -> None:
    rows = [row for row in settings_table().splitlines() if row.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == ["NEARHIT_" + name.upper() for name in setting_names()]


def test_the_limit_of_connections_holds_for_every_server() -> None:
    made = Settings(threshold=0.9, url="valkey://u", log_url="valkey://l", max_connections=3)
    assert made.server().max_connections == made.log_server().max_connections == 3
    assert made.server().single_client().connection_pool.max_connections == 3
    assert Settings(threshold=0.9).server({"VALKEY_HOST": "h"}).max_connections == 64


def test_the_helm_chart_takes_every_setting_but_for_secrets_and_what_it_sets_itself() -> None:
    schema = json.loads((Path(__file__).parents[2] / "deploy" / "nearhit" / "values.schema.json").read_text())
    taken = schema["properties"]["settings"]["propertyNames"]["enum"]
    assert taken == [one for one in setting_names() if not one.endswith("url") and not one.startswith("metrics_")]
