"""Arms of `label-curves`: what of the drafted pipeline file each changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from tidemark.pipeline.model import LearnerName


@dataclass(frozen=True, slots=True)
class Arm:
    """settings: `table.key` to a value as in TOML.  two_classes: it means something only where there are two."""

    settings: Mapping[str, Any]
    two_classes: bool = False


LEARNERS: Final[tuple[LearnerName, ...]] = get_args(LearnerName)
RANDOM: Final = "random"
"""The arm whose final quality and curve the others are compared with."""
DRAFT: Final = "draft"
"""What `tidemark init` drafts, unchanged."""
ARMS: Final[dict[str, Arm]] = {
    RANDOM: Arm({"selection.policy": "random"}),
    DRAFT: Arm({}),
    "margin": Arm({"selection.policy": "margin"}),
    "badge": Arm({"selection.policy": "badge"}),
    **{f"draft, {learner}": Arm({"training.learner": learner}) for learner in LEARNERS},
    **{f"random, {learner}": Arm({"selection.policy": "random", "training.learner": learner}) for learner in LEARNERS},
}
"""By name. Further ones are given as settings: `--arm NAME TABLE.KEY=VALUE ...`."""
