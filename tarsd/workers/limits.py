"""What a worker may use of the machine; applied by the child to itself before it imports foreign code.

Rules
1. Memory is bounded by RLIMIT_DATA: private writable memory. RLIMIT_AS would count a mapped model file and the
   address space that allocators only reserve. Each process that the worker starts has the same bound for itself.
2. A worker leaves no core dump: it would hold people's text.
3. A worker dies with its parent: by signal (PR_SET_PDEATHSIG), and by the end of its pipe.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal

import msgspec

from tarsd.errors import WorkerLost
from tarsd.wire import MIB
from tarsd.workers import seccomp

_PR_SET_PDEATHSIG = 1


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one worker.

    `memory_mib`: private writable memory (rule 1), 0 = none; beyond it allocations fail and the worker is lost.
    `files`: open files. `no_network`: socket(2) of every family is refused (seccomp, needs no privilege).
    `nice`: added to the parent's niceness.
    """

    memory_mib: int = 0
    files: int = 256
    no_network: bool = False
    nice: int = 0


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; exit if that was before."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def apply(limits: WorkerLimits) -> None:
    """Bind this process, and all it will start, to `limits`; raises `WorkerLost` where the system refuses one."""
    try:
        leave_no_core()
        _lower(resource.RLIMIT_NOFILE, limits.files)
        if limits.memory_mib:
            _lower(resource.RLIMIT_DATA, limits.memory_mib * MIB)
        if limits.nice:
            os.nice(limits.nice)
        if limits.no_network:
            seccomp.refuse_network()
    except (OSError, ValueError) as error:
        raise WorkerLost(f"the worker's limits could not be set: {error}") from error


def leave_no_core() -> None:
    """Have the system write no core dump of this process nor of those it starts: it would hold people's text."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lower(what: int, bound: int) -> None:
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(what, (bound, bound))
