"""Types of arrays, and division that is NaN where it is not defined."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int_]
Booleans = NDArray[np.bool_]


def ratio(above: Floats, below: Floats) -> Floats:
    """above / below; NaN where `below` is not above zero."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
