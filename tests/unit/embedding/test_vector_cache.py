from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from nearhit.embedding.vector_cache import VectorCache
from nearhit.errors import ConfigError

ONE = np.array([1.0, 0.0], dtype=np.float32)


def test_a_kept_vector_comes_back() -> None:
    cache = VectorCache(2)
    cache.put("a", ONE)
    found = cache.get("a")
    assert found is not None
    assert found.tolist() == [1.0, 0.0]
    assert cache.get("b") is None


def test_neither_the_given_nor_the_returned_array_can_change_the_cache() -> None:
    cache, given = VectorCache(2), ONE.copy()
    cache.put("a", given)
    given[0] = 9
    found = cache.get("a")
    assert found is not None
    assert found[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 9


def test_a_row_of_a_large_batch_does_not_keep_the_batch_alive() -> None:
    cache = VectorCache(1)
    cache.put("a", np.ones((1000, 2), dtype=np.float32)[0])
    found = cache.get("a")
    assert found is not None
    assert found.base is None


def test_the_least_recently_used_text_is_dropped() -> None:
    cache = VectorCache(2)
    cache.put("a", ONE)
    cache.put("b", ONE)
    cache.get("a")
    cache.put("c", ONE)
    assert [text for text in "abc" if cache.get(text) is not None] == ["a", "c"]
    assert len(cache) == 2


def test_a_cache_of_no_entries_keeps_none() -> None:
    cache = VectorCache(0)
    cache.put("a", ONE)
    assert cache.get("a") is None


def test_a_cleared_cache_is_empty() -> None:
    cache = VectorCache(2)
    cache.put("a", ONE)
    cache.clear()
    assert len(cache) == 0


def test_a_negative_size_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="max_entries=-1"):
        VectorCache(-1)


def test_threads_never_get_another_texts_vector_nor_pass_the_bound() -> None:
    cache, wrong = VectorCache(50), []

    def work(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 200, 3000).tolist():
            found = cache.get(str(number))
            if found is None:
                cache.put(str(number), np.array([number], dtype=np.float32))
            elif found[0] != number:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(cache) == 50


FORK_SCRIPT = """
import os, sys
import numpy as np
from nearhit.embedding.vector_cache import VectorCache

cache = VectorCache(2)
cache.put("a", np.ones(2, dtype=np.float32))
cache._locks.get().acquire()  # as if another thread held the lock at the moment of the fork
pid = os.fork()
if pid == 0:
    os._exit(0 if cache.get("a") is not None else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_forked_child_is_not_held_by_its_parents_lock() -> None:
    done = subprocess.run([sys.executable, "-c", FORK_SCRIPT], timeout=20, check=False)
    assert done.returncode == 0


def test_a_dropped_text_is_forgotten_and_dropping_it_again_is_harmless() -> None:
    cache = VectorCache(2)
    cache.put("a", np.ones(3, dtype=np.float32))
    cache.pop("a")
    cache.pop("a")
    assert cache.get("a") is None
