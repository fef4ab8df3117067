"""Quiet loggers: keeps loggers of other packages from writing prompts and answers at DEBUG."""

from __future__ import annotations

import logging

POOL = "celery.pool"
"""Logs each task with its arguments and the body of its message (Celery 5.7)."""

CLIENTS = ("openai", "LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "anthropic")
"""Log each request with the texts that are to be embedded or answered."""


def keep_texts_out() -> None:
    """Keep prompts and answers out of the log, whatever level it has. What else these loggers say remains."""
    pool = logging.getLogger(POOL)
    if _shows_no_arguments not in pool.filters:
        pool.addFilter(_shows_no_arguments)
    for name in CLIENTS:
        client = logging.getLogger(name)
        client.setLevel(max(client.level, logging.INFO))


def _shows_no_arguments(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("TaskPool: Apply")
