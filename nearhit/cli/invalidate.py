"""Invalidate: the command that removes entries before their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearhit.cli import exits, options

if TYPE_CHECKING:
    import argparse

    from nearhit.admin.invalidate import Invalidated
    from nearhit.cli.screen import Screen

DESCRIPTION = """
Removes entries: of one question, of a scope, of a tenant, older than some time, of an embedder, or all of the
namespace. Several together narrow it down. Nothing is ever flushed, and other namespaces are not touched.
"""
EXAMPLES = """
nearhit invalidate --tenant acme --dry-run
nearhit invalidate --tenant acme --scope model=gpt-5
nearhit invalidate --prompt "How much is the Solo plan?" --scope model=gpt-5
nearhit invalidate --older-than-seconds 86400
nearhit invalidate --everything --queued
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--prompt", metavar="TEXT", help="the one entry of this question in its scope")
    parser.add_argument("--older-than-seconds", type=float, metavar="S", help="answers that were given longer ago")
    parser.add_argument("--embedder", metavar="ID", help="entries of an embedder, by its fingerprint")
    parser.add_argument("--everything", action="store_true", help="all entries of the namespace")
    parser.add_argument("--dry-run", action="store_true", help="only count what would go")
    parser.add_argument("--queued", action="store_true", help="let a worker do it and return at once")
    options.add_scope(parser)
    options.add_json(parser)
    options.add_settings(parser, (*options.SERVERS, "log_url", "broker_url"))


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Remove what is selected; return 0 also where that was nothing.

    Raises:
        ConfigError: nothing is selected, or a value is wrong.
        UnavailableError: a server does not answer.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
    which = _which(arguments)
    from nearhit.cache import SemanticCache  # noqa: PLC0415 - mistakes in the arguments are said without loading it

    with SemanticCache(settings) as cache:
        done = cache.invalidate(dry_run=arguments.dry_run, queued=arguments.queued, **which)
    if screen.json_wanted:
        screen.document({"matched": done.matched, "removed": done.removed, "queued": done.queued})
    else:
        screen.line(_said(done, dry_run=arguments.dry_run))
    return exits.OK


def _which(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the selection: a tenant alone takes all of its scopes, with ``--scope`` or ``--prompt`` it is a part."""
    scope = options.scope_of(arguments)
    which = {
        "prompt": arguments.prompt,
        "older_than_seconds": arguments.older_than_seconds,
        "embedder": arguments.embedder,
        "everything": arguments.everything or None,
    }
    if arguments.scope or (arguments.prompt is not None and scope):
        which["scope"] = scope
    elif scope:
        which["tenant"] = scope["tenant"]
    return {name: value for name, value in which.items() if value is not None}


def _said(done: Invalidated, *, dry_run: bool) -> str:
    if done.queued:
        return "a worker removes them; nearhit stats shows what is left"
    if dry_run:
        return f"{done.matched} entries would go"
    return f"{done.removed} entries removed"
