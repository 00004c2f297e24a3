"""What a run's task is given: its spec, its folder, where it runs, and when to stop."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stdcf.errors import UserError
from stdcf.training.trainer import Stopped
from suites.engine.spec import RunSpec
from suites.engine.store.folder import RunFolder

if TYPE_CHECKING:
    import torch

    from stdcf.data.clips.splits import VideoData
    from stdcf.training.step import Numerics


@dataclass(frozen=True)
class Run:
    """A run on its way; a task is a function of it and returns the row's fields beyond `header`.

    Attributes:
        device: "cpu" or "cuda:0".
        data_root: folder or file of the data set; None: where it is by default.
        num_workers: processes that load data; None: as many as the machine has to spare.
        should_stop: whether the run was asked to stop.
    """

    folder: RunFolder
    device: str = "cpu"
    data_root: str | None = None
    num_workers: int | None = None
    should_stop: Callable[[], bool] = lambda: False

    @cached_property
    def spec(self) -> RunSpec:
        """What the run is asked for."""
        return self.folder.spec()

    @property
    def on_gpu(self) -> bool:
        """Whether its device is a GPU."""
        return self.device.startswith("cuda")

    @property
    def where(self) -> "torch.device":
        """The device as torch's."""
        import torch

        return torch.device(self.device)

    def progress(self, fraction: float) -> None:
        """Says for `suites.status` and the runner how far the run is, from 0 to 1."""
        self.folder.write_state(status="running", fraction=fraction)

    def stop_if_asked(self) -> None:
        """Between two parts of a task.

        Raises:
            Stopped: if the run was asked to stop.
        """
        if self.should_stop():
            raise Stopped

    def settle(self) -> None:
        """Threads and seed of torch, as the spec has them."""
        import torch

        torch.set_num_threads(self.spec.threads)
        torch.manual_seed(self.spec.seed)

    def data(self) -> "VideoData":
        """The clips that the run was made for.

        Raises:
            UserError: if they are not there, or are others by now.
        """
        from suites.engine.catalog import load_dataset

        spec = self.spec
        data = load_dataset(spec.dataset, self.data_root, **spec.dataset_options)
        if data.manifest != spec.manifest:
            raise UserError(
                f"the clips of {spec.dataset} are not those that this run was made for; "
                "start the suite again to make runs for the present ones"
            )
        return data

    def numerics(self, data: "VideoData") -> "Numerics":
        """How the run's numbers are held on its device."""
        from stdcf.training.step import Numerics

        # The faster layout for float32 on CPU.
        on_cpu = self.spec.device == "cpu"
        return Numerics(self.where, self.spec.amp, channels_last=on_cpu, pixels=data.pixels)
