"""A real SLURM on this machine alone: a controller and two nodes of 4 CPUs and 2 pretended GPUs.

``python tests/slurm/lab.py FOLDER`` starts one and keeps it until Ctrl-C, as docs/cluster.md says.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch", "munge")
NODES = ("n1", "n2")
_UP_SECONDS = 30.0

_CONF = """\
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={controller}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/slurmd-%n
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
ReturnToService=1
JobRequeue=1
KillWait=30
SlurmdTimeout=300
MinJobAge={min_job_age}
MaxArraySize={array}
FirstJobId={first_job}
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n[1-2] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[{node1},{node2}] CPUs=4 \
RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
_GRES = "AutoDetect=off\nName=gpu File={folder}/dev/gpu[0-1]\n"


def missing() -> str | None:
    """Why there can be no SLURM here, or None."""
    absent = [name for name in DAEMONS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    if os.getuid() != 0:
        return "SLURM's daemons are started as root here"
    return None


class Lab:
    """Started in a folder of its own, in about three seconds.

    Args:
        array: MaxArraySize.
        min_job_age: seconds for which the controller remembers ended jobs.
    """

    def __init__(self, folder: Path, *, array: int = 1001, min_job_age: int = 3600) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen] = []
        for name in ("state", "log", "dev", "munge", *(f"spool/{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        folder.chmod(0o755)
        for index in range(2):
            # A GRES must be a device whose name ends in its number: a twin of /dev/null.
            os.mknod(folder / f"dev/gpu{index}", 0o020666, os.makedev(1, 3))
        _know_nodes()
        controller, node1, node2 = _free_ports(3)
        text = _CONF.format(
            folder=folder,
            controller=controller,
            node1=node1,
            node2=node2,
            array=array,
            min_job_age=min_job_age,
            # Of one start after the other, no two jobs with one number.
            first_job=int(time.time()) % 10_000_000 + 1,
        )
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text(_GRES.format(folder=folder))
        (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        self.env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        munge = self.folder / "munge"
        key = munge / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={munge / 'socket'}",
            f"--pid-file={munge / 'pid'}",
            f"--log-file={munge / 'log'}",
            f"--seed-file={munge / 'seed'}",
        )
        self._until_up("munge", "-n", "-S", str(munge / "socket"))
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)
        deadline = time.monotonic() + _UP_SECONDS
        while self.node_states() != dict.fromkeys(NODES, "idle"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"SLURM did not come up; see {self.folder / 'log'}")
            time.sleep(0.1)

    def _daemon(self, *command: str) -> None:
        log = (self.folder / "log" / f"{command[0]}.{len(self._daemons)}.out").open("wb")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    command,
                    env=self.env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def _until_up(self, *command: str) -> None:
        deadline = time.monotonic() + _UP_SECONDS
        while subprocess.run(command, env=self.env, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{command} fails; see {self.folder / 'log'}")
            time.sleep(0.1)

    def ask(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def node_states(self) -> dict[str, str]:
        """Node -> state."""
        try:
            lines = self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines()
        except RuntimeError:
            return {}
        words = [line.split() for line in lines]
        return {node: state for node, state, *_ in words}

    def stop(self) -> None:
        """Ends every job and daemon."""
        if len(self._daemons) > 1:
            with suppress(RuntimeError):
                self.ask("scancel", "--user=root")
                deadline = time.monotonic() + 10
                while self.ask("squeue", "-h") and time.monotonic() < deadline:
                    time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _know_nodes() -> None:
    """The nodes' names in /etc/hosts: the first process of a DDP run is reached by its node's."""
    known = Path("/etc/hosts").read_text().split()
    with Path("/etc/hosts").open("a") as hosts:
        for node in NODES:
            if node not in known:
                hosts.write(f"127.0.0.1 {node}\n")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


if __name__ == "__main__":
    why_not = missing()
    if why_not is not None:
        sys.exit(why_not)
    lab = Lab(Path(sys.argv[1]).resolve())
    print(f"export SLURM_CONF={lab.folder / 'slurm.conf'}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.pause()
    lab.stop()
