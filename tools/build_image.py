"""Build image: builds the real Dockerfile where there is no Docker, and lets the image prove itself.

``python -m tools.build_image`` needs root and Debian's buildah and debootstrap. Python's image cannot be pulled without
its registry: Debian's own python3.13 on the same release, trixie, stands in for it under its name. The worker of the
built image then runs as the image says, the doctor in it looks at everything, and nothing but /tmp may be written.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nearhit_worker.stack import Child, ValkeyServer, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
BASE = "docker.io/library/python:3.13-slim-trixie"
IMAGE = "nearhit:built"
FOLDER = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "nearhit" / "image"
PACKAGES = "python3,python3-venv,ca-certificates"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


def buildah(*words: str) -> list[str]:
    """Return a command of buildah that keeps everything in a folder of its own and needs no daemon."""
    storage = ("--root", f"{FOLDER}/storage", "--runroot", f"{FOLDER}/run", "--storage-driver", "vfs")
    return ["buildah", *storage, *words]


def said(*words: str) -> str:
    """Run buildah and return what it says."""
    return subprocess.run(buildah(*words), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()  # noqa: S603


@contextmanager
def container(image: str) -> Iterator[str]:
    """Make a container, and remove it afterwards."""
    name = said("from", "--pull-never", image)
    try:
        yield name
    finally:
        said("rm", name)


def make_base() -> None:
    """Make the image that the Dockerfile begins with, unless it is there."""
    if BASE in said("images", "--format", "{{.Name}}:{{.Tag}}").split():
        return
    with tempfile.TemporaryDirectory() as folder, container("scratch") as name:
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "trixie", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
        said("add", "--quiet", name, folder, "/")
        said("run", "--isolation", "chroot", name, "--", "ln", "-sf", "/usr/bin/python3", "/usr/local/bin/python")
        said("config", "--env", f"PATH={PATH}", name)
        said("commit", "--quiet", name, BASE)


def build() -> None:
    """Build the Dockerfile; the certificates of this machine go along, for registries behind a proxy."""
    how = (
        "--isolation",
        "chroot",
        "--pull-never",
        "--format",
        "docker",
        "--volume",
        "/etc/ssl/certs:/etc/ssl/certs:ro",
    )
    subprocess.run(buildah("bud", "--quiet", *how, "--tag", IMAGE, str(ROOT)), check=True)  # noqa: S603


def answers(worker: Child, port: int) -> bool:
    """Return whether a worker says that it is ready."""
    worker.check()
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
        return True
    return False


def prove() -> None:
    """Run a worker of the image and the doctor beside it.

    Raises:
        SystemExit: a check fails, or something was written outside of /tmp.
    """
    with tempfile.TemporaryDirectory() as folder, ValkeyServer(Path(folder) / "valkey") as server:
        port = free_port()
        values = {"THRESHOLD": "0.9", "URL": server.url, "METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(port)}
        given = [word for name, value in values.items() for word in ("--env", f"NEARHIT_{name}={value}")]
        with container(IMAGE) as name:
            stamp = Path(folder) / "stamp"
            stamp.touch()
            run = buildah("run", "--isolation", "chroot", *given, name, "--")
            worker = Child("worker", [*run, "python", "-m", "nearhit_worker"], Path(folder))
            try:
                wait_until(lambda: answers(worker, port), 120, "the worker is ready")
                subprocess.run([*run, "nearhit", "doctor"], check=True)  # noqa: S603
            finally:
                worker.stop()
                sys.stdout.write(f"{worker.tail(50)}\n")
            outside = [
                "find",
                said("mount", name),
                "-xdev",
                "-newer",
                str(stamp),
                "-type",
                "f",
                "-not",
                "-path",
                "*/tmp/*",
            ]
            written = subprocess.run(outside, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
            if written:
                raise SystemExit(f"written outside of /tmp:\n{written}")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    make_base()
    build()
    prove()
    sys.stdout.write(f"{IMAGE} is built and does its work\n")
