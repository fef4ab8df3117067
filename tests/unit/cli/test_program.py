"""The program: from words to a command, and from any failure to one line and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nearhit.cli import main
from nearhit.cli.program import COMMANDS

NAMES = [command.name for command in COMMANDS]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NEARHIT_THRESHOLD", "NEARHIT_URL", "NEARHIT_MODEL", "NEARHIT_DEBUG", "NEARHIT_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


def test_the_overview_names_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in NAMES if f"\n  {name} " not in shown] == []
    assert "0 ok or hit · 1 miss, failed check · 2 usage, settings · 3 unavailable · 130 Ctrl-C" in shown


def test_nothing_typed_shows_the_overview_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: nearhit COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_with_examples_that_name_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: nearhit {name}")
    assert f"nearhit {name}" in shown.partition("examples:")[2]


def test_help_before_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "stats"]) == 0
    assert capsys.readouterr().out.startswith("usage: nearhit stats")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nearhit 0.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["luckup", "x"], "there is no command 'luckup'; did you mean 'lookup'?"),
        (["--json", "stats"], "options come after the command: nearhit COMMAND --json"),
        (["lookup"], "nearhit lookup: the following arguments are required: TEXT"),
        (["lookup", "x", "--threshold", "2"], "threshold must be a similarity above 0 and at most 1, not 2.0"),
        (["lookup", "x", "--threshold", "high"], "argument --threshold: invalid float value: 'high'"),
        (["lookup", "x", "--model", "openai/x"], "NEARHIT_THRESHOLD is not set"),
        (["lookup", "x", "--url", "http://h"], "the server url has scheme 'http'"),
        (["lookup", "x", "--namespace", "a b"], "namespace 'a b' must be"),
        (["lookup", "x", "--engine", "faiss"], "engine must be one of auto, valkey-search, local, not 'faiss'"),
        (["lookup", "x", "--scope", "model"], "--scope takes KEY=VALUE, not 'model'"),
        (["fill", "only a prompt"], "ANSWER is missing"),
        (["explain", "a", "b", "--similarity", "3"], "--similarity must be -1 to 1, not 3.0"),
        (["up", "--port", "99999"], "--port must be 0 to 65535, not 99999"),
        (["up", "--module", "/no/such.so"], "--module: there is no file '/no/such.so'"),
        (["model", "paint"], "argument action: invalid choice: 'paint'"),
        (["invalidate"], "needs --prompt, --scope, --tenant, --older-than-seconds, --embedder or --everything"),
        (["invalidate", "--older-than-seconds", "-1"], "nearhit: --older-than-seconds must be 0 or more, not -1.0"),
        (["invalidate", "--embedder", "x"], "nearhit: --embedder must be a fingerprint of 12 hex digits, not 'x'"),
        (["invalidate", "--tenant", ""], "nearhit: --tenant must be text, not ''"),
        (["export", "--to", "backup.csv"], "--to backup.csv: export writes .jsonl or .parquet, not .csv"),
        (["stats", "--namespce", "x"], "nearhit stats: No such option '--namespce'"),
        (["evaluate", "no.jsonl"], "nearhit: no.jsonl cannot be read: No such file or directory\n"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["lookup", "--json"], 2, "the following arguments are required: TEXT (see nearhit lookup --help)"),
        (["lookup", "x", "--threshold", "2", "--json"], 2, "threshold must be a similarity"),
        (["stats", "--json", "--url", "valkey://127.0.0.1:1"], 3, "127.0.0.1:1 does not answer"),
        (["evaluate", "no.jsonl", "--json"], 2, "no.jsonl cannot be read: No such file or directory"),
    ],
)
def test_with_json_an_error_is_a_document_and_a_line_on_stderr(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == code
    shown = capsys.readouterr()
    assert said in json.loads(shown.out)["error"]
    assert shown.err.endswith(f": {json.loads(shown.out)['error']}\n")


def test_the_overview_loads_no_command_and_none_of_what_commands_need() -> None:
    program = "import sys; from nearhit.cli import main; main(['--help']); print('loaded', *sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.partition("loaded\n")[2].splitlines())
    assert "click" in loaded
    assert loaded & {"numpy", "redis", "celery", "kombu", "rich", "nearhit.cache", "nearhit.settings"} == set()
    assert [name for name in NAMES if f"nearhit.cli.{name}" in loaded] == []


def test_explain_gives_the_weighed_numbers_when_they_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "Solo for 4 people?", "Solo for 9 people?", "--similarity", "0.98", "--json"]
    assert main(words) == 1
    assert "features" not in json.loads(capsys.readouterr().out)
    assert main([*words, "--features"]) == 1
    assert len(json.loads(capsys.readouterr().out)["features"]) > 10


@pytest.mark.parametrize("words", [["lookup", "x"], ["stats"], ["fill", "a", "b", "--wait"]])
def test_a_server_that_is_not_there_is_one_line_and_code_3(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--url", "valkey://127.0.0.1:1"]) == 3
    shown = capsys.readouterr()
    assert "127.0.0.1:1 does not" in shown.err
    assert shown.err.count("\n") == 1


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NEARHIT_POLL_SECONDS", "often")
    assert main(["stats"]) == 2
    assert capsys.readouterr().err == "nearhit: NEARHIT_POLL_SECONDS must be a number from 0.01 to 3600, not 'often'\n"
