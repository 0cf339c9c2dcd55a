"""Touches a mount in a process of its own, so that a mount that hangs never hangs photosync.

A thread inside a system call on a FUSE mount whose daemon no longer answers can't be interrupted, not even by
SIGKILL once the request was handed over (Linux, fs/fuse/dev.c, request_wait_answer), and a process with such
a thread can't end. A helper process that is stuck that way can be left behind: it holds no photosync state
and ends as soon as the mount answers or is unmounted.

The two talk over a socket pair: ``(operation, *arguments)`` one way, ``(True, value)`` or ``(False, error)``
the other, one question at a time.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from typing import Any

from photosync.engine.errors import PhotosyncError, Transient

Operation = Callable[..., Any]

_REAP_SECONDS = 1.0
"""How long a helper that was killed may take to vanish before it is left behind."""


class NoAnswer(PhotosyncError):
    """The mount did not answer in time; the helper that asked it is stuck and was left behind."""


class MountWorker:
    """One helper process, started at the first question and ended by `close`.

    Safe to use from several threads: questions queue up, as they would inside an MTP daemon anyway.

    Args:
        operations: "module:function", a function without arguments that returns the operations by name;
            it is called inside the helper.
    """

    def __init__(self, operations: str) -> None:
        self._operations = operations
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: connection.Connection | None = None
        self._closed = False
        self._owing = False

    def call(self, patience: float, operation: str, *arguments: object) -> Any:
        """Asks and waits.

        Args:
            patience: seconds to wait for the answer.
            operation: its name.
            arguments: anything picklable.

        Raises:
            NoAnswer: nothing came within ``patience``; this worker is of no further use.
            Transient: the helper died or was closed meanwhile; this worker is of no further use.
            Exception: whatever the operation raised.
        """
        with self._lock:
            self.ask(operation, *arguments)
            return self.answer(patience)

    def ask(self, operation: str, *arguments: object) -> None:
        """First half of `call`, for one thread that asks several workers at once."""
        if self._owing:
            self.close()  # whoever asked before was interrupted; its answer must not pass for this one's
        pipe = self._started()
        self._owing = True
        try:
            pipe.send((operation, *arguments))
        except OSError as error:
            raise Transient("the helper process that reads the device has ended") from error

    def answer(self, patience: float) -> Any:
        """Second half of `call`."""
        pipe = self._started()
        try:
            if not pipe.poll(patience):
                self.close()
                raise NoAnswer(f"no answer within {patience:.0f} seconds")
            worked, value = pipe.recv()
            self._owing = False
        except (EOFError, OSError) as error:
            raise Transient("the helper process that reads the device has ended") from error
        if worked:
            return value
        raise value

    def close(self) -> None:
        """Ends the helper at once, whatever it is doing; another thread's `call` raises Transient."""
        self._closed = True
        if self._process is None:
            return
        self._process.kill()
        # A helper stuck inside the mount outlives even this. It must not be waited for: that is the point.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_SECONDS)

    def _started(self) -> "connection.Connection":  # Windows has none; nothing gets here on it
        if self._closed:
            raise Transient("the helper process that reads the device has ended")
        if self._pipe is None:
            ours, theirs = socket.socketpair()
            with theirs:
                # -P: the current directory must not supply modules. Own session: Ctrl-C is not for helpers.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), self._operations],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            self._pipe = connection.Connection(ours.detach())
        return self._pipe


def ask_all(
    operations: str, questions: Mapping[str, Sequence[object]], patience: float
) -> dict[str, object | Exception]:
    """Asks several mounts at once, each through a helper of its own.

    Args:
        operations: as for `MountWorker`.
        questions: any key → (operation, *arguments).
        patience: seconds without any news after which the silent ones are given up.

    Returns:
        For each key the answer, the exception that the operation raised, or a `NoAnswer`.
    """
    workers = {key: MountWorker(operations) for key in questions}
    answers: dict[str, object | Exception] = {}
    try:
        waiting: dict[Any, str] = {}
        for key, (operation, *arguments) in questions.items():
            workers[key].ask(str(operation), *arguments)
            waiting[workers[key]._started()] = key
        while waiting:
            for pipe in connection.wait(list(waiting), patience) or list(waiting):
                key = waiting.pop(pipe)
                try:
                    answers[key] = workers[key].answer(0)
                except NoAnswer:
                    answers[key] = NoAnswer(f"no answer within {patience:.0f} seconds")
                except Exception as error:  # noqa: BLE001  # the caller sorts them
                    answers[key] = error
    finally:
        for worker in workers.values():
            worker.close()
    return answers


def _serve(pipe: connection.Connection, operations: Mapping[str, Operation]) -> None:
    while True:
        try:
            operation, *arguments = pipe.recv()
        except EOFError:
            return
        answer: tuple[bool, object]
        try:
            answer = (True, operations[operation](*arguments))
        except Exception as error:  # noqa: BLE001  # the process that asked decides what to do about it
            error.__cause__ = error.__context__ = None
            answer = (False, error)
        pipe.send(answer)


def _main(descriptor: str, operations: str) -> None:
    module, _, function = operations.partition(":")
    table = getattr(__import__(module, fromlist=[function]), function)()
    with contextlib.suppress(OSError):  # whoever asked may be gone by the time the mount answers
        _serve(connection.Connection(int(descriptor)), table)
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
