"""LiteLLM client: the only module that imports litellm; it translates litellm's errors into ours."""

from __future__ import annotations

import functools
import importlib
import math
import os
import time
import warnings
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from nearhit.errors import ConfigError, ContractError, EmbedderUnavailableError, NearhitError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MESSAGE_LENGTH = 300
_RETRY_LATER = frozenset({408, 409, 425, 429})
_OPERATOR = frozenset({401, 402, 403, 404, 405})
# litellm 1.106 serialises a base64 reply through a model of numbers; the warning prints the vectors
_BASE64_WARNING = r"(?s)Pydantic serializer warnings:.*Expected `list\[float\]`.*field_name='embedding'"


class NoRetries(int):
    """Zero that is true, for ``max_retries``.

    litellm 1.106 reads ``max_retries or 2`` on its OpenAI path: a plain 0 means two retries there, which with
    Retry-After held a rate-limited call for 15 s. Watched by the test that counts a failing call's requests.
    """

    def __bool__(self) -> bool:
        return True


def client_timeout(seconds: float) -> float:
    """Return the time limit to give to litellm for a call that may take ``seconds``: the next power of two.

    litellm 1.106 keeps one HTTP client, with connections of its own, for each value of the time limit. What is left of
    a deadline is never the same twice, so that each call connected anew, TLS included, and left its connection open.
    Whoever calls ends the wait at the deadline. Watched by the test that counts connections.
    """
    return float(2.0 ** math.ceil(math.log2(max(seconds, 0.001))))


def price(count: Callable[[], Any]) -> Any:
    """Return what litellm's ``count`` says that something costs; ``None`` for a model without a price."""
    try:
        return count()
    except Exception:  # noqa: BLE001 - litellm raises a bare Exception then
        return None


def missing_variables(model: str) -> list[str]:
    """Return the variables of the environment that the provider of ``model`` needs and that are not set.

    Raises:
        ConfigError: litellm is not installed.
    """
    needed: list[str] = load_litellm().validate_environment(model)["missing_keys"]
    return needed


@functools.cache
def load_litellm() -> Any:
    """Return the litellm module; its first import takes 3 to 6 s and 165 MB, and is safe over a later fork.

    Raises:
        ConfigError: it is not installed.
    """
    # read by litellm while it is imported: without it the import fetches a price table over the network
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        litellm: Any = importlib.import_module("litellm")
    except ImportError as error:
        raise ConfigError(
            f"hosted models need the package litellm: pip install 'nearhit[litellm]' ({error})"
        ) from error
    litellm.suppress_debug_info = True  # else every error prints an invitation to give feedback
    warnings.filterwarnings("ignore", message=_BASE64_WARNING, category=UserWarning)
    _separate_clients_at_fork(litellm)
    return litellm


def _separate_clients_at_fork(litellm: Any) -> None:
    """Let every forked child open connections of its own.

    litellm keeps its HTTP clients in one cache. A child that went on using an inherited connection read the
    replies of its parent: measured with 1.106, a wrong vector in the first call. Watched by the fork test.
    """
    inherited = []

    def separate() -> None:
        inherited.append(litellm.in_memory_llm_clients_cache)  # kept: its finalizers would close the parent's
        litellm.in_memory_llm_clients_cache = type(litellm.in_memory_llm_clients_cache)()

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=separate)


def price_per_token(model: str) -> float | None:
    """Return what embedding a token costs in dollars by litellm's own price table; ``None`` where it has no price."""
    table: Mapping[str, Any] = load_litellm().model_cost
    for name in (model, model.rpartition("/")[2]):
        price = (table.get(name) or {}).get("input_cost_per_token")
        if price is not None:
            return float(price)
    return None


def error_types(litellm: Any) -> tuple[type[Exception], ...]:
    """Return what litellm raises: nearly all of it comes from the tree of the OpenAI client."""
    return (importlib.import_module("openai").OpenAIError, litellm.BudgetExceededError)


def provider_of(litellm: Any, model: str, api_base: str | None) -> str:
    """Return the provider that litellm will call for ``model``.

    Raises:
        ConfigError: litellm knows no provider for it.
    """
    try:
        provider: str = litellm.get_llm_provider(model=model, api_base=api_base)[1]
    except litellm.BadRequestError as error:
        example = "openai/text-embedding-3-small"
        raise ConfigError(f"embedder {model!r}: litellm knows no such provider; write it as in {example!r}") from error
    return provider


def translate(
    litellm: Any,
    model: str,
    error: Exception,
    *,
    part: str = "embedder",
    unavailable: type[UnavailableError] = EmbedderUnavailableError,
) -> NearhitError:
    """Return our error for ``error`` of litellm, branched by what to do next.

    A refused key, model or parameter is the operator's; a refused text is a broken contract; all else may
    pass.

    Args:
        litellm: the module.
        model: what was called.
        error: what it raised.
        part: as what it was called, for the message.
        unavailable: the error for what may pass.
    """
    lines = str(error).strip().splitlines()  # the first one alone: litellm adds a traceback to some messages
    message = f"{part} {model!r}: {(lines[0] if lines else type(error).__name__)[:_MESSAGE_LENGTH]}"
    status = getattr(error, "status_code", None)
    if isinstance(error, litellm.exceptions.UnsupportedParamsError) or status in _OPERATOR:
        return ConfigError(message)
    if "Missing credentials" in str(error):  # the OpenAI client's words; litellm makes them a server error
        return ConfigError(f"{part} {model!r}: no API key; set api_key or the variable of its provider")
    if isinstance(status, int) and 400 <= status < 500 and status not in _RETRY_LATER:
        return ContractError(message)
    return unavailable(message, retry_after_seconds=_retry_after_seconds(error))


def _retry_after_seconds(error: Exception) -> float | None:
    """Return the wait that the provider asked for: seconds or an HTTP date (RFC 9110, 10.2.3)."""
    headers: Mapping[str, str] | None = getattr(error, "litellm_response_headers", None)
    if headers is None:  # litellm keeps them in either of two places
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("retry-after") or headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
