"""Ceph's object gateway: an S3 server that checks signatures, expiry, policies and conditions as Amazon's does.

The smallest cluster that works: a monitor, an object store that keeps everything in memory, and the gateway. The three
are direct children of the test run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.servers.processes import HOST, RunningProcess, find_program, free_port, run, running
from tests.servers.s3 import S3Server

__all__ = ("serve",)

INSTALL = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"

ACCESS_KEY = "filestoretests"
SECRET_KEY = "public-on-loopback"

# What is not obvious in it:
# - admin socket: none, because its path can outgrow the 107 bytes that a socket's address has room for.
# - networks: without them the store listens on all addresses of the machine.
# - auth: without Ceph's own authentication the three need no keyrings; but the gateway talks to the monitor in secure
#   mode, which needs that authentication, unless told otherwise by "ms mon client mode".
# - avail: a monitor stops when the disk is 95 % full; in a test that disk is everybody's.
# - paxos: changes are collected for a second by default, and the gateway creates its pools one after the other.
# - memstore: its default of 1 GiB is less than the large uploads need.
# - rgw gc: the default keeps deleted objects for two hours, here in memory.
# - tcp_nodelay: without it every download waits 40 ms for a delayed acknowledgement.
CONFIGURATION = """\
[global]
fsid = {fsid}
log file =
log to stderr = true
mon cluster log file = {directory}/cluster.log
run dir = {directory}
admin socket =
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
mon host = [v2:{host}:{monitor_port}]
mon data = {directory}/mon
mon data avail warn = 2
mon data avail crit = 1
paxos propose interval = 0.02
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 12884901888
osd pool default size = 1
rgw data = {directory}/rgw
rgw frontends = beast endpoint={host}:{gateway_port} tcp_nodelay=1
rgw gc obj min wait = 0
rgw gc processor period = 5
rgw gc processor max time = 30
"""


@contextmanager
def serve(directory: Path) -> Iterator[S3Server]:
    """Run a cluster in `directory`, with one account and no bucket.

    Raises:
        ServerMissingError: A program of it is not installed.
        ServerFailedError: A part of it does not start.
    """
    for program in ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin"):
        find_program(program, INSTALL)
    cluster = _Cluster(directory)
    with ExitStack() as stack:
        stack.enter_context(cluster.monitor())
        stack.enter_context(cluster.store())
        cluster.create_account()
        gateway = stack.enter_context(cluster.gateway())
        gateway.wait_for_port(cluster.gateway_port)
        yield S3Server(f"http://{HOST}:{cluster.gateway_port}", ACCESS_KEY, SECRET_KEY)


class _Cluster:
    """The parts, to be started in the order in which they stand here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fsid = str(uuid.uuid4())
        self.monitor_port = free_port()
        self.gateway_port = free_port()
        self.configuration = directory / "ceph.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                host=HOST,
                directory=directory,
                fsid=self.fsid,
                monitor_port=self.monitor_port,
                gateway_port=self.gateway_port,
            )
        )
        for part in ("mon", "osd", "rgw"):
            (directory / part).mkdir()

    @contextmanager
    def monitor(self) -> Iterator[RunningProcess]:
        address = f"[v2:{HOST}:{self.monitor_port}]"
        run("monmap", ["monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", address, "monmap"], self.directory)
        self._run("monitor-mkfs", "ceph-mon", "-i", "a", "--mkfs", "--monmap", "monmap")
        with self._running("monitor", "ceph-mon", "-i", "a") as process:
            yield process

    @contextmanager
    def store(self) -> Iterator[RunningProcess]:
        identity = str(uuid.uuid4())
        # The first command to the monitor: it waits until the monitor answers.
        self._run("store-new", "ceph", "osd", "new", identity)
        self._run("store-mkfs", "ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", identity)
        with self._running("store", "ceph-osd", "-i", "0") as process:
            yield process

    def create_account(self) -> None:
        # Waits until the store is up, because it creates the first pools there.
        keys = [f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
        self._run("account", "radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)

    def gateway(self) -> AbstractContextManager[RunningProcess]:
        return self._running("gateway", "radosgw", "-n", "client.rgw.a")

    def _run(self, name: str, program: str, *arguments: str) -> None:
        run(name, [program, "-c", self.configuration, *arguments], self.directory)

    def _running(self, name: str, program: str, *arguments: str) -> AbstractContextManager[RunningProcess]:
        return running(name, [program, "-c", self.configuration, "-f", *arguments], self.directory)
