"""Program: checks the settings and runs a worker until it is told to stop."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile

from click import Abort

from nearhit.errors import ConfigError, UnavailableError
from nearhit.settings import Settings
from nearhit.telemetry.exposition import FOLDER_VARIABLE, clear, multiprocess_folder
from nearhit.valkey.durability import CONFIRM_SECONDS, FSYNC, check_trial, trial_commands
from nearhit.valkey.key_names import LogKeys
from nearhit.valkey.link import link_to
from nearhit_worker import log_output
from nearhit_worker.telemetry import check_address

_OWN_FOLDER = "nearhit-metrics-"


def main(arguments: list[str]) -> int:
    """Run a worker until it is told to stop; return its exit code, which is 0 only where it was told to.

    Args:
        arguments: passed on to Celery's ``worker`` command, for example ``--pool prefork``.
    """
    waiting = log_output.held()
    try:
        settings = Settings.from_env()
        log_output.set_up(settings.log_format, settings.log_level, waiting)
        _check_durability(settings)
        check_address(settings.metrics_host, settings.metrics_port)  # Celery would show a traceback, and end with 0
        _share_metrics(arguments)
        return _run(settings, arguments)
    except ConfigError as error:
        if waiting in logging.getLogger().handlers:  # the settings do not say how lines look
            log_output.set_up("text", "info", waiting)
        print(f"nearhit: {error}", file=sys.stderr)  # noqa: T201 - said to the person at the terminal
        return 2


def _run(settings: Settings, arguments: list[str]) -> int:
    from nearhit_worker.app import INTERRUPTED, make_app  # noqa: PLC0415 - Celery is imported only where it runs

    # One process, one model, one registry: embedding is a remote call, or runs outside of the interpreter's lock. The
    # pool is no setting of the app: Celery takes a configured one even where the command line says prefork (5.7).
    named = any(one.startswith(("-P", "--pool")) for one in arguments)
    pool = [] if named else ["--pool", "threads"]
    # gossip, mingle and heartbeats are talk between workers that nothing here needs
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    quiet += ["--loglevel", "ERROR" if settings.log_level == "error" else "WARNING"]
    app = make_app(settings)
    try:
        app.worker_main(["--quiet", "worker", *pool, *quiet, *arguments])  # one line of ours says more than its banner
    except (KeyboardInterrupt, Abort):  # before Celery has handlers of its own
        return INTERRUPTED
    finally:
        folder = multiprocess_folder()
        if folder is not None and folder.name.startswith(_OWN_FOLDER):  # one that a person named is theirs to keep
            shutil.rmtree(folder, ignore_errors=True)
    return int(app.nearhit.exit_code)


def _check_durability(settings: Settings) -> None:
    """Raise ``ConfigError`` when the log's server cannot confirm writes as asked; one that is down is fine."""
    if settings.durability != FSYNC:
        return
    keys, link = LogKeys(settings.namespace), link_to(settings.log_server())
    try:
        replies = link.send(trial_commands(keys, CONFIRM_SECONDS), 2 * CONFIRM_SECONDS)
        check_trial(keys, replies, CONFIRM_SECONDS)
    except UnavailableError:
        return  # each fill that this worker accepts is checked again
    finally:
        link.close()


def _share_metrics(arguments: list[str]) -> None:
    """Give a prefork pool a folder for its children's metrics, and start with an empty one.

    prometheus_client reads the variable when it is imported, which it is by now: the process starts itself anew.
    """
    folder = multiprocess_folder()
    if folder is not None:
        clear(folder)
    elif any("prefork" in one for one in arguments):
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix=_OWN_FOLDER)
        os.execv(sys.executable, [sys.executable, "-m", "nearhit_worker", *arguments])  # noqa: S606 - ourselves, no shell
