"""How stored values become the reals that a model was trained with, in the conventions of TinyMaix's h5_to_tflite."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinymaix.graph import Array, Tensor
from tinymaix.quantize.samples_audio import FULL_SCALE
from tinymaix.quantize.samples_source import DataError

NAMES = {"0to1": (0.0, 255.0), "-1to1": (128.0, 128.0), "n1to1": (128.0, 128.0)}
"""Name -> mean and standard deviation, for pixels from 0 to 255."""


@dataclass(frozen=True)
class Normalization:
    """real = (stored - mean) / std, with one mean and std for all channels or one for each."""

    name: str
    mean: Array
    std: Array

    @property
    def of_pixels(self) -> bool:
        """It says how pixels become reals, nothing of values that are real already."""
        return self.name in NAMES

    def apply(self, stored: Array, tensor: Tensor, where: str, *, sounds: bool = False) -> Array:
        """The reals as float32, in the shape of the input.

        Raises:
            DataError: values are not pixels, or the channels are not as many.
        """
        if self.name == "none" or (self.of_pixels and stored.dtype.kind == "f"):
            return stored.astype(np.float32)
        if self.of_pixels and sounds:
            return (stored / np.float32(FULL_SCALE)).astype(np.float32)
        if self.of_pixels and (stored.dtype == np.int8 or stored.min() < 0 or stored.max() > 255):
            raise DataError(
                f"{where} holds {stored.dtype} from {stored.min()} to {stored.max()}, which are no pixels from 0 to "
                f"255; say how they become what the model takes: normalize none, or MEAN,STD"
            )
        return ((stored - self._along(self.mean, tensor)) / self._along(self.std, tensor)).astype(np.float32)

    def _along(self, values: Array, tensor: Tensor) -> Array:
        """The values along the axis of the channels."""
        if values.size == 1 or tensor.shape[-1] == values.size:
            return values
        if len(tensor.shape) > 1 and tensor.shape[1] == values.size:  # channels first
            return values.reshape(-1, *[1] * (len(tensor.shape) - 2))
        raise DataError(
            f"normalize names {values.size} channels, but the model's input '{tensor.name}' has shape "
            f"{list(tensor.shape)}"
        )


def normalization(text: str) -> Normalization:
    """A Normalization from its name: "0to1", "-1to1" (or "n1to1"), "none", or numbers: "MEAN,STD", or all means and
    then all standard deviations, as "123.7,116.8,103.5,58.4,57.1,57.4".

    Raises:
        DataError: it is none of these.
    """
    if text == "none" or text in NAMES:
        mean, std = NAMES.get(text, (0.0, 1.0))
        return Normalization(text, np.array([mean]), np.array([std]))
    try:
        numbers = np.array([float(word) for word in text.split(",")])
    except ValueError:
        numbers = np.zeros(0)
    half = numbers.size // 2
    if not half or numbers.size % 2 or not np.isfinite(numbers).all() or (numbers[half:] <= 0).any():
        raise DataError(
            f"normalize '{text}' is not known; there are 0to1 (x / 255), -1to1 ((x - 128) / 128), none, and MEAN,STD "
            f"((x - mean) / std, with a std above 0), for each channel as MEAN,MEAN,MEAN,STD,STD,STD"
        )
    return Normalization(text, numbers[:half], numbers[half:])
