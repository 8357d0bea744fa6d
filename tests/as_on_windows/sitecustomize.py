"""Lets the program's modules see a Python as Windows has it, in every process that has this folder on its path.

What only POSIX has is gone from ``os``, ``signal``, ``time``, ``select`` and ``socket``, and ``sys.platform`` and
``os.name`` are those of Windows, but for the modules of the program alone: Python and the libraries need the real ones.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROGRAM = {"maskmatch_med", "maskmatch_app"}
MODULES = _words("fcntl grp posix pty pwd resource syslog termios tty")
"""What cannot be imported."""
NAMES = {
    "os": _words(
        "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG "
        "WTERMSIG chown chroot confstr eventfd fchdir fchmod fchown fdatasync fork forkpty fstatvfs "
        "getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid "
        "getxattr initgroups killpg lchown lockf memfd_create mkfifo mknod nice openpty pipe2 "
        "posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv "
        "register_at_fork sched_getaffinity sched_setaffinity sched_yield sendfile setegid seteuid "
        "setgid setgroups setpgid setpriority setresuid setsid setuid setxattr statvfs sync sysconf "
        "tcgetpgrp ttyname uname wait wait3 wait4 waitid writev "
    ),
    "signal": _words(
        "ITIMER_REAL SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP "
        "SIGUSR1 SIGUSR2 SIGXCPU SIGXFSZ alarm pause pthread_kill pthread_sigmask setitimer siginterrupt "
        "sigpending sigtimedwait sigwait sigwaitinfo "
    ),
    "time": _words("clock_settime pthread_getcpuclockid tzset"),
    "select": _words("devpoll epoll kqueue poll"),
    "socket": _words("AF_UNIX SO_REUSEPORT"),
    "sys": _words("getdlopenflags setdlopenflags abiflags"),
}
"""What cannot be asked of a module."""
CHANGED: dict[str, dict[str, Any]] = {"os": {"name": "nt"}, "sys": {"platform": "win32"}}


class _StandIn(ModuleType):
    """A module without some of its names."""

    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        whole = self.__dict__["_real"].__name__
        if name in CHANGED.get(whole, {}):
            return CHANGED[whole][name]
        if name in NAMES[whole]:
            raise AttributeError(f"module {whole!r} has no attribute {name!r}")
        return getattr(self.__dict__["_real"], name)


def _import(name: str, space: Any = None, local: Any = None, wanted: Any = (), level: int = 0) -> ModuleType:
    if level == 0 and name in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if level == 0 and name in NAMES:
        return _StandIn(importlib.import_module(name))
    return builtins.__import__(name, space, local, wanted, level)


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.partition(".")[0] in PROGRAM else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder)  # type: ignore[arg-type]
