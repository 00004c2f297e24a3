"""What one job asks of the cluster."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Jobs that ask for the same can be one array.

    Attributes:
        tasks_per_node: processes on each node.
        gpus_per_node: of all tasks on a node together.
        memory_mib: host memory of all tasks on a node together.
        minutes: after which the cluster ends the job.
    """

    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int = 1
    gpus_per_node: int = 0
    memory_mib: int = 2048
    minutes: int = 60

    @property
    def tasks(self) -> int:
        """Processes of a job."""
        return self.nodes * self.tasks_per_node

    @property
    def gpus(self) -> int:
        """GPUs of a job."""
        return self.nodes * self.gpus_per_node

    def __str__(self) -> str:
        parts = [f"{self.nodes} nodes"] if self.nodes > 1 else []
        parts += [f"{self.gpus} GPU{'s' * (self.gpus > 1)}"] if self.gpus else []
        cpus = self.tasks * self.cpus_per_task
        parts += [f"{cpus} CPU{'s' * (cpus > 1)}", f"{self.memory_mib / 1024:g} GiB"]
        return ", ".join([*parts, f"{self.minutes} min"])
