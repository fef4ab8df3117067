"""The shared options: how they become settings and scopes."""

from __future__ import annotations

from typing import cast

import click
import pytest

from nearhit.cli import options
from nearhit.cli.command import Arguments
from nearhit.errors import ConfigError
from nearhit.settings import Settings


@click.command
@options.settings(*options.ALL)
@options.scope
def take(**given: object) -> Arguments:
    return Arguments(**given)


def parsed(*words: str) -> Arguments:
    return cast("Arguments", take.main(list(words), standalone_mode=False))


def test_an_option_goes_before_its_variable() -> None:
    environ = {"NEARHIT_NAMESPACE": "from-variable", "NEARHIT_THRESHOLD": "0.7"}
    settings = options.settings_of(parsed("--namespace", "from-option"), environ)
    assert (settings.namespace, settings.threshold) == ("from-option", 0.7)


def test_the_local_model_has_a_threshold_where_none_is_set() -> None:
    assert options.settings_of(parsed(), {}).threshold == options.DEFAULT_THRESHOLD


def test_another_model_must_be_given_its_threshold() -> None:
    with pytest.raises(ConfigError, match="NEARHIT_THRESHOLD is not set"):
        options.settings_of(parsed("--model", "hash/64"), {})


def test_a_command_that_decides_no_hit_asks_for_no_threshold() -> None:
    assert options.settings_of(parsed("--model", "hash/64"), {}, threshold_matters=False).model == "hash/64"


def test_a_commands_own_default_yields_to_the_environment() -> None:
    assert options.settings_of(parsed(), {}, enqueue_deadline_ms=2_000).enqueue_deadline_ms == 2_000
    environ = {"NEARHIT_ENQUEUE_DEADLINE_MS": "70"}
    assert options.settings_of(parsed(), environ, enqueue_deadline_ms=2_000).enqueue_deadline_ms == 70


def test_scope_values_are_json_where_they_can_be() -> None:
    scope = options.scope_of(parsed("--scope", "temperature=0.5", "--scope", "style=short", "--scope", "top=[1]"))
    assert scope == {"temperature": 0.5, "style": "short", "top": [1]}


def test_scope_values_that_are_always_text_stay_text() -> None:
    scope = options.scope_of(parsed("--scope", "model=4", "--scope", "system=a=b", "--tenant", "7"))
    assert scope == {"model": "4", "system": "a=b", "tenant": "7"}


@pytest.mark.parametrize("pair", ["model", "=4", ""])
def test_a_scope_without_a_key_and_a_value_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="--scope takes KEY=VALUE"):
        options.scope_of(parsed("--scope", pair))


def test_variables_carry_settings_to_another_process() -> None:
    settings = Settings.from_env({}, threshold=0.9, url="valkey://h:1", guard=False, concurrency=2)
    variables = options.variables_of(settings)
    assert variables["NEARHIT_GUARD"] == "false"
    assert Settings.from_env(variables) == settings


@pytest.mark.parametrize(
    ("words", "environ", "configured"),
    [
        ((), {}, False),
        ((), {"NEARHIT_URL": " "}, False),
        (("--url", "valkey://h"), {}, True),
        ((), {"VALKEY_HOST": "h"}, True),
        ((), {"REDIS_URL": "redis://h"}, True),
    ],
)
def test_a_server_is_configured_when_anything_names_one(
    words: tuple[str, ...], environ: dict[str, str], configured: bool
) -> None:
    assert options.server_is_configured(parsed(*words), environ) is configured
