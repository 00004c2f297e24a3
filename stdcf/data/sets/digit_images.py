"""Images of handwritten digits, of MNIST or, where that is not to be had, of scikit-learn."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stdcf.cache_folder import cache_folder
from stdcf.errors import UserError

Source = Literal["auto", "mnist", "sklearn"]
SOURCES = ("auto", "mnist", "sklearn")
# Of scikit-learn's 1,797 digits; its own order mixes writers.
_SKLEARN_TRAIN = 1437


@dataclass(frozen=True)
class DigitImages:
    """uint8 images [N, H, W] and labels [N] for training and testing.

    name: what they are called in tables.
    """

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def sha256(self) -> str:
        """Of all pixels and labels, hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.train, self.train_labels, self.test, self.test_labels):
            digest.update(repr((array.shape, array.dtype.str)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def load_digits(root: str | Path | None, source: Source = "auto") -> DigitImages:
    """MNIST's digits, or scikit-learn's.

    root: an .npz with x_train, y_train, x_test and y_test, or the folder in which torchvision keeps
    MNIST; None is that folder beside the frame cache, fetched by torchvision if it is not there.
    source: "auto" takes scikit-learn's where MNIST cannot be fetched.

    Raises:
        UserError: where there are none; for a file that holds something else.
    """
    if source not in SOURCES:
        raise UserError(f"digits={source!r}: choose {', '.join(SOURCES)}.")
    if source == "sklearn":
        return _sklearn("scikit-learn is not installed: pip install scikit-learn, or give MNIST.")
    if root is not None:
        path = Path(root).expanduser()
        return _from_file(path) if path.is_file() else _torchvision(path, download=False)
    folder = cache_folder() / "mnist"
    try:
        return _torchvision(folder, download=True)
    except UserError as error:
        if source == "mnist":
            raise
        return _sklearn(f"{error} scikit-learn's digits, the other choice, are not installed.")


def _from_file(path: Path) -> DigitImages:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = [content[f"{what}_{part}"] for part in ("train", "test") for what in "xy"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(
            f"{path} cannot be read as digits ({type(error).__name__}); it must be an .npz with "
            "x_train, y_train, x_test and y_test."
        ) from error
    for images, labels in (arrays[:2], arrays[2:]):
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise UserError(
                f"{path} holds {images.dtype} {list(images.shape)} and labels "
                f"{list(labels.shape)}; images must be uint8 [N, H, W], with a label each."
            )
        if len(images) == 0:
            raise UserError(f"{path} holds no digits.")
    return _named("MNIST", *arrays)


def _torchvision(folder: Path, *, download: bool) -> DigitImages:
    # Its import takes a second.
    from torchvision.datasets import MNIST

    try:
        parts = [MNIST(str(folder), train=train, download=download) for train in (True, False)]
    except (RuntimeError, OSError) as error:
        # urllib's errors are OSErrors.
        how = "it could not be fetched" if download else "it is not there"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"No MNIST in {folder}, and {how} ({reason}); give a file by --data-root FILE.npz."
        ) from error
    arrays = [a for part in parts for a in (part.data.numpy(), part.targets.numpy())]
    return _named("MNIST", *arrays)


def _sklearn(otherwise: str) -> DigitImages:
    try:
        from sklearn.datasets import load_digits as bundled
    except ImportError as error:
        raise UserError(otherwise) from error
    found: Any = bundled()
    # Their pixels count 0 to 16.
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    n = _SKLEARN_TRAIN
    return _named(
        "scikit-learn's digits", images[:n], found.target[:n], images[n:], found.target[n:]
    )


def _named(name: str, *arrays: np.ndarray) -> DigitImages:
    x, y, x_test, y_test = arrays
    return DigitImages(name, x, y.astype(np.int64), x_test, y_test.astype(np.int64))
