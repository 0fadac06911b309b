"""Every environment variable that Tidemark reads, with its default and meaning. The reference is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable.

    name: whole, or with `…` for a part that varies.  default: as a person would write it, "" where there is none.
    from_file: whether `NAME_FILE` names a file to read the value from.
    """

    name: str
    default: str
    meaning: str
    from_file: bool = False


INSTALLATION: Final = (
    Variable(
        "TIDEMARK_BOOTSTRAP_SERVERS",
        "the embedded Kafka",
        "Your Kafka, as `host:port,host:port`.",
    ),
    Variable(
        "TIDEMARK_KAFKA_…",
        "",
        "Any property of librdkafka but the fixed ones below. Dots become underscores: "
        "`TIDEMARK_KAFKA_SECURITY_PROTOCOL=SASL_SSL`, `TIDEMARK_KAFKA_LINGER_MS=20`. "
        "It goes before Tidemark's own value.",
        from_file=True,
    ),
    Variable(
        "TIDEMARK_HOME",
        "`$XDG_DATA_HOME/tidemark`, else `~/.local/share/tidemark`; on macOS `~/Library/Application Support/tidemark`",
        "State that must survive: the embedded Kafka, the queues.",
    ),
    Variable(
        "TIDEMARK_CACHE",
        "`$XDG_CACHE_HOME/tidemark`, else `~/.cache/tidemark`; on macOS `~/Library/Caches/tidemark`",
        "Downloads, and machine code that can be compiled again.",
    ),
    Variable("TIDEMARK_DATA", "`../shared/data`", "Published data sets that tests and benchmarks look for."),
    Variable("TIDEMARK_MAVEN_REPOSITORY", "Maven Central", "Mirror from which the embedded Kafka is downloaded once."),
    Variable(
        "TIDEMARK_REGISTRY_AUTH",
        "",
        "`user:password` for the schema registry that a pipeline file names.",
        from_file=True,
    ),
    Variable(
        "TIDEMARK_MODEL_KEY",
        "",
        "Secret that models are signed with. A flow that has it refuses models without its signature.",
        from_file=True,
    ),
)
FLOWS: Final = (
    Variable("TIDEMARK_PIPELINE", "", "Path of the pipeline file, for `python -m bytewax.run`."),
    Variable(
        "TIDEMARK_PIPELINE_FOLDER",
        "the pipeline file's",
        "Folder from which the pipeline file names other files. `tidemark up` sets it, for its flows read a copy.",
    ),
    Variable("TIDEMARK_SLOT", "the first free one", "Name of a worker's slot. `tidemark up` sets it. Never share one."),
    Variable(
        "TIDEMARK_COMMIT_INTERVAL",
        "`100ms`, `monitor` `500ms`; `stream` `10ms` to `500ms`, by how many rows wait",
        "Age at which `stream`, `select`, `monitor`, `ingest` and sources commit an open transaction, at most `5s`. A "
        "shorter interval lowers latency, a longer one raises throughput.",
    ),
    Variable("TIDEMARK_ACCEPT_GAP", "", "`1`: go on although retention has removed records that windows need."),
)
LABELING: Final = (
    Variable(
        "TIDEMARK_LABELING_ADDRESS",
        "`127.0.0.1:0`",
        "Address that the service listens on. Port 0 takes a free one, which `labeling.json` in the pipeline's state "
        "folder names. Another machine's address needs tokens or TLS.",
    ),
    Variable("TIDEMARK_LABELING_LEASE", "`5m`", "Length of a lease that does not ask for another."),
    Variable("TIDEMARK_LABELING_MAX_OPEN", "`100000`", "Most cases that wait or are leased."),
    Variable(
        "TIDEMARK_LABELING_RELEASE_HOLD", "`5m`", "How long a released case is kept from the annotator who released it."
    ),
    Variable(
        "TIDEMARK_LABELING_REFLECTION",
        "`off`",
        "`on`: gRPC server reflection, so that `grpcurl` needs no proto file. Health checks are always served.",
    ),
    Variable("TIDEMARK_LABELING_TOKENS", "`off`", "`on`: every call needs an access token."),
    Variable("TIDEMARK_LABELING_TOKEN", "", "Access token that clients and `tidemark label` send."),
    Variable(
        "TIDEMARK_LABELING_TOKEN_IN_THE_CLEAR",
        "`off`",
        "`on`: clients may send an access token without TLS to another machine.",
    ),
    Variable("TIDEMARK_LABELING_RATE", "no limit", "Calls a second of each caller, in bursts of twice as many."),
    Variable(
        "TIDEMARK_LABELING_DATABASE",
        "SQLite in the state folder",
        "A PostgreSQL for several replicas, as `postgresql://user@host/database`.",
        from_file=True,
    ),
    Variable("TIDEMARK_LABELING_TLS_CERT", "", "PEM file: certificate of the service, or of a client."),
    Variable("TIDEMARK_LABELING_TLS_KEY", "", "PEM file: the key of that certificate."),
    Variable(
        "TIDEMARK_LABELING_TLS_CA",
        "",
        "PEM file: the authority that must have signed the other side's certificate.",
    ),
)
CONSOLE: Final = (
    Variable("TIDEMARK_CONSOLE", "`on`", "`off`: `tidemark up` serves no pages."),
    Variable(
        "TIDEMARK_CONSOLE_ADDRESS",
        "`127.0.0.1:8420`",
        "Address that pages are served at; without it another free port is taken where that one is not free. Another "
        "machine's address needs TLS.",
    ),
    Variable("TIDEMARK_CONSOLE_TLS_CERT", "", "PEM file: certificate of the console, which then speaks HTTPS alone."),
    Variable("TIDEMARK_CONSOLE_TLS_KEY", "", "PEM file: the key of that certificate."),
    Variable(
        "TIDEMARK_CONSOLE_URL",
        "`http://` and the address",
        "Where browsers find the console, as `https://cases.bank.example`: an identity provider sends them back there.",
    ),
    Variable(
        "TIDEMARK_CONSOLE_HOSTS",
        "",
        "Names, separated by commas, under which browsers reach the console on another machine.",
    ),
)
OIDC: Final = (
    Variable(
        "TIDEMARK_OIDC_ISSUER",
        "",
        "Issuer of the identity provider by which people sign in (OpenID Connect), as its tokens name it: `https://…`. "
        "Needs `TIDEMARK_LABELING_TOKENS=on`.",
    ),
    Variable("TIDEMARK_OIDC_CLIENT_ID", "", "The id that the provider has given Tidemark."),
    Variable(
        "TIDEMARK_OIDC_CLIENT_SECRET",
        "",
        "The client's secret there, where it has one. The console alone needs it.",
        from_file=True,
    ),
    Variable("TIDEMARK_OIDC_TITLE", "the issuer's host", "What people call the provider: `Sign in with …`."),
    Variable(
        "TIDEMARK_OIDC_SCOPES",
        "`openid`, and what the provider lists of `profile`, `email` and `groups`",
        "What the console asks the provider for, separated by spaces.",
    ),
    Variable(
        "TIDEMARK_OIDC_ROLES",
        "",
        "Which groups have which role: `admin=GROUP, reviewer=GROUP, annotator=GROUP, viewer=GROUP`. A role may be "
        "named again with another group; of several roles the highest counts.",
    ),
    Variable("TIDEMARK_OIDC_GROUPS", "`groups`", "Claim of the ID token that lists a person's groups."),
    Variable(
        "TIDEMARK_OIDC_NAME",
        "`sub`",
        "Claim of the ID token that is the annotator's id. An id stays with the account that had it first.",
    ),
    Variable("TIDEMARK_OIDC_LIFETIME", "`12h`", "How long a sign-in lasts, from `1m` to `12h`."),
    Variable(
        "TIDEMARK_OIDC_CA",
        "the system's",
        "PEM file: the authority that must have signed the provider's certificate.",
    ),
)
VARIABLES: Final = (*INSTALLATION, *FLOWS, *LABELING, *CONSOLE, *OIDC)
"""All of them; a test compares the table with the names that the code reads."""
