"""Options: shared by several commands, and turned into settings. An option overrides its variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from nearhit.cli.command import FLOAT, INT, option
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nearhit.cli.command import Arguments, Decorator
    from nearhit.settings import Settings

DEFAULT_THRESHOLD = 0.9
"""Threshold of the command line for the local model where none is set; the library has no default. `nearhit demo`
measures what it gives: a lower one finds more rewordings, and answers more traps wrongly."""
THRESHOLD_MODEL = "local/minilm"

SERVERS = ("url", "namespace")
CACHE = (*SERVERS, "threshold", "model", "engine")
ALL = (*CACHE, "log_url", "broker_url")

_SHORT = {
    "url": ("URL", "cache server, for example valkey://127.0.0.1:6379"),
    "log_url": ("URL", "server of the fill log"),
    "broker_url": ("URL", "Celery broker"),
    "namespace": ("NAME", "which of the caches on the server"),
    "threshold": ("SIMILARITY", f"smallest similarity of a hit; {DEFAULT_THRESHOLD} for {THRESHOLD_MODEL}"),
    "model": ("MODEL", "embedding model"),
    "engine": ("ENGINE", "auto, valkey-search or local"),
    "metrics_port": ("PORT", "port of /metrics and /health; 0 takes a free one"),
}


def settings(*names: str) -> Decorator:
    """Declare an option for each of the settings ``names``, for example ``--log-url`` for ``log_url``."""

    def declare(function: Any) -> Any:
        for name in reversed(names):
            metavar, text = _SHORT[name]
            kind = {"threshold": FLOAT, "metrics_port": INT}.get(name)
            word = f"--{name.replace('_', '-')}"
            function = option(word, f"set_{name}", metavar=metavar, type=kind, help=text)(function)
        return function

    return declare


json_output = option("--json", "json_wanted", is_flag=True, help="print JSON, one document a line")


def scope(function: Any) -> Any:
    """Declare ``--scope`` and ``--tenant``."""
    text = "what the answer depends on, for example model=gpt-5; may be repeated; a value is read as JSON if it is"
    tenant = option("--tenant", metavar="NAME", help="who the answer belongs to")
    return option("--scope", metavar="KEY=VALUE", multiple=True, help=text)(tenant(function))


def scope_of(arguments: Arguments) -> dict[str, Any]:
    """Return the scope that the options describe."""
    import json  # noqa: PLC0415 - help needs none of it

    scope: dict[str, Any] = {}
    for pair in arguments.scope:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--scope takes KEY=VALUE, not {pair!r}")
        scope[name] = text
        if name not in {"tenant", "model", "system"}:  # these are always text
            try:
                scope[name] = json.loads(text)
            except ValueError:
                continue
    if arguments.tenant is not None:
        scope["tenant"] = arguments.tenant
    return scope


def chosen(arguments: Arguments) -> dict[str, Any]:
    """Return the settings that were given as options."""
    values = {name[4:]: value for name, value in vars(arguments).items() if name.startswith("set_")}
    return {name: value for name, value in values.items() if value is not None}


def settings_of(
    arguments: Arguments,
    environ: Mapping[str, str] | None = None,
    *,
    threshold_matters: bool = True,
    **defaults: Any,
) -> Settings:
    """Return the settings of options and environment.

    Args:
        arguments: of a command with ``settings``.
        environ: where variables are read; ``None`` is the process's environment.
        threshold_matters: False for a command that decides no hit: an unset threshold is then no mistake.
        **defaults: settings for where neither an option nor a variable says otherwise.
    """
    from nearhit.settings import PREFIX, Settings  # noqa: PLC0415 - help needs none of it

    source = os.environ if environ is None else environ
    given = chosen(arguments)
    model = given.get("model") or source.get(f"{PREFIX}MODEL", "").strip() or THRESHOLD_MODEL
    if model == THRESHOLD_MODEL or not threshold_matters:
        defaults.setdefault("threshold", DEFAULT_THRESHOLD)
    unset = {name: value for name, value in defaults.items() if not source.get(PREFIX + name.upper(), "").strip()}
    return Settings.from_env(source, **{**unset, **given})


def variables_of(settings: Settings) -> dict[str, str]:
    """Return the variables that give another process these settings, without those that are at their default."""
    from dataclasses import fields  # noqa: PLC0415 - help needs none of it

    from nearhit.settings import PREFIX  # noqa: PLC0415 - the same

    found = {one: getattr(settings, one.name) for one in fields(settings)}
    return {
        PREFIX + one.name.upper(): str(value).lower() if isinstance(value, bool) else str(value)
        for one, value in found.items()
        if value != one.default
    }


def server_is_configured(arguments: Arguments, environ: Mapping[str, str] | None = None) -> bool:
    """Return whether an option or a variable names a cache server; otherwise it would be the one on this machine."""
    source = os.environ if environ is None else environ
    names = ("NEARHIT_URL", "VALKEY_URL", "VALKEY_HOST", "REDIS_URL", "REDIS_HOST")
    return bool(chosen(arguments).get("url")) or any(source.get(name, "").strip() for name in names)


def who() -> str:
    """Return who gives the command, for what is written down with a change."""
    import getpass  # noqa: PLC0415 - help needs none of it
    import socket  # noqa: PLC0415 - the same

    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user may have no name
        return socket.gethostname()
