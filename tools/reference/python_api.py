"""The Python API: which modules it is, for mkdocstrings to write out."""

from __future__ import annotations

from typing import Final

PUBLIC: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "Read and check a pipeline file": ("tidemark.pipeline", ("load",)),
    "Answer cases": ("labeling_grpc.client", ("LabelingClient", "AsyncLabelingClient")),
    "Administer the queue": (
        "labeling_grpc.client.administration",
        ("LabelingAdminClient", "AsyncLabelingAdminClient"),
    ),
    "Records in Kafka": (
        "tidemark.records",
        ("Prediction", "Candidate", "Label", "Outcome", "ModelManifest", "Champion", "Metric"),
    ),
    "Features of a history": ("tidemark.features.backfill", ("backfill",)),
}
"""What a user's own program may import: heading, module, names. All else is inside and changes without notice."""
_INTRO: Final = """# The Python API

These names stay as they are between minor versions. All else is inside and changes without notice. The numbers behind
the choices, `from kernels import …`, are listed with their formulas in [kernels](../explanation/kernels.md).
"""


def python_page() -> str:
    """The page's Markdown, with mkdocstrings' marks for what it fills in."""
    parts = [_INTRO]
    for heading, (module, names) in PUBLIC.items():
        parts += [f"## {heading}\n", *(f"::: {module}.{name}\n" for name in names)]
    return "\n".join(parts)
