"""Replay: a cached text completion as a stream of text completions.

LiteLLM 1.106 replays every cached stream as chat chunks, which have no ``text``. Imported when such a hit is met, never
before: it imports litellm. Watched by ``tests/integration/litellm/test_sdk.py``.
"""

from __future__ import annotations

from typing import Any

from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
    convert_to_streaming_response,
    convert_to_streaming_response_async,
)
from litellm.utils import CustomStreamWrapper, TextCompletionStreamWrapper

from nearhit.litellm.answer import as_chat


class TextReplay(CustomStreamWrapper):  # type: ignore[misc]  # litellm is not followed by the type checker
    """A cached text completion as the stream that its caller asked for.

    Args:
        answer: the cached response.
        call: parameters of the call, LiteLLM's logging object among them.
        asynchronous: whether the caller iterates with ``async for``.
    """

    def __init__(self, answer: dict[str, Any], call: dict[str, Any], *, asynchronous: bool) -> None:
        convert = convert_to_streaming_response_async if asynchronous else convert_to_streaming_response
        super().__init__(
            completion_stream=convert(response_object=as_chat(answer)),
            model=call.get("model"),
            custom_llm_provider="cached_response",
            logging_obj=call["litellm_logging_obj"],
        )
        self._text = TextCompletionStreamWrapper(self, call.get("model"), call.get("stream_options"))

    def __contains__(self, _: object) -> bool:
        # LiteLLM asks ``"detail" in`` every cached result; Python would answer by using up the stream
        return False

    def __next__(self) -> Any:
        return self._text.convert_to_text_completion_object(super().__next__())

    async def __anext__(self) -> Any:
        return self._text.convert_to_text_completion_object(await super().__anext__())
