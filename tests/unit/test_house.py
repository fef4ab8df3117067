"""What the whole source keeps to, beyond what the linters check."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = [path for root in ("nearhit", "worker", "tasks") for path in sorted((ROOT / root).rglob("*.py"))]

BROAD = {
    "edges of the read path and of the callers' side of the write path": {
        *("cache.py SemanticCache.lookup", "cache.py SemanticCache.lookup_many", "cache.py SemanticCache.fill"),
        *("async_cache.py AsyncSemanticCache.lookup", "async_cache.py AsyncSemanticCache.lookup_many"),
        *(
            "async_cache.py AsyncSemanticCache.fill",
            "opener.py _Opening._noted",
            "langchain.py NearhitCache._judge",
            "backend.py Backend.edge",
        ),
    },
    "edges of the worker: tasks, messages, loops, and Celery's signals": {
        *("base_task.py NearhitTask._try", "app.py Process.refuse", "app.py StartProcess.start", "rows.py sort_rows"),
        *("consumer.py QuietConsumer.create_task_handler.on_message", "runtime.py run_quietly"),
        "transport.py frame_handler.on_frame",
    },
    "a caller's own prompt, scope or list": {
        *("prompt.py read_prompt", "question.py read_question", "question.py listed_prompts"),
        "scope.py canonical_json",
    },
    "a caller's own embedder or judge": {
        *("call_queue.py _shares", "joined_embedder.py JoinedEmbedder._make"),
        *("async_runner.py AsyncRunner._embed", "runner.py Runner._embed"),
        *("deadline_judge.py DeadlineJudge._translated", "deadline.py _run"),
    },
    "a caller's own credential provider": {
        *("async_cluster.py AsyncCluster._start", "async_cluster.py AsyncCluster._read_nodes"),
        *("async_single.py Lane._make", "cluster_client.py ClusterClient._run"),
        "connection_pool.py ConnectionPool._attempt",
    },
    "a library that raises a bare Exception, or one of any broker library's": {
        *("tokens.py Tokenizer.__init__", "onnx_judge.py _pieces", "onnx_judge.py _session", "client.py price"),
        *("path_checks.py check_broker", "task_request.py send", "wakeup.py CeleryWakeUp.handle"),
    },
}
"""Where everything may be caught. What is caught is counted, logged or raised again as an error of ours."""


def test_labels_of_series_are_bound_in_telemetry_alone() -> None:
    found = [str(path.relative_to(ROOT)) for path in SOURCES if ".labels(" in path.read_text(encoding="utf-8")]
    assert found == ["nearhit/telemetry/labelled.py"]


def test_everything_is_caught_only_where_it_is_allowed() -> None:
    found = {f"{path.name} {where}" for path in SOURCES for where in broad(ast.parse(path.read_bytes()))}
    assert found == {place for places in BROAD.values() for place in places}


def broad(node: ast.AST, where: str = "") -> Iterator[str]:
    """Give the names of the functions below ``node`` that catch ``Exception`` or more."""
    for child in ast.iter_child_nodes(node):
        inside = where
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = f"{where}.{child.name}".lstrip(".")
        elif isinstance(child, ast.ExceptHandler):
            names = {"BaseException"} if child.type is None else {ast.unparse(one) for one in ast.walk(child.type)}
            if names & {"Exception", "BaseException"}:
                yield where
        yield from broad(child, inside)
