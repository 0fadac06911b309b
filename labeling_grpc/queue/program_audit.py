"""Programs' answers are audited: a known share of their cases goes to people too, whose answer then counts.

Which cases is drawn by a secret from the event alone. So no program can tell an audited case from another, a case is
audited whichever program answers it, and a repeated call comes to the same.
"""

from __future__ import annotations

import hashlib
from typing import Final

from labeling_grpc.contract.programs import is_program

_RANGE: Final = float(2**64)


class ProgramAudit:
    """Draws the cases of programs that people answer too."""

    def __init__(self, secret: str, share: float) -> None:
        """secret: nothing that programs know.  share: of the cases that programs answer."""
        self._secret = secret.encode()
        self._share = share

    def draws(self, event_id: str, annotator: str) -> bool:
        """Whether an answer of this annotator to this case is not the end of it."""
        if not self._share or not is_program(annotator):
            return False
        digest = hashlib.blake2b(event_id.encode(), digest_size=8, key=hashlib.sha256(self._secret).digest()).digest()
        return int.from_bytes(digest, "big") / _RANGE < self._share
