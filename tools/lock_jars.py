"""Writes tidemark/broker/jars.lock: Kafka and all it needs, by coordinates, SHA-256 and size.

Usage, to move to another Kafka: `.venv/bin/python tools/lock_jars.py 4.1.2`. Each download is checked against the
repository's own SHA-1 by jgo. Read the difference before you commit it.

Not to 4.2, 4.3 or 4.4: a broker of theirs that is started again can take a partition without a leader for a deleted
one, and leave out the marker of a transaction that it has committed (KAFKA-20734).
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

LOCK = Path(__file__).parent.parent / "tidemark" / "broker" / "jars.lock"
HEAD = """\
# Apache Kafka {version} and all it needs at run time: GROUP:ARTIFACT:VERSION SHA256 SIZE
# Written by tools/lock_jars.py; log4j-slf4j-impl is what makes Kafka's log reach a file.
"""


def main(version: str) -> None:
    """Resolve, download, hash, write."""
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        inputs, needed = context.resolver.resolve([context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")])
        jars = [dependency.artifact for dependency in inputs + needed]
        log4j = next(jar.version for jar in jars if jar.artifactId == "log4j-core")
        # Resolved by itself: together with Kafka its parent's managed versions would win over Kafka's own.
        jars.append(context.create_dependency(f"org.apache.logging.log4j:log4j-slf4j-impl:{log4j}").artifact)
        lines = []
        for jar in jars:
            content = jar.resolve().read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            lines.append(f"{jar.groupId}:{jar.artifactId}:{jar.version} {digest} {len(content)}\n")
    LOCK.write_text(HEAD.format(version=version) + "".join(sorted(lines)), encoding="utf-8")
    print(f"{LOCK}: {len(lines)} jars")


if __name__ == "__main__":
    main(sys.argv[1])
