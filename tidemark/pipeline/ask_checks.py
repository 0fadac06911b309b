"""What `[ask]` must be beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator

from tidemark.pipeline.model import Pipeline
from tidemark.pipeline.problem import Problem
from tidemark.runtime.listen_addresses import is_loopback, parted

_KEY = "ask"


def ask_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """What is wrong with how answers are given at once.

    Args:
        pipeline: whose shape is right.

    Yields:
        The problems, in the order of the file.

    """
    spec = pipeline.ask
    if spec is None:
        return
    try:
        host, _ = parted(spec.address)
    except ValueError as error:
        yield Problem(f"{_KEY}.address", str(error))
    else:
        closed = spec.token_file is not None or spec.token_env is not None or spec.tls_ca is not None
        if not closed and not is_loopback(host):
            yield Problem(
                f"{_KEY}.address", f"anybody could ask at {spec.address}: set token_file or token_env, or tls_ca"
            )
    if spec.token_file is not None and spec.token_env is not None:
        yield Problem(f"{_KEY}.token_env", "token_file is given as well; keep one of the two")
    if (spec.tls_cert is None) != (spec.tls_key is None):
        yield Problem(f"{_KEY}.tls_cert", "and tls_key go together: set both, or neither")
    elif spec.tls_ca is not None and spec.tls_cert is None:
        yield Problem(f"{_KEY}.tls_ca", "needs tls_cert and tls_key")
