"""The canonical text of a question, and what around it makes it another question."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nearhit.domain.entry import MAX_PROMPT_CHARS
from nearhit.domain.prompt import Bypass, PromptText, canonical_text, read_prompt
from nearhit.domain.scope import Scope, scope_digest
from tests.support.ids import stable

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.binary(max_size=8)
KEYS = st.sampled_from(
    [
        *("role", "content", "type", "text", "tool_calls", "function", "function_call", "arguments", "name", "id"),
        *("image_url", "output", "call_id", "input", "summary", "audio"),
    ]
)
WORDS = st.sampled_from(
    ["user", "assistant", "tool", "text", "input_text", "image_url", "function_call", "message", "reasoning", "hi"]
)
ANYTHING = st.recursive(
    SCALARS | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
TEXTS = st.text(min_size=1, max_size=200)


def question(prompt: Any) -> PromptText:
    found = read_prompt(prompt)
    assert isinstance(found, PromptText), found
    return found


def scope_of(prompt: Any) -> str:
    return scope_digest(Scope(), question(prompt).context)


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


class Model:
    """A pydantic model as far as anybody outside pydantic can see."""

    def __init__(self, **values: Any) -> None:
        self._values = values

    def model_dump(self) -> dict[str, Any]:
        return self._values


@given(ANYTHING)
def test_anything_of_the_shape_of_json_is_a_question_or_a_named_bypass(prompt: Any) -> None:
    found = read_prompt(prompt)
    assert isinstance(found, PromptText | Bypass)
    if isinstance(found, PromptText):
        assert found.text


@given(ANYTHING)
def test_messages_of_any_shape_are_a_question_or_a_named_bypass(content: Any) -> None:
    for prompt in ([user(content)], [{"role": "tool", "content": content}, user("x")], [user("x"), content]):
        assert isinstance(read_prompt(prompt), PromptText | Bypass)


@given(TEXTS)
def test_the_canonical_text_of_a_canonical_text_is_itself(text: str) -> None:
    found = read_prompt(text)
    if isinstance(found, PromptText):
        assert read_prompt(found.text) == found
        assert unicodedata.is_normalized("NFC", found.text)
        assert found.text == found.text.rstrip()
        assert not any(line.endswith((" ", "\t")) for line in found.text.split("\n"))
        assert "\r" not in found.text


SPACE = st.sampled_from([" ", "\t", "  \t", ""])
LINES = st.lists(st.text("abcé  \t", max_size=6), min_size=1, max_size=5)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), SPACE, st.sampled_from(["", "\n", " \r\n\n"]))
def test_line_ends_and_space_that_nobody_sees_are_folded(lines: list[str], end: str, space: str, around: str) -> None:
    plain, shown = (
        read_prompt("\n".join(lines)),
        read_prompt(around + end.join(line + space for line in lines) + around),
    )
    assert plain == shown


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("if a:\n    b()\n    c()", "if a:\n    b()\nc()"),
        ("a:\n  b: 1\n  c: 2", "a:\n  b: 1\nc: 2"),
        ("    a: 1\n  b: 2", "  a: 1\n  b: 2"),
        ("x = 'a  b'", "x = 'a b'"),
        ("a\tb", "a b"),
        ("a\n\nb", "a\nb"),
        ("a\nb", "a b"),
    ],
)
def test_white_space_within_and_before_a_line_counts(one: str, other: str) -> None:
    assert question(one).text != question(other).text
    assert question([user(one)]).text != question([user(other)]).text
    turns = [{"role": "assistant", "content": one}], [{"role": "assistant", "content": other}]
    assert scope_of([*turns[0], user("why?")]) != scope_of([*turns[1], user("why?")])


def test_blank_lines_around_and_the_indentation_of_a_single_line_do_not_count() -> None:
    assert question("\n \n  what is it \n\t").text == "what is it"
    assert question("\n  a\n  b\n").text == "  a\n  b"


def test_two_spellings_of_one_letter_are_one_text() -> None:
    assert question("cafe\u0301").text == question("caf\u00e9").text == "café"


@pytest.mark.parametrize(
    "text", ["मैं पासवर्ड कैसे बदलूँ?", "パスワードを変更する方法", "как дела", "كيف حالك", "👩‍👩‍👧 hi", "ﬁn"]
)
def test_every_script_keeps_its_letters(text: str) -> None:
    assert question(text).text == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("", Bypass.EMPTY),
        (" \n\t\0", Bypass.EMPTY),
        (b"", Bypass.EMPTY),
        ([], Bypass.EMPTY),
        ([user("")], Bypass.EMPTY),
        ([user(None)], Bypass.EMPTY),
        ([user([])], Bypass.EMPTY),
        (b"\xff\xfe", Bypass.NOT_UNICODE),
        ("\ud800", Bypass.NOT_UNICODE),
        ("x" * (MAX_PROMPT_CHARS + 1), Bypass.TOO_LONG),
        ("x" * 1_000_000, Bypass.TOO_LONG),
        ("é " * 1_000_000, Bypass.TOO_LONG),
        ([user([image("http://x/1.png")])], Bypass.NOT_TEXT),
        ([{"role": "system", "content": "be nice"}], Bypass.NOT_TEXT),
        (None, Bypass.NOT_TEXT),
        (5, Bypass.NOT_TEXT),
        ({"role": "user", "content": "hi"}, Bypass.NOT_TEXT),
        ((message for message in [user("hi")]), Bypass.NOT_TEXT),
        ({"a set"}, Bypass.NOT_TEXT),
        (["hi"], Bypass.UNKNOWN_PART),
        ([user(5)], Bypass.UNKNOWN_PART),
        ([user({"text": "hi"})], Bypass.UNKNOWN_PART),
        ([user([{"type": "hologram", "text": "hi"}])], Bypass.UNKNOWN_PART),
        ([user([{"type": ["text"], "text": "hi"}])], Bypass.UNKNOWN_PART),
        ([user([{"type": "text", "text": 5}])], Bypass.UNKNOWN_PART),
        ([user(part for part in ["hi"])], Bypass.UNKNOWN_PART),
        ([{"role": "assistant", "tool_calls": 5}, user("hi")], Bypass.UNKNOWN_PART),
        ([{"role": "assistant", "tool_calls": [5]}, user("hi")], Bypass.UNKNOWN_PART),
        ([{"role": "assistant", "tool_calls": [{"function": 5}]}, user("hi")], Bypass.UNKNOWN_PART),
        ([{"type": "item_reference", "id": "msg_1"}, user("hi")], Bypass.UNKNOWN_PART),
    ],
    ids=stable,
)
def test_what_cannot_be_cached_is_bypassed_by_name(prompt: Any, reason: Bypass) -> None:
    assert read_prompt(prompt) is reason


def test_the_longest_text_is_still_a_question() -> None:
    assert len(question("x" * MAX_PROMPT_CHARS).text) == MAX_PROMPT_CHARS


@pytest.mark.parametrize(
    "prompt",
    [
        *("what is it", b"what is it", [user("what is it")], (user(" what is it"),), [Model(**user("what is it"))]),
        *([user([{"type": "text", "text": "what is it"}])], [user(["what is it"])]),
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "what is it"}]}],
        [user([Model(type="text", text="what is it")])],
    ],
    ids=stable,
)
def test_every_way_to_say_one_plain_question_is_one_question(prompt: Any) -> None:
    assert question(prompt).text == "what is it"
    assert scope_of(prompt) == scope_digest(Scope())


def test_the_last_user_message_is_the_question_and_all_else_is_its_scope() -> None:
    asked = [{"role": "system", "content": "Be brief."}, user("A?"), {"role": "assistant", "content": "a"}, user("B?")]
    assert question(asked).text == "B?"
    others = [
        [user("B?")],
        [asked[0], user("B?")],
        [asked[0], user("C?"), asked[2], user("B?")],
        [asked[0], user("A?"), {"role": "assistant", "content": "b"}, user("B?")],
        [asked[0], asked[2], user("A?"), user("B?")],
        [*asked, {"role": "assistant", "content": "Well,"}],
        [user("Be brief."), user("A?"), asked[2], user("B?")],
    ]
    assert len({scope_of(one) for one in [asked, *others]}) == len(others) + 1


def test_the_name_of_who_asks_is_part_of_the_question() -> None:
    assert scope_of([user("What is my name?", name="ann")]) != scope_of([user("What is my name?", name="bob")])


def test_an_image_counts_by_what_it_is_and_where_it_stands() -> None:
    def ask(*parts: Any) -> str:
        return scope_of([user(list(parts))])

    text, more = {"type": "text", "text": "what is"}, {"type": "text", "text": "this"}
    different = [
        ask(text, more),
        ask(text, more, image("data:1")),
        ask(text, more, image("data:2")),
        ask(image("data:1"), text, more),
        ask(text, image("data:1"), more),
        ask(text, more, image("data:1"), image("data:2")),
        ask(text, more, image("data:2"), image("data:1")),
    ]
    assert len(set(different)) == len(different)


def test_a_large_image_is_kept_as_a_digest() -> None:
    found = question([user(["hi", image("data:image/png;base64," + "A" * 2_000_000)])])
    assert len(found.context) == 32


def turn(**changes: Any) -> list[Any]:
    call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1, "b": 2}'}}
    call.update(changes)
    return [
        user("Where is it?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "here"},
        user("And now?"),
    ]


def test_ids_of_tool_calls_do_not_split_but_names_and_arguments_do() -> None:
    assert scope_of(turn(id="call_2")) == scope_of(turn())
    reordered = {"name": "find", "arguments": '{"b":2,"a":1}'}
    assert scope_of(turn(function=reordered)) == scope_of(turn())
    for function in ({"name": "seek", "arguments": '{"a": 1, "b": 2}'}, {"name": "find", "arguments": '{"a": 2}'}):
        assert scope_of(turn(function=function)) != scope_of(turn())


def responses(**changes: Any) -> list[Any]:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "find", "arguments": "{}", **changes}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "here"}
    return [user("Where?"), call, result, user("Now?")]


def test_function_calls_of_the_responses_api_split_as_tool_calls_do() -> None:
    assert scope_of(responses(id="fc_2", call_id="c2")) == scope_of(responses())
    assert scope_of(responses(name="seek")) != scope_of(responses())
    assert scope_of(responses(arguments='{"a": 1}')) != scope_of(responses())
    other = responses()
    other[2] = {**other[2], "output": "there"}
    assert scope_of(other) != scope_of(responses())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"type": "custom_tool_call", "name": "x", "input": "a"},
            {"type": "custom_tool_call", "name": "x", "input": "b"},
        ),
        ({"type": "mcp_call", "name": "x", "arguments": "a"}, {"type": "mcp_call", "name": "x", "arguments": "b"}),
        ({"type": "file_search_call", "results": ["a"]}, {"type": "file_search_call", "results": ["b"]}),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, {"role": "assistant", "audio": {"id": "b"}}),
        ({"role": "assistant", "refusal": "no"}, {"role": "assistant", "refusal": "never"}),
    ],
    ids=stable,
)
def test_what_else_a_turn_says_splits_the_cache(one: Any, other: Any) -> None:
    assert scope_of([user("A?"), one, user("B?")]) != scope_of([user("A?"), other, user("B?")])


def test_a_turn_dumped_with_its_empty_fields_is_the_same_turn() -> None:
    short = {"role": "assistant", "content": "a"}
    full = Model(**short, refusal=None, annotations=[], audio=None, function_call=None, tool_calls=None, id="msg_7")
    assert scope_of([user("A?"), full, user("B?")]) == scope_of([user("A?"), short, user("B?")])


def results(*pairs: tuple[str, str], ids: str = "ab") -> list[dict[str, Any]]:
    """A chat in which two calls are answered, by the number of the call and in the order given."""
    calls = [
        {"id": name, "type": "function", "function": {"name": "capital", "arguments": f'{{"of": "{of}"}}'}}
        for name, of in zip(ids, ("France", "Italy"), strict=True)
    ]
    said = [{"role": "tool", "tool_call_id": ids[int(number)], "content": text} for number, text in pairs]
    return [user("?"), {"role": "assistant", "content": None, "tool_calls": calls}, *said, user("Capital of France?")]


def test_results_of_two_calls_that_change_places_are_another_conversation() -> None:
    right = scope_of(results(("0", "Paris"), ("1", "Rome")))
    assert scope_of(results(("0", "Rome"), ("1", "Paris"))) != right
    assert scope_of(results(("1", "Paris"), ("0", "Rome"))) != right
    assert scope_of(results(("0", "Paris"), ("1", "Rome"), ids="xy")) == right


def test_results_of_two_items_that_change_places_are_another_conversation() -> None:
    def ask(first: str, second: str, ids: str = "ab") -> str:
        calls = [
            {
                "type": "function_call",
                "id": f"fc_{name}",
                "call_id": name,
                "name": "capital",
                "arguments": f'{{"of": "{of}"}}',
            }
            for name, of in zip(ids, ("France", "Italy"), strict=True)
        ]
        said = [
            {"type": "function_call_output", "call_id": name, "output": text}
            for name, text in zip(ids, (first, second), strict=True)
        ]
        return scope_of([user("?"), *calls, *said, user("Capital of France?")])

    assert ask("Paris", "Rome") != ask("Rome", "Paris")
    assert ask("Paris", "Rome", "xy") == ask("Paris", "Rome")


@pytest.mark.parametrize("change", [{"name": "shell"}, {"input": "DROP TABLE users"}], ids=str)
def test_a_custom_call_counts_by_its_name_and_its_input(change: dict[str, str]) -> None:
    said = {"name": "sql", "input": "SELECT 1"}

    def ask(custom: dict[str, str]) -> str:
        call = {"id": "c1", "type": "custom", "custom": custom}
        result = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
        return scope_of([user("?"), {"role": "assistant", "tool_calls": [call]}, result, user("Now?")])

    assert ask({**said, **change}) != ask(said)


def test_words_that_move_across_an_image_make_another_question_to_the_semantic_tier_too() -> None:
    one = [user(["what is", image("data:1"), "this animal"])]
    other = [user(["what is this", image("data:1"), "animal"])]
    assert scope_of(one) != scope_of(other)
    joined = [user(["what\nis", image("data:1"), "this"])], [user(["what", image("data:1"), "is\nthis"])]
    assert question(joined[0]).text == question(joined[1]).text
    assert scope_of(joined[0]) != scope_of(joined[1])


def test_a_question_with_an_image_before_or_after_it_has_one_scope_in_all_words() -> None:
    one, other = "what is this", "what do you see"
    assert scope_of([user([image("data:1"), one])]) == scope_of([user([image("data:1"), other])])
    assert scope_of([user([one, image("data:1")])]) == scope_of([user([other, image("data:1")])])


@pytest.mark.parametrize(
    "arguments",
    ['{"a": 1, "a": 2}', '{"a": 12345678901234567890.5}', '{"a": NaN}', '{"a": 1e999}', '"{}"', "[]"],
)
def test_arguments_that_lose_something_when_they_are_read_stand_for_themselves(arguments: str) -> None:
    texts = [arguments, arguments.replace("1", "3", 1), arguments.replace("NaN", "Infinity"), "{}", '{"a":2}']
    scopes = {scope_of(turn(function={"name": "find", "arguments": one})) for one in texts}
    assert len(scopes) == len(set(texts))


def test_the_id_of_an_item_that_stands_for_what_the_provider_keeps_counts() -> None:
    def ask(kind: str, name: str) -> str:
        return scope_of([user("?"), {"type": kind, "id": name, "summary": []}, user("Now?")])

    assert ask("reasoning", "rs_1") != ask("reasoning", "rs_2")
    assert ask("message", "msg_1") == ask("message", "msg_2")


class Broken(dict[str, Any]):
    """A mapping that fails when it is read."""

    def items(self) -> Any:
        raise RuntimeError("no items")

    def get(self, *_: Any) -> Any:
        raise RuntimeError("nothing to get")


def test_a_message_that_fails_when_it_is_read_is_a_bypass() -> None:
    assert read_prompt([Broken(role="user"), user("hi")]) is Bypass.UNKNOWN_PART


def test_arguments_nested_without_end_are_a_bypass() -> None:
    function = {"name": "find", "arguments": "[" * 100_000}
    assert isinstance(read_prompt(turn(function=function)), PromptText | Bypass)


def test_the_text_of_bytes_is_that_of_the_string() -> None:
    assert canonical_text("caf\u00e9 \n".encode()) == "café"
