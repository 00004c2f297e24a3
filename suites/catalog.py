"""Every layer, model and data set by name; the dicts stand in `suites/engine/catalog.py`."""

from suites.engine.catalog import DATASETS, LAYERS, MODELS, build

__all__ = ["DATASETS", "LAYERS", "MODELS", "build"]
