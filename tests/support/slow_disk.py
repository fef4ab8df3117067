"""Slow disk: a valkey-server whose fsync takes as long as a test says, without a compiler, a debugger or root.

The server runs under a seccomp filter that hands each fsync and fdatasync to this process (user notification, Linux
5.5 or newer). A thread waits for as long as the disk is to take and lets the call go on. The kernel then does it as
usual, so that nothing but time changes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Self

import pytest
from nearhit_worker.stack import ValkeyServer

_SYSTEM_CALLS = {"x86_64": (0xC000003E, 74, 75), "aarch64": (0xC00000B7, 82, 83)}
"""The kernel's number of the machine, of fsync and of fdatasync; from linux/audit.h and the tables of system calls."""

_RECEIVE = 0xC0502100
_SEND = 0xC0182101
"""SECCOMP_IOCTL_NOTIF_RECV and _SEND of linux/seccomp.h, which hold the sizes of the two structures, 80 and 24."""

_GO_ON = 1
"""SECCOMP_USER_NOTIF_FLAG_CONTINUE: the kernel does the call."""

_LAUNCHER = """
import ctypes, os, platform, socket, struct, sys
machine, fsync, fdatasync = (int(word) for word in sys.argv[2:5])
word = lambda code, yes, no, value: struct.pack("=HBBI", code, yes, no, value)
program = b"".join((
    word(0x20, 0, 0, 4), word(0x15, 1, 0, machine), word(0x06, 0, 0, 0x7FFF0000),
    word(0x20, 0, 0, 0), word(0x15, 1, 0, fsync), word(0x15, 0, 1, fdatasync),
    word(0x06, 0, 0, 0x7FC00000), word(0x06, 0, 0, 0x7FFF0000),
))
held = ctypes.create_string_buffer(program)
class Filter(ctypes.Structure):
    _fields_ = [("size", ctypes.c_ushort), ("words", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
filter_ = Filter(8, ctypes.addressof(held))
channel = socket.socket(socket.AF_UNIX)
channel.connect(sys.argv[1])
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which only root may set a filter
call = {"x86_64": 317, "aarch64": 277}[platform.machine()]
listener = libc.syscall(call, 1, 8, ctypes.byref(filter_))  # SECCOMP_SET_MODE_FILTER, _FLAG_NEW_LISTENER
if listener < 0:
    sys.exit("seccomp: " + os.strerror(ctypes.get_errno()))
socket.send_fds(channel, [b"."], [listener])
channel.recv(1)
os.close(listener)
channel.close()
os.execv(sys.argv[5], sys.argv[5:])
"""


def missing() -> str:
    """Return what this machine lacks to slow an fsync down; empty for nothing."""
    there = sys.platform == "linux" and platform.machine() in _SYSTEM_CALLS
    return "" if there else "an fsync can be slowed down on Linux alone, on x86_64 and aarch64"


@dataclass
class SlowDiskServer(ValkeyServer):
    """A ``ValkeyServer`` whose fsync takes ``fsync_seconds`` more; may be changed while it runs.

    Attributes:
        fsync_seconds: how much longer each fsync and fdatasync takes.
        syncs: how many there were.
    """

    fsync_seconds: float = 0.0
    syncs: int = field(default=0, init=False)

    def start(self, timeout_seconds: float = 30.0) -> Self:
        """Start it under the filter."""
        if reason := missing():
            pytest.skip(reason)
        address = self.folder / "slow-disk.sock"
        self.folder.mkdir(parents=True, exist_ok=True)
        address.unlink(missing_ok=True)
        self._address = os.path.relpath(address)  # the path of a socket has at most 107 bytes
        door = socket.socket(socket.AF_UNIX)
        door.bind(self._address)
        door.listen(1)
        door.settimeout(timeout_seconds)
        threading.Thread(target=self._delay, args=(door,), name="slow-disk", daemon=True).start()
        return super().start(timeout_seconds)

    def command(self) -> list[str]:
        """Return the server's command behind one that sets the filter."""
        numbers = map(str, _SYSTEM_CALLS[platform.machine()])
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, self._address, *numbers, *super().command()]

    def _delay(self, door: socket.socket) -> None:
        with door:
            channel, _ = door.accept()
        with channel:
            _, listeners, _, _ = socket.recv_fds(channel, 1, 1)
            channel.send(b".")
        ready = select.poll()
        ready.register(listeners[0], select.POLLIN)
        try:
            while not any(events & select.POLLHUP for _, events in ready.poll()):
                self._let_one_pass(listeners[0])
        finally:
            os.close(listeners[0])

    def _let_one_pass(self, listener: int) -> None:
        asked = bytearray(80)
        try:
            fcntl.ioctl(listener, _RECEIVE, asked)
            self.syncs += 1
            time.sleep(self.fsync_seconds)
            (number,) = struct.unpack_from("=Q", asked)
            fcntl.ioctl(listener, _SEND, bytearray(struct.pack("=QqiI", number, 0, 0, _GO_ON)))
        except OSError as error:
            if error.errno != errno.ENOENT:  # the server was killed while it waited
                raise
