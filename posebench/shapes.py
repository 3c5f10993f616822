"""Shape annotations, optional at run time.

jaxtyping checks shapes in the test run. Machines that only train or evaluate need not have it:
annotations are never evaluated there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ImportError:
        from torch import Tensor

        Bool = Float = Int = Tensor

__all__ = ["Bool", "Float", "Int"]
