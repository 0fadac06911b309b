"""Mistakes of first users: what they type, over which file, in which environment, and what they must be told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FRAUD: Final = (Path(__file__).parents[1] / "pipelines" / "fraud.toml").read_text(encoding="utf-8")
DEAD: Final = "127.0.0.1:1"
"""Where nothing listens."""


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    words: of the command, `tidemark` apart. `{name}` stands for the path of a file of that name in the test's folder.
    told: regular expressions that the message must match: what and where, and what to do.
    files: texts by name.
    environment: variables; `{name}` as in words. Where no Kafka is named, none runs.
    """

    words: str
    told: tuple[str, ...]
    files: dict[str, str | bytes] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def _edited(old: str, new: str, *told: str, words: str = "check {p.toml}") -> Mistake:
    """The shipped pipeline of payments, with one text in place of another."""
    if old not in FRAUD:
        raise ValueError(f"the pipeline has no {old!r}")
    return Mistake(words, told, {"p.toml": FRAUD.replace(old, new, 1)})


def _on_fraud(words: str, *told: str, **environment: str) -> Mistake:
    return Mistake(words, told, {"p.toml": FRAUD}, environment)


FILES: Final[dict[str, Mistake]] = {
    "a pipeline file that is not there": Mistake(
        "check {fruad.toml}", ("fruad.toml: there is no such file", "did you mean 'fraud.toml'"), {"fraud.toml": FRAUD}
    ),
    "a folder for a pipeline file": Mistake("check {.}", ("can't be read: Is a directory",)),
    "a file in another encoding": Mistake(
        "check {p.toml}", ("is not UTF-8 text", "save it as UTF-8"), {"p.toml": FRAUD.encode("utf-16")}
    ),
    "an empty file": Mistake("check {p.toml}", ("p.toml: is empty", "tidemark init --topic"), {"p.toml": ""}),
    "a CSV for a pipeline file": Mistake("check {p.csv}", ("p.csv", "is no TOML"), {"p.csv": "a,b\n1,2\n"}),
    "JSON for a pipeline file": Mistake("check {p.json}", ("p.json", "is no TOML"), {"p.json": '{"name": "p"}'}),
    "a quote that is not closed": _edited('name = "fraud"', 'name = "fraud', "p.toml", "is no TOML", "line 3|:3"),
    "a misspelt key": _edited("positive =", "postive =", "label.postive", "did you mean 'positive'"),
    "a misspelt table": _edited("[training]", "[trainig]", "trainig", "did you mean 'training'"),
    "a number in quotes": _edited("partitions = 4", 'partitions = "four"', "partitions", "integer|whole number"),
    "no partitions": _edited("partitions = 4", "partitions = 0", "partitions", "greater"),
    "a duration in words": _edited(
        'delay = "7d"', 'delay = "1 week"', "label.delay", "'1 week' is not a duration", "'7d'"
    ),
    "a duration without a unit": _edited('delay = "7d"', "delay = 7", "label.delay", "is not a duration", "'7d'"),
    "a window over a column that is not there": _edited(
        'column = "amount"', 'column = "amuont"', r"windows\[2\]", "amuont", "did you mean 'amount'"
    ),
    "a key that is no column": _edited('keys = ["customer_id", ', 'keys = ["customer", ', r"keys\[0\]", "customer_id"),
    "a key that is a measurement": _edited('keys = ["customer_id", ', 'keys = ["amount", ', r"keys\[0\]", "is a float"),
    "a time column that is not there": _edited('column = "time"', 'column = "timestamp"', "time.column", "known|mean"),
    "a time format that does not fit its column": _edited(
        'format = "iso8601"', 'format = "epoch_ms"', "time.format", "type 'int' or 'float'", "'time' is a string"
    ),
    "a time format that there is not": _edited('format = "iso8601"', 'format = "unix"', "time.format", "iso8601"),
    "SQL that is none": _edited('sql = "LOG1P(amount)"', 'sql = "LOG1P(amount"', r"features\[1\]", "sql"),
    "a function of SQL that there is not": _edited("LOG1P(amount)", "LOGG(amount)", r"features\[1\].*LOGG"),
    "SQL over a column that is not there": _edited("LOG1P(amount)", "LOG1P(amont)", "'amont'", "did you mean 'amount'"),
    "SQL over other rows": _edited("LOG1P(amount)", "AVG(amount)", r"features\[1\]", r"\[\[windows\]\]|AVG"),
    "SQL that asks for the clock": _edited("LOG1P(amount)", "NOW() - time", r"features\[1\]", "time column|NOW"),
    "a feature without its function's module": _edited(
        'sql = "LOG1P(amount)"', 'function = "my_features:log"', r"features\[1\]", "my_features", "PYTHONPATH|install"
    ),
    "a function without a colon": _edited(
        'sql = "LOG1P(amount)"', 'function = "my_features.log"', r"features\[1\]", "module:function"
    ),
    "an aggregate that there is not": _edited(
        'aggregate = "mean"', 'aggregate = "avg"', r"windows\[2\]", "'avg'", "mean"
    ),
    "a quantile of which": _edited('aggregate = "std"', 'aggregate = "quantile"', r"windows\[4\]", "probability"),
    "two features of one name": _edited('name = "night"', 'name = "hour"', "hour"),
    "a positive class that is none": _edited('positive = "fraud"', 'positive = "Fraud"', "label.positive", "fraud"),
    "more random cases than cases": _edited("explore = 1", "explore = 9", "selection", "8|budget"),
    "a topic with a space": _edited(
        'topic = "fraud.raw"', 'topic = "my topic"', r"raw\[0\].topic", "'my topic'", "letters"
    ),
    "a pipeline name with a slash": _edited('name = "fraud"', 'name = "team/fraud"', "name", "team/fraud"),
    "a context column that is not there": _edited('"amount", "channel"]', '"amount", "shop"]', "label.context", "shop"),
}

COMMANDS: Final[dict[str, Mistake]] = {
    "a misspelt command": Mistake("stauts p.toml", ("No such command 'stauts'", "Did you mean 'status'")),
    "a misspelt command of a group": Mistake("topic creat x", ("No such command 'creat'", "Did you mean 'create'")),
    "no pipeline file": Mistake("up", ("Missing argument 'PIPELINE'",)),
    "a misspelt option": _on_fraud("status {p.toml} --wacth 2", "No such option", "--watch"),
    "an option out of its range": _on_fraud("status {p.toml} --watch 0", "Invalid value for '--watch'"),
    "a flow that there is not": _on_fraud("run steam {p.toml}", "steam", "stream"),
    "a draft without a topic": Mistake("init", ("Missing option '--topic'",)),
    "a draft over a file that is there": _on_fraud(
        "init --topic x -o {p.toml}", "p.toml", "is there already", "another"
    ),
    "two nodes of Kafka": Mistake("broker up --nodes 2", ("2", "1 node or 3")),
    "a feed without a simulator": Mistake(
        "feed {p.toml}",
        ("pipeline 'mine' has no simulator", "--simulator", "topic produce fraud.raw"),
        {"p.toml": FRAUD.replace('name = "fraud"', 'name = "mine"')},
    ),
    "a misspelt simulator": _on_fraud("feed {p.toml} --simulator frod", "there is no 'frod'", "did you mean 'fraud'"),
    "a history that is not there": _on_fraud(
        "train {p.toml} --from {rows.csv}", "rows.csv", "no such file|does not exist"
    ),
    "a history in a spreadsheet": Mistake(
        "train {p.toml} --from {rows.xlsx}", ("rows.xlsx", "parquet"), {"p.toml": FRAUD, "rows.xlsx": b"PK"}
    ),
    "a token for a role that there is not": _on_fraud(
        "token create {p.toml} --as ada --role boss", "boss", "annotator"
    ),
    "a life in words": _on_fraud("token create {p.toml} --as ada --for forever", "forever", "'7d'"),
    "labels from a file that is not there": _on_fraud(
        "queue import {p.toml} {l.csv}", "l.csv", "no such file|does not exist"
    ),
    "an export to what is no table": _on_fraud("queue export {p.toml} --to {x.pdf}", "x.pdf", "csv"),
    "offsets of a flow that there is not": _on_fraud("reset {p.toml} steam --to earliest", "steam", "stream"),
}

ENVIRONMENT: Final[dict[str, Mistake]] = {
    "no Kafka, for status": _on_fraud("status {p.toml}", "not started yet", "tidemark up"),
    "no Kafka, for a draft": Mistake("init --topic x", ("no Kafka is running", "tidemark broker up")),
    "no Kafka, for dead letters": _on_fraud(
        "deadletter list {p.toml}", "not started yet", "no Kafka is running", r"tidemark up .*p\.toml"
    ),
    "no Kafka, for a flow": _on_fraud(
        "run stream {p.toml}", "not started yet", "no Kafka is running", r"tidemark up .*p\.toml"
    ),
    "no Kafka, for a topic": Mistake("topic list", ("no Kafka is running", "tidemark broker up")),
    "no terminal to label in": _on_fraud("label {p.toml} --as ada", "needs a terminal", "LabelingClient"),
    "a Kafka that does not answer": _on_fraud(
        "status {p.toml}",
        f"Kafka at {DEAD} does not answer",
        "TIDEMARK_BOOTSTRAP_SERVERS",
        TIDEMARK_BOOTSTRAP_SERVERS=DEAD,
    ),
    "a Kafka that does not answer, for up": _on_fraud(
        "up {p.toml}", f"Kafka at {DEAD} does not answer", "TIDEMARK_BOOTSTRAP_SERVERS", TIDEMARK_BOOTSTRAP_SERVERS=DEAD
    ),
    "a server without a port": _on_fraud(
        "status {p.toml}",
        "TIDEMARK_BOOTSTRAP_SERVERS",
        "localhost",
        "host:port",
        TIDEMARK_BOOTSTRAP_SERVERS="localhost",
    ),
    "a server as an address of the web": _on_fraud(
        "status {p.toml}",
        *("TIDEMARK_BOOTSTRAP_SERVERS", "http://localhost:9092", "host:port"),
        TIDEMARK_BOOTSTRAP_SERVERS="http://localhost:9092",
    ),
    "a property that Kafka's client has not": Mistake(
        "topic list",
        ("sasl.usrname", "TIDEMARK_KAFKA_"),
        environment={"TIDEMARK_BOOTSTRAP_SERVERS": DEAD, "TIDEMARK_KAFKA_SASL_USRNAME": "ada"},
    ),
    "a property that exactly-once fixes": Mistake(
        "topic list",
        ("TIDEMARK_KAFKA_ACKS", "nothing is lost"),
        environment={"TIDEMARK_BOOTSTRAP_SERVERS": DEAD, "TIDEMARK_KAFKA_ACKS": "1"},
    ),
    "client settings without a server": Mistake(
        "topic list",
        ("TIDEMARK_KAFKA_SASL_USERNAME is set", "TIDEMARK_BOOTSTRAP_SERVERS is not"),
        environment={"TIDEMARK_KAFKA_SASL_USERNAME": "ada"},
    ),
    "a home that is a file": Mistake(
        "up {p.toml}",
        ("home", "can't be written", "TIDEMARK_HOME"),
        {"p.toml": FRAUD, "home": "a file"},
        {"TIDEMARK_HOME": "{home}"},
    ),
    "a cache that is a file": Mistake(
        "broker up", ("cache", "can't be made", "TIDEMARK_CACHE"), {"cache": "a file"}, {"TIDEMARK_CACHE": "{cache}"}
    ),
    "an audit trail of a pipeline that never ran": _on_fraud("audit list {p.toml}", r"tidemark up .*p\.toml"),
    "a queue of a pipeline that never ran": _on_fraud(
        "queue pause {p.toml} --why x", "not started yet", "labeling service", r"tidemark up .*p\.toml"
    ),
}

MISTAKES: Final = FILES | COMMANDS | ENVIRONMENT
"""All that need no Kafka."""

_LINES: Final = 4
_FRAME: Final = re.compile(r"^[╭╰│─╮╯\s]+|[│\s]+$")


def prepared(mistake: Mistake, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Write the files of a mistake.

    Args:
        mistake: whose files they are.
        folder: of the test, for the files and the state.

    Returns:
        The words of the command, and the variables of its environment.

    """
    for file, content in mistake.files.items():
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    environment = {"TIDEMARK_HOME": str(folder / "state"), "COLUMNS": "80"}
    environment |= {name: _filled(value, folder) for name, value in mistake.environment.items()}
    return [_filled(word, folder) for word in mistake.words.split()], environment


def shortcomings(mistake: Mistake, output: str, status: int) -> list[str]:
    """What is wrong with what was told of a mistake.

    Args:
        mistake: the mistake.
        output: all that was printed.
        status: the command's.

    Returns:
        A phrase for each shortcoming, none where it is as it must be.

    """
    framed = [_FRAME.sub("", line) for line in output.splitlines()]
    message = [line for line in framed if line and not line.startswith(("Usage:", "Try '", "Error ─"))]
    whole = " ".join(message)
    found = [f"does not tell {each!r}" for each in mistake.told if not re.search(each, whole)]
    if status in {0, -6, -9, -11, -15}:
        found.append(f"status {status}")
    if "Traceback" in output or "panicked" in output:
        found.append("a traceback")
    if len(message) >= _LINES:
        found.append(f"{len(message)} lines")
    return found


def _filled(text: str, folder: Path) -> str:
    return re.sub(r"\{([\w.]+)\}", lambda match: str(folder / match[1]), text)
