"""Types of arrays that all measurements share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Pixels = NDArray[np.integer] | NDArray[np.floating]
