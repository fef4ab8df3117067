"""Call scope: which arguments of a function are the question and which are its scope, for ``cached``."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from nearhit.domain.scope import Scope, scope_digest
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class CallReader:
    """Reads the calls of one function: its first parameter is the question, all others belong to the scope.

    Args:
        function: what is decorated.
        scope: who may share the answers, besides what the calls say.

    Raises:
        ConfigError: the function has no parameter to take the question from, or is a method.
    """

    def __init__(self, function: Callable[..., Any], scope: Scope | Mapping[str, Any] | None) -> None:
        self._signature = inspect.signature(function)
        self._scope = Scope.of(scope)
        self._name = f"{function.__module__}.{function.__qualname__}"
        names = list(self._signature.parameters)
        if not names:
            raise ConfigError(f"{self._name} takes no question: its first parameter must be the prompt")
        if names[0] in {"self", "cls"}:
            raise ConfigError(f"{self._name} is a method, and {names[0]!r} is no question: decorate a function instead")
        self._question = names[0]

    def read(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Scope]:
        """Return the prompt and the scope of a call.

        Raises:
            TypeError: the call does not fit the function, as the call itself would say.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        prompt = values.pop(self._question)
        base = self._scope
        own: dict[str, Any] = {"\0function": self._name, "\0arguments": values}
        if base.digest:  # it stays, with the tenant, among what this call's scope is made of
            own["\0scope"] = scope_digest(base)
        scope = Scope(
            tenant=base.tenant,
            model=base.model,
            system=base.system,
            tools=base.tools,
            response_format=base.response_format,
            parameters={**base.parameters, **own},
            split_by=base.split_by,
        )
        return prompt, scope
