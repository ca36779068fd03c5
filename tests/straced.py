"""A process that strace kills, or whose system calls it makes fail, at a chosen call."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import TracebackType

_SERVER = """
import gc, os, sys
{setup}
def work():
{work}
gc.freeze()
while os.read(0, 1) == b"f":
    child = os.fork()
    if child == 0:
        os.write(1, b"%d\\n" % os.getpid())
        os.read(0, 1)
        try:
            work()
        except OSError as error:
            os._exit(error.errno or 254)
        except BaseException:
            os._exit(255)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(status))
"""

FILE_CALLS = (
    "open,openat,creat,write,pwrite64,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,"
    "unlinkat,link,linkat,mkdir,mkdirat,rmdir,ftruncate,fchmod,fchown,chmod,chown,flock,close,"
    "stat,lstat,fstat,newfstatat,statx,readlink,readlinkat"
).split(",")


def why_not() -> str | None:
    """Why strace cannot be used here, if it cannot."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True)
    return None if probe.returncode == 0 else "strace may not trace here"


class Straced:
    """Runs the same work again and again, each time in a fresh fork of a prepared process.

    Args:
        setup: Python that prepares.
        work: The body of the function that is traced.
        arguments: `sys.argv[1:]`.
    """

    def __init__(self, setup: str, work: str, *arguments: object, **environment: str) -> None:
        body = "\n".join(f"    {line}" for line in work.strip().splitlines())
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER.format(setup=setup, work=body), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
        )

    def __enter__(self) -> Straced:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.kill()
        self._server.communicate()

    def run(self, *options: str) -> tuple[int, str]:
        """The exit code (0, an errno, or minus a signal) and strace's log of one run."""
        server = self._server
        assert server.stdin is not None and server.stdout is not None
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as log:
            os.write(server.stdin.fileno(), b"f")
            child = int(server.stdout.readline())
            strace = subprocess.Popen(
                ["strace", "-f", "-o", log.name, *options, "-p", str(child)],
                stderr=subprocess.PIPE,
            )
            assert strace.stderr is not None
            line = strace.stderr.readline()
            assert b"attached" in line, line
            os.write(server.stdin.fileno(), b"g")
            code = int(server.stdout.readline())
            strace.communicate()
            return code, Path(log.name).read_text(encoding="utf-8", errors="replace")

    def calls(self) -> dict[str, int]:
        """How often each file system call is made, at most, by one thread of the work."""
        code, log = self.run("-e", f"trace={','.join(known())}")
        assert code == 0, code
        per_thread = Counter(re.findall(r"^(\d+) +([a-z0-9_]+)\(", log, re.MULTILINE))
        most: dict[str, int] = {}
        for (_, name), count in per_thread.items():
            most[name] = max(most.get(name, 0), count)
        return most

    def kill_at(self, call: str, number: int) -> int:
        """Kills at the entry of this call; the exit code."""
        signal_ = f"inject={call}:signal=SIGKILL:when={number}"
        return self.run("-e", f"trace={call}", "-e", signal_)[0]

    def fail_at(self, call: str, number: int | str, error: str) -> int:
        """Makes this call fail; the exit code."""
        fault = f"inject={call}:error={error}:when={number}"
        return self.run("-e", f"trace={call}", "-e", fault)[0]


def known() -> list[str]:
    """Those of the file calls that strace knows on this machine."""
    found: list[str] = []
    for call in FILE_CALLS:
        probe = subprocess.run(["strace", "-e", f"trace={call}", "-V"], capture_output=True)
        if probe.returncode == 0:
            found.append(call)
    return found


KILLED = -signal.SIGKILL
