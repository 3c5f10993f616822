"""Transfer: APGD made on a surrogate network and tried on the victim (Papernot et al., arXiv
1605.07277).

Where it beats the white-box attack on the victim itself, the victim hides its gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

from posebench.attacks.apgd import APGD


@dataclass(frozen=True)
class Transfer(APGD):
    """APGD that the harness shows a surrogate instead of the victim (access "transfer")."""
