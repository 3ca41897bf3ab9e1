"""Programs that are killed before each of their file operations in turn."""

from __future__ import annotations

import subprocess
import sys
import textwrap

# forks a child for each of its file operations, which dies with SIGKILL just before that operation
KILLED = """
    import os, signal, sys
    from pathlib import Path
    EVENTS = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.chmod",
              "shutil.rmtree", "os.scandir", "ctypes.dlsym", "tempfile.mkdtemp"}

    def killed(work, check):
        for n in range(1000):
            if (child := os.fork()) == 0:
                left = [n]
                def hook(event, _):
                    if event in EVENTS:
                        if left[0] == 0:
                            os.kill(os.getpid(), signal.SIGKILL)
                        left[0] -= 1
                sys.addaudithook(hook)
                work()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            assert status in (0, signal.SIGKILL), status
            check()
            if status == 0:
                print(n)
                return
"""


def run(program: str, *words: object) -> int:
    """Run a program after KILLED; returns how many operations it could be killed before."""
    code = textwrap.dedent(KILLED) + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
