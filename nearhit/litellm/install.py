"""Install: makes the cache for LiteLLM and puts it in its place."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from nearhit.async_cache import AsyncSemanticCache
from nearhit.cache import SemanticCache
from nearhit.errors import ConfigError
from nearhit.litellm.backend import Backend
from nearhit.litellm.options import Options
from nearhit.litellm.shared import scope_of_key
from nearhit.llm.client import load_litellm
from nearhit.settings import Settings

if TYPE_CHECKING:
    from nearhit.domain.scope import Scope


def cache(
    made: SemanticCache | Settings | None = None,
    *,
    options: Options | None = None,
    aio: AsyncSemanticCache | None = None,
    **settings: Any,
) -> Any:
    """Return the object for ``litellm.cache``. Imports litellm, which takes seconds; connects to nothing.

    Args:
        made: a cache of yours, or its settings; without either they come from the environment and ``settings``.
        options: how calls are cached.
        aio: the asyncio twin of a cache of yours; without it asyncio calls take yours in a thread.
        **settings: single settings by name, for example ``threshold=0.9``; see ``Settings``.

    Raises:
        ConfigError: litellm, or a package that it needs for a cache hit, is not installed, or a setting is wrong.
    """
    load_litellm()
    _check_replay()
    from nearhit.litellm.facade import CacheFacade  # noqa: PLC0415 - imports litellm

    if not isinstance(made, SemanticCache):
        whole = made if isinstance(made, Settings) else Settings.from_env(**settings)
        made = SemanticCache(whole)
        aio = AsyncSemanticCache(whole, metrics=made.metrics)
    options = options or Options()
    return CacheFacade(Backend(made, aio, options), options, shared=made.settings.layout == "litellm")


def install(made: Any = None, *, options: Options | None = None, **settings: Any) -> Any:
    """Make a cache the one of LiteLLM, for its SDK and its proxy, and return it.

    Args:
        made: what ``cache`` returned, or takes.
        options: as for ``cache``.
        **settings: as for ``cache``.
    """
    litellm = load_litellm()
    ready = made if hasattr(made, "get_cache_key") else cache(made, options=options, **settings)
    litellm.cache = ready
    return ready


_FOR_A_HIT = ("fastapi", "orjson", "soundfile")
"""What LiteLLM 1.106 imports at its first cache hit but does not require."""


def _check_replay() -> None:
    """Load what LiteLLM loads at its first cache hit: without those packages the hit would fail its caller."""
    try:
        importlib.import_module("litellm.llms.anthropic.pass_through.messages.response_cache")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("litellm"):  # an older release has no such module and no such need
            return
        lacking = [name for name in _FOR_A_HIT if importlib.util.find_spec(name) is None] or [str(error.name)]
        raise ConfigError(
            f"LiteLLM cannot replay a cached answer without {', '.join(lacking)}: pip install 'nearhit[litellm-cache]'"
        ) from error


def shared_scope(**call: Any) -> Scope:
    """Return the scope under which LiteLLM's own semantic cache looks for the answer to a call.

    For loading answers with ``layout="litellm"``: what a stock proxy finds depends on every parameter of its calls but
    the messages, in their order, and on the caller's key, team and organisation.

    Args:
        **call: parameters of the call, in the order in which the proxy gets them: ``model`` first, then the others,
            and ``metadata`` with ``user_api_key`` and the like.
    """
    load_litellm()
    from litellm.caching.caching import Cache  # noqa: PLC0415 - litellm costs seconds

    stock = Cache(type="local")
    stock.type = "valkey-semantic"
    return scope_of_key(stock.get_cache_key(**call))
