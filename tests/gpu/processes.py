"""Programs that may hang, and programs that answer lines: every wait has a limit, and what is ended
is ended with all that it started."""

import json
import os
import select
import signal
import subprocess
import sys
import time


# A process group of its own, so that all of it can be ended; and where Python can, in the session
# of this program, so that whoever ends that ends all.
APART = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}
RUNNING = set()  # processes that this program started and has not ended


class Gone(Exception):
    """A program ended, said nonsense, or did not answer in time; it is no more."""


def end(process, patience=5):
    """Ends a process and its children, once. It leads a process group of its own."""
    if process not in RUNNING:
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        patience = 0  # it is gone; children that would not go are told again
    process.wait()
    RUNNING.discard(process)


def end_all():
    """When this program itself is told to end; whoever waits for one of them goes on."""
    for process in list(RUNNING):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def run(command, log, seconds, env=None, cwd=None):
    """Runs a command with its output appended to the file `log`. Its exit status; None where it was
    ended after so many seconds."""
    if seconds <= 0:
        return None
    with open(log, "ab") as out:
        out.write(f"$ {' '.join(command)}\n".encode())
        out.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env=env, cwd=cwd, **APART)
        RUNNING.add(process)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            out.write(f"ended after {seconds:.0f} s\n".encode())
            return None
        finally:
            end(process)


class Child:
    """A program that answers each line with a line of JSON; what it says on stderr goes to `log`."""

    def __init__(self, command, log, env=None):
        self.rest = b""
        self.log = open(log, "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.log, env=env, **APART)
        RUNNING.add(self.process)

    def speaks(self, seconds):
        """Whether it has an answer ready within so many seconds."""
        deadline, pipe = time.monotonic() + seconds, self.process.stdout.fileno()
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return False
            more = os.read(pipe, 65536)
            if not more:
                self.close()
                raise Gone(f"it ended with {self.process.returncode}")
            self.rest += more
        return True

    def hear(self, seconds):
        """Its next answer."""
        if not self.speaks(seconds):
            self.close()
            raise Gone(f"no answer within {seconds:.0f} s")
        line, self.rest = self.rest.split(b"\n", 1)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise Gone(f"it said {line[:200]!r}")
        return answer

    def tell(self, line):
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            self.close()
            raise Gone(f"it ended with {self.process.returncode}") from None

    def ask(self, line, seconds):
        self.tell(line)
        return self.hear(seconds)

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            try:
                pipe.close()
            except OSError:
                pass  # what was not sent is not wanted any more
        end(self.process)
