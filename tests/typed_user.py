"""A user's code as mypy reads it: each ignored error must be one, or mypy names the ignore."""

from stdcf import Stage, STDCFConv3d, full_size, itsl, predict_peak

stages: tuple[Stage, ...] = (*full_size(epochs=1, lr=1e-3), *itsl(2, epochs=1, lr=1e-3))
layer = STDCFConv3d(1, 2, 3, num_spatial_atoms="three")  # type: ignore[arg-type]
peak_bytes: str = predict_peak(lambda: layer, (1, 1, 4, 8, 8)).peak_bytes  # type: ignore[assignment]
