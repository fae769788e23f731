"""Become another program, one that does not outlive the process that started it.

usage: launcher.py PARENT_PID ORPHAN_SIGNAL UID GID -- COMMAND...

A script between the test run and a server. A `preexec_fn` could do the same, but it runs Python in the fork of a
process that has threads, which Python 3.12 and later warn about.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ("become",)

PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal that this process gets when its parent dies."""


def become(command: list[str], *, parent_pid: int, orphan_signal: int, uid: int, gid: int) -> None:
    """Replace this process by `command`, tied to the life of its parent. Does not return.

    Args:
        command: Absolute path of the program, and its arguments.
        parent_pid: The process whose death ends the program.
        orphan_signal: The signal that the program gets then.
        uid: User to run as; if it is not the current one, all supplementary groups are dropped too.
        gid: Group to run as.

    Raises:
        OSError: The user cannot be changed, or the program cannot be run.
    """
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # Only now: a change of user clears the death signal again, says prctl(2).
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before prctl: then nobody sends the signal any more.
    if os.getppid() != parent_pid:
        sys.exit("the process that wanted this program is gone")
    os.execv(command[0], command)  # noqa: S606 - a shell would get the death signal instead of the program


if __name__ == "__main__":
    _parent_pid, _orphan_signal, _uid, _gid = map(int, sys.argv[1:5])
    become(sys.argv[6:], parent_pid=_parent_pid, orphan_signal=_orphan_signal, uid=_uid, gid=_gid)
