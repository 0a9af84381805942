"""Normalisation of saliency maps to the integers that a case bundle holds."""

import numpy as np
from numpy.typing import NDArray


def normalise(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring maps (N, H, W) to [-1, 1]: clip((g - mean) / (3 SD), -1, 1).

    Mean and SD (of the population) are each map's own; a constant map becomes zeros.
    """
    values = maps.astype(np.float64)
    axes = (1, 2)
    centred = values - values.mean(axis=axes, keepdims=True)
    deviation = values.std(axis=axes, keepdims=True)
    # Rounding can give a constant map a deviation just above 0.
    constant = np.ptp(values, axis=axes, keepdims=True) == 0
    scaled = centred / np.where(constant, 1.0, 3 * deviation)
    return np.where(constant, 0.0, scaled.clip(-1, 1)).astype(np.float32)


def to_int8(maps: NDArray[np.float32]) -> NDArray[np.int8]:
    """Maps in [-1, 1] as integers from -127 to 127."""
    return np.rint(maps * 127).astype(np.int8)
