from __future__ import annotations

import subprocess
import sys

import pytest

from nearhit.embedding.deadline_embedder import DeadlineEmbedder
from nearhit.embedding.litellm_embedder import LiteLLMEmbedder
from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.embedding.resolve import embedder_for
from nearhit.errors import ConfigError
from nearhit.testing import HashEmbedder


def test_local_minilm_is_the_local_model() -> None:
    embedder = embedder_for("local/minilm", runtime="numpy")
    assert isinstance(embedder, MiniLMEmbedder)
    assert (embedder.name, embedder.in_process) == ("local/minilm", True)


def test_a_hash_dimension_is_the_hash_embedder() -> None:
    embedder = embedder_for("hash/48")
    assert isinstance(embedder, HashEmbedder)
    assert embedder.embed(["a"], 1.0).vectors.shape == (1, 48)


def test_any_other_string_is_a_model_of_litellm_under_a_deadline() -> None:
    embedder = embedder_for("openai/text-embedding-3-small", api_key="sk-secret")
    assert isinstance(embedder, DeadlineEmbedder)
    assert isinstance(embedder.inner, LiteLLMEmbedder)
    assert (embedder.name, embedder.in_process) == ("openai/text-embedding-3-small", False)
    assert "sk-secret" not in repr(embedder)


@pytest.mark.parametrize("model", ["", "hash/", "hash/x", "hash/-1", "hash/0", "hash/²"])
def test_a_string_that_names_nothing_is_refused(model: str) -> None:
    with pytest.raises(ConfigError):
        embedder_for(model)


@pytest.mark.parametrize("model", ["local/minilm", "hash/8", "openai/x"])
def test_an_unknown_option_is_refused_by_name(model: str) -> None:
    with pytest.raises(ConfigError, match="colour"):
        embedder_for(model, colour="red")


@pytest.mark.parametrize("option", [{"dimensions": 0}, {"max_texts_per_call": 0}])
def test_a_number_below_one_is_refused_by_name(option: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(option))}=0"):
        embedder_for("openai/x", **option)


def test_naming_a_hosted_model_does_not_import_litellm() -> None:
    script = (
        "import sys; from nearhit.embedding.resolve import embedder_for; embedder_for('openai/x');"
        "print('litellm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
