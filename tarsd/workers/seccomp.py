"""A seccomp filter that takes the network from a process and all its children, for good.

Rules (the BPF program in this order)
1. A system call of another architecture's table (i386 on x86-64) is refused: its numbers mean other things.
2. So are the x32 numbers of x86-64.
3. socket(2) is refused for every family: AF_UNIX would still reach D-Bus or a container engine. socketpair(2) stays.
4. io_uring_setup(2) is refused: a ring can open sockets without a system call that a filter sees.
Everything refused fails with EPERM, so that foreign code reports it instead of being killed.

Set by prctl(2), not seccomp(2): systemd's @system-service allows only the former.
Source: Linux Documentation/userspace-api/seccomp_filter.rst, include/uapi/linux/{filter,seccomp,audit}.h
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import NamedTuple

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_RET_ALLOW = 0x7FFF0000
_RET_EPERM = 0x00050000 | errno.EPERM

# Offsets in struct seccomp_data.
_AT_NUMBER = 0
_AT_ARCH = 4

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_X32_BIT = 0x40000000
_INSTRUCTION = struct.Struct("=HBBI")


class _Machine(NamedTuple):
    audit_arch: int
    socket: int
    io_uring_setup: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 425),
    "aarch64": _Machine(0xC00000B7, 198, 425),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def program(machine: str) -> bytes:
    """Return the BPF program for `machine` (as `platform.machine()` names it); raises `OSError` for an unknown one."""
    try:
        known = _MACHINES[machine]
    except KeyError:
        raise OSError(errno.ENOSYS, f"no network filter is known for {machine}") from None
    refuse, allow = 6, 7  # indexes of the last two; a jump counts from the instruction after its own
    lines = [
        (_LOAD, 0, 0, _AT_ARCH),
        (_JUMP_EQUAL, 0, refuse - 2, known.audit_arch),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_JUMP_AT_LEAST, refuse - 4, 0, _X32_BIT),
        (_JUMP_EQUAL, refuse - 5, 0, known.socket),
        (_JUMP_EQUAL, refuse - 6, allow - 6, known.io_uring_setup),
        (_RETURN, 0, 0, _RET_EPERM),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    return b"".join(_INSTRUCTION.pack(*line) for line in lines)


def refuse_network() -> None:
    """Install the filter on this thread, so before other threads start; raises `OSError` where it cannot be."""
    code = program(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS: " + os.strerror(ctypes.get_errno()))
    filter_ = _Program(len(code) // _INSTRUCTION.size, code)
    if libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_SECCOMP: " + os.strerror(ctypes.get_errno()))
