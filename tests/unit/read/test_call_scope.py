"""What of a call is the question and what is its scope."""

from __future__ import annotations

from typing import Any

import pytest

from nearhit.domain.scope import Scope, scope_digest
from nearhit.errors import ConfigError, ContractError
from nearhit.read.call_scope import CallReader


def ask(prompt: str, model: str = "m", *, temperature: float = 0.0, **more: Any) -> str:
    return f"{prompt}{model}{temperature}{more}"


def tell(prompt: str, model: str = "m", *, temperature: float = 0.0) -> str:
    return f"{prompt}{model}{temperature}"


def read(function: Any, *args: Any, scope: Any = None, **kwargs: Any) -> tuple[Any, str]:
    prompt, whole = CallReader(function, scope).read(args, kwargs)
    return prompt, scope_digest(whole)


def test_the_first_parameter_is_the_question_however_it_is_passed() -> None:
    assert read(ask, "q") == read(ask, prompt="q")
    assert read(ask, "q")[0] == "q"


def test_a_default_that_is_spelled_out_is_the_same_call() -> None:
    assert read(ask, "q", "m", temperature=0.0) == read(ask, "q")


def test_the_order_of_keyword_arguments_never_matters() -> None:
    assert read(ask, "q", a=1, b=2) == read(ask, "q", b=2, a=1)


@pytest.mark.parametrize("change", [{"model": "n"}, {"temperature": 0.5}, {"extra": 1}], ids=str)
def test_every_other_argument_splits(change: dict[str, Any]) -> None:
    assert read(ask, "q", **change)[1] != read(ask, "q")[1]


def test_another_function_is_another_scope() -> None:
    assert read(ask, "q")[1] != read(tell, "q")[1]


def test_the_scope_of_the_decorator_stays() -> None:
    digests = {read(ask, "q", scope=scope)[1] for scope in (None, {"tenant": "a"}, Scope(tenant="b"), {"top_p": 1})}
    assert len(digests) == 4


def test_the_digest_of_the_decorators_scope_stays_with_its_tenant() -> None:
    scopes = [Scope.from_digest(digit * 32, tenant=tenant) for digit in "ab" for tenant in ("", "acme")]
    assert len({read(ask, "q", scope=scope)[1] for scope in (None, *scopes)}) == 5


def test_a_call_that_does_not_fit_says_what_the_call_itself_would_say() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'prompt'"):
        read(ask)


def test_a_function_without_parameters_is_refused_when_it_is_decorated() -> None:
    with pytest.raises(ConfigError, match="takes no question"):
        CallReader(lambda: "x", None)


class Service:
    def ask(self, prompt: str) -> str:
        return prompt


def test_a_method_is_refused_when_it_is_decorated_since_self_is_no_question() -> None:
    with pytest.raises(ConfigError, match="self"):
        CallReader(Service.ask, None)
    assert read(Service().ask, "q")[0] == "q"


def test_a_scope_of_nonsense_is_refused_when_it_is_decorated() -> None:
    with pytest.raises(ContractError):
        CallReader(ask, 5)  # type: ignore[arg-type]  # what a caller may pass all the same
