"""Invalidate: the command that removes entries before their time."""

from __future__ import annotations

from nearhit.cache import SemanticCache
from nearhit.cli import exits, options
from nearhit.cli.command import FLOAT, Arguments, command, option
from nearhit.cli.screen import Screen, counted
from nearhit.errors import ConfigError

EXAMPLES = """
nearhit invalidate --tenant acme --dry-run
nearhit invalidate --tenant acme --scope model=gpt-5
nearhit invalidate --prompt "How much is the Solo plan?" --scope model=gpt-5
nearhit invalidate --older-than-seconds 86400
nearhit invalidate --everything --queued
"""


@command(EXAMPLES)
@option("--prompt", metavar="TEXT", help="the one entry of this question in its scope")
@option("--older-than-seconds", metavar="S", type=FLOAT, help="entries whose answer is older")
@option("--embedder", metavar="ID", help="entries of an embedder, by its fingerprint")
@option("--everything", is_flag=True, help="all entries of the namespace")
@option("--dry-run", is_flag=True, help="only count what would be removed")
@option("--queued", is_flag=True, help="let a worker remove them, and return at once")
@options.scope
@options.json_output
@options.settings(*options.SERVERS, "log_url", "broker_url")
def run(arguments: Arguments, screen: Screen) -> int:
    """Remove entries: of a question, a scope, a tenant, an embedder, older than some time, or all.

    Several together narrow it down. Nothing is ever flushed, and other namespaces are not touched. A tenant alone takes
    all of its scopes; with --scope or --prompt it is a part of the scope.
    """
    settings = options.settings_of(arguments, threshold_matters=False)
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
    which = {name: value for name, value in which.items() if value is not None}
    if not which:
        raise ConfigError(
            "invalidate needs --prompt, --scope, --tenant, --older-than-seconds, --embedder or --everything"
        )
    try:
        with SemanticCache(settings) as cache:
            done = cache.invalidate(dry_run=arguments.dry_run, queued=arguments.queued, **which)
    except ConfigError as error:
        name, _, rest = str(error).partition(" ")  # the library names its own argument
        raise ConfigError(f"--{name.replace('_', '-')} {rest}" if name in which else str(error)) from error
    screen.document({"matched": done.matched, "removed": done.removed, "queued": done.queued})
    if done.queued:
        screen.line("a worker removes them; nearhit stats shows what is left")
    elif arguments.dry_run:
        screen.line(f"{counted(done.matched, 'entry', 'entries')} would be removed")
    else:
        screen.line(f"{counted(done.removed, 'entry', 'entries')} removed")
    return exits.OK
