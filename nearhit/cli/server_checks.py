"""Server checks: the doctor's checks of the cache server and the log's server."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from nearhit.cli.durability_checks import check_durability
from nearhit.cli.finding import Finding, Status, address_of, failed, is_loopback, passed, warned
from nearhit.cli.rights_checks import check_cache_rights, check_log_rights
from nearhit.errors import StoreUnavailableError
from nearhit.index.opening import choose_engine

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from nearhit.cli.servers import Ask, Servers

FIRST_GOOD_SEARCH = (1, 2, 1)
FIRST_SERVER = (7, 2)
RIGHTS = "give the user the rights that docs/operations.md names: ACL SETUSER NAME …"
_SKEW_SECONDS = 1.0
_NEARLY_FULL = 0.9
_ENDING = 0.5
"""Share of keys with a time to live below which a full cache can drop too few."""


def check_cache_server(servers: Servers) -> Iterator[Finding]:
    """Give what is found on the cache server; only the first finding when it does not answer."""
    ask = servers.cache
    try:
        ask.ping()
        info = ask.info()
    except StoreUnavailableError as error:
        advice = "start it, or set NEARHIT_URL to where it is (`nearhit up` starts one)"
        yield failed("cache server", str(error), advice_on(str(error), advice))
        if lacks_rights(str(error)):
            yield check_cache_rights(servers.settings, search=False)
        return
    yield _version(ask, info)
    yield _role(info, "role", "NEARHIT_URL")
    yield _cache_memory(info)
    search = yield from _search(servers, info)
    yield _clock(ask)
    yield check_cache_rights(servers.settings, search=search)
    yield from check_password("cache server", *address_of(ask.server))


def check_log_server(servers: Servers) -> Iterator[Finding]:
    """Give what is found on the log's server."""
    ask = servers.log
    try:
        ask.ping()
        info = ask.info()
    except StoreUnavailableError as error:
        advice = "set NEARHIT_LOG_URL to where one answers us; until then fills wait in memory"
        yield failed("log server", str(error), advice_on(str(error), advice))
        if lacks_rights(str(error)):
            yield check_log_rights(servers.settings)
        return
    role = _role(info, "log role", "NEARHIT_LOG_URL")
    if not servers.shared:
        yield role
    if role.status is Status.FAIL:
        return
    yield check_durability(servers, info)
    yield _log_memory(info, shared=servers.shared)
    yield check_log_rights(servers.settings)
    if not servers.shared:
        yield from check_password("log server", *address_of(ask.server))


def advice_on(text: str, otherwise: str) -> str:
    """Return what to do about a server that answers with a refusal, or ``otherwise`` where it does not answer."""
    if "authentication failed" in text:
        return "correct the user and the password in the url"
    return RIGHTS if lacks_rights(text) else otherwise


def lacks_rights(text: str) -> bool:
    """Return whether a failure says that the user may not do what was asked."""
    return "permission" in text.lower()


def check_password(name: str, host: str, with_password: bool) -> Iterator[Finding]:
    """Give a warning when a server can be reached from elsewhere without a password."""
    if not is_loopback(host) and not with_password:
        advice = f"give {host} a password (requirepass, or an ACL user) and put it into the url"
        yield warned(f"{name} password", f"{host} is not this machine, and no password is used", advice)


def _version(ask: Ask, info: dict[str, str]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    text = info.get("valkey_version") or info.get("redis_version") or "unknown"
    where = f"{ask.server.label} answers: {name} {text}"
    if _numbers(text) and _numbers(text) < FIRST_SERVER:
        return failed("cache server", where, "Nearhit needs Valkey 7.2 or newer")
    return passed("cache server", where)


def _role(info: dict[str, str], check: str, variable: str) -> Finding:
    role = info.get("role", "unknown")
    if role == "slave":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        return failed(check, f"a replica of {primary}: it takes no writes", f"set {variable} to the primary, {primary}")
    return passed(check, "primary" if role == "master" else role)


def _cache_memory(info: dict[str, str]) -> Finding:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    policy = info.get("maxmemory_policy", "unknown")
    if not limit:
        return passed("memory", f"{_mebibytes(used)} used, no limit; entries end with their time to live")
    text = f"{_mebibytes(used)} of {_mebibytes(limit)} used, policy {policy}"
    full = used > _NEARLY_FULL * limit
    if policy == "noeviction":
        advice = "set maxmemory-policy to volatile-lru: a full cache then drops old entries and takes new ones"
        return failed("memory", text, advice) if full else warned("memory", text, advice)
    if policy.startswith("allkeys"):
        advice = "set maxmemory-policy to volatile-lru: this one also drops the names of index and embedders"
        return warned("memory", text, advice)
    keys, ending = _keys(info)
    if full and ending < _ENDING * keys:
        text += f"; only {ending} of {keys} keys have a time to live, and no others are dropped"
        advice = "give the cache a server of its own, or remove the keys of others: new entries are refused"
        return failed("memory", text, advice)
    return passed("memory", text)


def _keys(info: dict[str, str]) -> tuple[int, int]:
    """Return how many keys the databases of a server have, and how many of them end by themselves."""
    rows = [dict(re.findall(r"(\w+)=(\d+)", text)) for name, text in info.items() if re.fullmatch(r"db\d+", name)]
    return sum(int(row["keys"]) for row in rows), sum(int(row["expires"]) for row in rows)


def _search(servers: Servers, info: dict[str, str]) -> Generator[Finding, None, bool]:
    """Give what is found of the search module; return whether it is used."""
    engine = servers.settings.engine
    try:
        there = servers.cache.run(choose_engine()) == "valkey-search"
    except StoreUnavailableError as error:
        yield failed("search module", str(error), "set NEARHIT_ENGINE, or let the user run COMMAND")
        return False
    if there and engine != "local":
        yield judge_search_version(info.get("module:search", ""))
    elif there:
        yield passed("search module", "there is one; the engine is set to local")
    elif engine == "valkey-search":
        advice = "load valkey-search 1.2.1 or newer into the server, or set NEARHIT_ENGINE to auto or local"
        yield failed("search module", "the server has none, and the engine is set to valkey-search", advice)
    else:
        yield passed("search module", "none: the local engine searches in each reader's process")
    return there and engine != "local"


def judge_search_version(packed: str) -> Finding:
    """Return what is to be said of a module's version as the server packs it: 66049, 0x010201, is 1.2.1."""
    if not packed.isdigit():
        return passed("search module", "there is one; the server does not tell its version")
    number = int(packed)
    version = (number >> 16, number >> 8 & 0xFF, number & 0xFF)
    text = f"valkey-search {'.'.join(map(str, version))}"
    if version < FIRST_GOOD_SEARCH:
        advice = (
            "upgrade to 1.2.1: older ones give wrong COSINE distances where few entries match the scope (the "
            "pre-filter path), and before 1.0.3, 1.1.1 and 1.2.0 a transaction could lock the server up"
        )
        return warned("search module", text, advice)
    return passed("search module", text)


def _clock(ask: Ask) -> Finding:
    before = time.time()
    reply = ask("TIME")
    now = (before + time.time()) / 2
    if not isinstance(reply, list | tuple) or len(reply) != 2:
        return warned("clock", "the server does not tell its time", "let the user run TIME")
    skew = int(reply[0]) + int(reply[1]) / 1e6 - now
    text = f"{'no difference' if abs(skew) < 0.05 else f'{skew:+.2f} s'} to the server's"
    if abs(skew) > _SKEW_SECONDS:
        return warned("clock", text, "set both clocks by NTP: entries end by the clock of who reads them")
    return passed("clock", text)


def _log_memory(info: dict[str, str], *, shared: bool) -> Finding:
    policy, limit = info.get("maxmemory_policy", "unknown"), int(info.get("maxmemory", 0))
    used = int(info.get("used_memory", 0))
    text = f"policy {policy}, {'no limit' if not limit else f'{_mebibytes(used)} of {_mebibytes(limit)} used'}"
    if shared:
        text += ", shared with the cache"
    if policy.startswith("allkeys") and limit:
        advice = "give the log a server of its own with noeviction (NEARHIT_LOG_URL): this one may evict whole logs"
        return failed("log memory", text, advice)
    if policy.startswith("allkeys"):
        advice = "set maxmemory-policy to noeviction before a limit is set: this policy evicts whole logs"
        return warned("log memory", text, advice)
    if limit and used > _NEARLY_FULL * limit:
        advice = "raise maxmemory of the log's server, start more workers, or drop dead letters (`nearhit dead drop`)"
        return failed("log memory", f"{text}: at its limit it refuses fills, which then wait in memory", advice)
    if shared and limit:
        advice = "give the log a server of its own with noeviction (NEARHIT_LOG_URL): a full cache refuses fills"
        return warned("log memory", text, advice)
    return passed("log memory", text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
