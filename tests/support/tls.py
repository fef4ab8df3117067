"""TLS in front of a plain server, with a certificate of its own."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Tls:
    """Speaks TLS on a port of its own and carries everything to a plain server, which may come and go.

    Args:
        target: the plain server's port.
        folder: where the certificate is made.
        client_certificate: ask for one of the client, too.
    """

    def __init__(self, target: int, folder: Path, *, client_certificate: bool = False) -> None:
        self.ca = folder / "cert.pem"
        self.key = key = folder / "key.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(self.ca)]
        subprocess.run(command, check=True, capture_output=True)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.ca, key)
        if client_certificate:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(self.ca)
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = {self._socket}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._socket.accept()
            except OSError:
                return
            # a client that stops in its handshake holds up nobody but itself
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        held = [plain]
        with suppress(OSError):
            self._hold(plain)
            held.append(near := self._hold(self._context.wrap_socket(plain, server_side=True)))
            held.append(far := self._hold(socket.create_connection(("127.0.0.1", self._target))))
            back = threading.Thread(target=self._carry, args=(far, near), daemon=True)
            back.start()
            self._carry(near, far)
            back.join()
        with self._lock:
            for one in held:
                self._open.discard(one)
                one.close()

    def _hold(self, one: socket.socket) -> socket.socket:
        with self._lock:
            self._open.add(one)
        return one

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
