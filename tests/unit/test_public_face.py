"""The public face: what can be imported, what importing does, and that the twins are twins."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

import nearhit
from nearhit import AsyncSemanticCache, SemanticCache
from nearhit.flow.async_runner import AsyncRunner
from nearhit.flow.ports import AsyncLink, Link
from nearhit.flow.runner import Runner
from nearhit.valkey.async_link import AsyncPoolLink
from nearhit.valkey.link import PoolLink

TWINS = [(SemanticCache, AsyncSemanticCache), (Runner, AsyncRunner)]


def public(kind: type[Any]) -> dict[str, Any]:
    dunders = {"__enter__": "enter", "__aenter__": "enter", "__exit__": "exit", "__aexit__": "exit", "__init__": "init"}
    found = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    return found | {dunders[name]: value for name, value in vars(kind).items() if name in dunders}


def plain(value: Any) -> Any:
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


def test_what_is_public_is_sorted_and_can_be_imported() -> None:
    assert nearhit.__all__ == sorted(nearhit.__all__)
    assert len(set(nearhit.__all__)) == len(nearhit.__all__)
    assert [name for name in nearhit.__all__ if not hasattr(nearhit, name)] == []


def test_every_public_name_says_what_it_is() -> None:
    assert [name for name in nearhit.__all__ if not (getattr(nearhit, name).__doc__ or "").strip()] == []


def test_every_error_is_public() -> None:
    tree = {name for name, value in vars(nearhit.errors).items() if isinstance(value, type)}
    assert tree <= set(nearhit.__all__)
    assert all(issubclass(getattr(nearhit, name), nearhit.NearhitError) for name in tree)


@pytest.mark.parametrize(("sync", "other"), TWINS, ids=lambda kind: kind.__name__)
def test_twins_have_the_same_public_methods_and_parameters(sync: type[Any], other: type[Any]) -> None:
    assert public(sync).keys() == public(other).keys()
    for name, value in public(sync).items():
        mine, theirs = (inspect.signature(plain(one)).parameters for one in (value, public(other)[name]))
        assert [(one.name, one.kind, one.default) for one in mine.values()] == [
            (one.name, one.kind, one.default) for one in theirs.values()
        ], name


def test_the_twins_of_the_cache_say_the_same() -> None:
    for name, value in public(SemanticCache).items():
        assert inspect.getdoc(plain(value)) == inspect.getdoc(plain(public(AsyncSemanticCache)[name])), name


def test_the_twins_of_a_link_have_the_same_methods() -> None:
    assert set(public(Link)) - {"init"} == set(public(AsyncLink)) - {"init"} == {"send", "close"}
    for link in (PoolLink, AsyncPoolLink):
        assert {"send", "close"} <= set(public(link))


IMPORTS_NOTHING = """
import socket, sys, threading
def refuse(*_): raise SystemExit('a connection was opened')
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import nearhit, nearhit.testing
heavy = {'celery', 'kombu', 'litellm', 'onnxruntime', 'tokenizers', 'torch', 'openai', 'asyncpg'} & set(sys.modules)
assert not heavy, heavy
assert threading.active_count() == 1, threading.enumerate()
import prometheus_client
assert not [one for one in prometheus_client.REGISTRY.collect() if one.name.startswith('nearhit')]
"""

MAKES_NOTHING = """
import os, socket, sys, threading
def refuse(*_): raise SystemExit('a connection was opened')
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import nearhit
for kind in (nearhit.SemanticCache, nearhit.AsyncSemanticCache):
    kind(nearhit.Settings(threshold=0.8, model='local/minilm'))
    kind(nearhit.Settings(threshold=0.8, model='openai/text-embedding-3-small', namespace='other'))
heavy = {'celery', 'litellm', 'onnxruntime', 'tokenizers'} & set(sys.modules)
assert not heavy, heavy
assert threading.active_count() == 1, threading.enumerate()
"""


@pytest.mark.parametrize("program", [IMPORTS_NOTHING, MAKES_NOTHING], ids=["importing", "making a cache"])
def test_it_opens_no_connection_starts_no_thread_and_loads_nothing_heavy(program: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_importing_reads_no_setting() -> None:
    program = "import nearhit"
    env = {"NEARHIT_THRESHOLD": "nonsense", "VALKEY_PORT": "nonsense", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=env)
    assert done.returncode == 0, done.stderr
