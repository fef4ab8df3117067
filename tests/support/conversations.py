"""Conversations of every form, the leaves that they are made of, and which of these may change without a trace."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Path = tuple[Any, ...]

WORDS = st.text("abc é\n ", max_size=8)
SAID = WORDS.map(lambda text: f"w{text}w")
LEAF = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.5, 1.5]) | SAID
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.sampled_from("abcd"), VALUE, max_size=3)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Go through every value that holds no other, with the way to it; an empty list or mapping is one, too."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def mappings(value: Any, path: Path = ()) -> Iterator[Path]:
    """Go through the ways to all mappings."""
    if isinstance(value, dict):
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from mappings(item, (*path, key))


def with_value(whole: Any, path: Path, change: Callable[[Any], Any]) -> Any:
    """Return a copy with another value in one place."""
    made = copy.deepcopy(whole)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = change(inner[path[-1]])
    return made


def with_field(whole: Any, path: Path, name: str, value: Any) -> Any:
    """Return a copy with one more field in the mapping at ``path``."""
    made = copy.deepcopy(whole)
    inner = made
    for step in path:
        inner = inner[step]
    inner[name] = value
    return made


def another(value: Any) -> Any:
    """Return a value that says something else, and is neither empty nor equal in JSON."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}z" if isinstance(value, str) and value else "z"


def may_change(path: Path, whole: Any) -> bool:
    """Return whether a leaf of messages or items may change without a trace. This is the whole list.

    - ``cache_control`` of a message or of a part: steers the provider's own cache.
    - The id of a text part.
    - An id that stands in no second place: it differs from run to run, and ties nothing together. Of items that stand
      for what the provider keeps (``reasoning``) the id counts.
    """
    if "cache_control" in path:
        return True
    if path[1:2] == ("content",) and path[-1] == "id" and len(path) == 4:
        return True
    if path[-1] not in {"id", "call_id", "tool_call_id"} or not _is_id(path, whole):
        return False
    value = dict(leaves(whole))[path]
    return [found for way, found in leaves(whole) if _is_id(way, whole)].count(value) == 1


def _is_id(path: Path, whole: Any) -> bool:
    if not path or path[-1] not in {"id", "call_id", "tool_call_id"}:
        return False
    message = whole[path[0]] if isinstance(path[0], int) else {}
    own = len(path) == 2 and message.get("type") != "reasoning"
    return bool(own or (len(path) == 4 and path[1] in {"tool_calls", "invalid_tool_calls"}))


def images() -> st.SearchStrategy[Any]:
    return st.one_of(
        SAID.map(lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}}),
        SAID.map(lambda data: {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}),
        SAID.map(
            lambda data: {"type": "file", "file": {"file_data": data, "filename": "f"}, "cache_control": {"a": "b"}}
        ),
    )


def texts(kind: str = "text") -> st.SearchStrategy[Any]:
    plain = SAID.map(lambda text: {"type": kind, "text": text})
    return plain | st.builds(
        lambda part, more: {**part, **more},
        plain,
        st.sampled_from([{"annotations": [{"url": "u"}]}, {"id": "t1"}, {"cache_control": {"type": "x"}}]),
    )


def contents(kind: str = "text") -> st.SearchStrategy[Any]:
    return SAID | st.lists(texts(kind) | images(), min_size=1, max_size=4)


def questions(kind: str = "text") -> st.SearchStrategy[Any]:
    """Contents that hold a text."""
    return SAID | st.builds(
        lambda *parts: [*parts[0], parts[1], *parts[2]],
        *(st.lists(texts(kind) | images(), max_size=2), texts(kind), st.lists(texts(kind) | images(), max_size=2)),
    )


EXTRAS = st.dictionaries(
    st.sampled_from(["name", "refusal", "metadata", "reasoning_content", "x_new"]), VALUE, max_size=2
)


@st.composite
def chats(draw: Any) -> list[dict[str, Any]]:
    """The messages of a chat: turns, calls of tools with their results, and a question."""
    messages: list[dict[str, Any]] = []
    for at in range(draw(st.integers(0, 2))):
        messages.append(
            {
                "role": draw(st.sampled_from(["system", "user", "assistant"])),
                "content": draw(contents()),
                **draw(EXTRAS),
            }
        )
        calls = [_chat_call(draw, f"c{at}{number}") for number in range(draw(st.integers(0, 2)))]
        if calls:
            messages.append({"role": "assistant", "content": None, "tool_calls": calls, "id": f"m{at}"})
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": draw(contents())}
                for call in draw(st.permutations(calls))
            ]
    asked = {"role": "user", "content": draw(questions()), **draw(EXTRAS)}
    after = [{"role": "assistant", "content": draw(SAID)}] if draw(st.booleans()) else []
    return [*messages, asked, *after]


def _chat_call(draw: Any, name: str) -> dict[str, Any]:
    if draw(st.booleans()):
        return {"id": name, "type": "custom", "custom": {"name": draw(SAID), "input": draw(SAID)}}
    arguments = draw(ARGUMENTS.map(json.dumps) | SAID)
    return {"id": name, "type": "function", "function": {"name": draw(SAID), "arguments": arguments}}


@st.composite
def responses(draw: Any) -> list[dict[str, Any]]:
    """The items of a Responses call."""
    items: list[dict[str, Any]] = []
    for at in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(["message", "calls", "reasoning"]))
        if kind == "message":
            said = draw(contents("output_text"))
            items.append(
                {"type": "message", "role": "assistant", "id": f"m{at}", "status": "completed", "content": said}
            )
        elif kind == "reasoning":
            items.append(
                {"type": "reasoning", "id": f"r{at}", "summary": [{"type": "summary_text", "text": draw(SAID)}]}
            )
        else:
            items += _calls(draw, at)
    return [*items, {"role": "user", "content": draw(questions("input_text")), **draw(EXTRAS)}]


def _calls(draw: Any, at: int) -> list[dict[str, Any]]:
    kind, said = draw(st.sampled_from([("function_call", "arguments"), ("custom_tool_call", "input")]))
    calls = [
        {
            "type": kind,
            "id": f"f{at}{number}",
            "call_id": f"c{at}{number}",
            "name": draw(SAID),
            said: draw(ARGUMENTS.map(json.dumps) | SAID),
        }
        for number in range(draw(st.integers(1, 2)))
    ]
    results = [
        {"type": f"{kind}_output", "call_id": call["call_id"], "output": draw(SAID), "status": "incomplete"}
        for call in calls
    ]
    return [*calls, *draw(st.permutations(results))]


@st.composite
def langchain_rows(draw: Any) -> list[dict[str, Any]]:
    """Messages as LangChain writes them down for a cache."""
    from langchain_core.load import dumps
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    more = st.dictionaries(st.sampled_from(["audio", "reasoning_content", "refusal"]), VALUE, max_size=2)
    messages: list[Any] = [SystemMessage(draw(SAID))]
    for at in range(draw(st.integers(0, 2))):
        messages.append(HumanMessage(draw(contents()), name=draw(st.none() | SAID), additional_kwargs=draw(more)))
        calls = [
            {"name": draw(SAID), "args": draw(ARGUMENTS), "id": f"c{at}{number}"}
            for number in range(draw(st.integers(0, 2)))
        ]
        broken = (
            [{"name": draw(SAID), "args": draw(SAID), "id": f"b{at}", "error": draw(SAID)}]
            if draw(st.booleans())
            else []
        )
        raw = [{"id": call["id"], "type": "function", "function": {"name": "f", "arguments": "{}"}} for call in calls]
        messages.append(
            AIMessage(
                draw(SAID),
                tool_calls=calls,
                invalid_tool_calls=broken,
                additional_kwargs={**draw(more), **({"tool_calls": raw} if raw and draw(st.booleans()) else {})},
                response_metadata={"id": "r1"},
                usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            )
        )
        messages += [
            ToolMessage(
                draw(SAID),
                tool_call_id=call["id"],
                status=draw(st.sampled_from(["success", "error"])),
                artifact=draw(VALUE),
            )
            for call in draw(st.permutations(calls))
        ]
    messages.append(HumanMessage(draw(questions())))
    rows: list[dict[str, Any]] = json.loads(dumps(messages))
    return rows


def langchain_may_change(path: Path, rows: list[dict[str, Any]]) -> bool:
    """Return whether a leaf of LangChain's rows may change without a trace. This is the whole list.

    - The path of the class, of which ``type`` says the same.
    - ``response_metadata`` and ``usage_metadata``: what a provider said of an earlier answer, sent to no model.
    - What may change in any chat, see ``may_change``.
    """
    if path[1] != "kwargs":
        return bool(path[1] == "id")
    if path[2] in {"response_metadata", "usage_metadata"}:
        return True
    if path[2:4] == ("additional_kwargs", "tool_calls") and path[-1] == "id":
        return False  # it repeats the id of a call
    return may_change((path[0], *path[2:]), [row["kwargs"] for row in rows])
