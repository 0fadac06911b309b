"""One cache of compiled SQL for all databases that tests open: `share_statements()`.

SQLAlchemy compiles a statement once for each engine. A service has one for its whole life; tests open thousands, and
would compile the same hundred statements for each, which took a third of what tests of the queue compute.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

_shared: dict[str, tuple[Any, dict[Any, Any]]] = {}
"""By a database's kind: its dialect, by which statements are known again, and what was compiled."""


def share_statements() -> None:
    """Let every engine that is made from now on use them."""
    really = sa.create_engine
    if getattr(really, "shares", False):
        return

    def create_engine(url: str | sa.URL, **options: Any) -> sa.Engine:  # noqa: ANN401 - as SQLAlchemy has them
        engine = really(url, **options)
        kind = f"{engine.dialect.name} {engine.dialect.driver}"
        engine.dialect, compiled = _shared.setdefault(kind, (engine.dialect, {}))
        engine.update_execution_options(compiled_cache=compiled)
        return engine

    create_engine.shares = True  # type: ignore[attr-defined]
    sa.create_engine = create_engine
