"""`python -m benchmarks format-fuzz`, row I4: mutated records through every decoder, good ones between them.

Each execution is one mutated record. It must be read or refused with a reason, and the good records beside it must be
read as they are alone. Streams of Arrow, of many rows each, are rows or refused whole. What is not so is written to
`format_fuzz_failures.json` with its seed, and ends the run with an error. A seed names a batch: the same seed gives the
same records.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from itertools import product
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import polars as pl

from benchmarks.sources.records import FORMATS, batch_of, encoded, pipeline_of, rows
from benchmarks.support.report import RESULTS, write
from tidemark.formats.arrow_rows import ArrowRows, NoRowsError
from tidemark.formats.declared import Declared
from tidemark.formats.decoder import Decoder

_BATCH: Final = 1_000
_COMPRESSIONS: Final[tuple[Literal["uncompressed", "lz4", "zstd"], ...]] = ("uncompressed", "lz4", "zstd")
_FEW: Final = 20_000
_MANY: Final = 10_000_000
_TELL_SECONDS: Final = 60.0


def mutated(value: bytes, draw: Random) -> bytes:
    """A record with a few changes: bytes put in, left out, overwritten, flipped, doubled or cut off."""
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(value) + 1)
        match draw.randrange(6):
            case 0:
                value = value[:at] + draw.randbytes(draw.choice((1, 2, 4, 9))) + value[at:]
            case 1:
                value = value[:at] + value[at + draw.choice((1, 2, 5)) :]
            case 2:
                content = draw.choice((b"\0", b"\xff", b"\x80" * 10, b"{", b'"', b",", b"9" * 20, draw.randbytes(4)))
                value = value[:at] + content + value[at + len(content) :]
            case 3 if value:
                at %= len(value)
                value = value[:at] + bytes([value[at] ^ 1 << draw.randrange(8)]) + value[at + 1 :]
            case 4:
                value = value[:at] + value[max(at - 8, 0) : at] + value[at:]
            case _:
                value = value[:at]
    return value


def wrong(decoder: Decoder, good: bytes, seed: int, sample: list[bytes]) -> str | None:
    """What is wrong with a batch; None if nothing is."""
    draw = Random(seed)  # noqa: S311 no secret
    values = [good, *(mutated(draw.choice(sample), draw) for _ in range(_BATCH))]
    for place in range(0, len(values), 50):
        values.insert(place, good)
    decoded = decoder.decode(batch_of(values))
    read, bad = set(decoded.rows.tolist()), {each.row for each in decoded.bad}
    if read & bad or len(read) + len(bad) != len(values):
        return "a record is neither read nor refused, or both"
    first = decoded.frame.row(0)
    frame = dict(zip(decoded.rows.tolist(), decoded.frame.iter_rows(), strict=True))
    if any(frame.get(row) != first for row, value in enumerate(values) if value == good):
        return "a good record is refused, or read as another"
    if not all(each.reason for each in decoded.bad):
        return "a record is refused without a reason"
    decoder.event_times(batch_of(values))
    return None


def _check(form: str, folder: Path) -> Callable[[int], str | None]:
    """What is wrong with the batch of a seed."""
    if form == "arrow":
        reader, bodies = ArrowRows(Declared.of(pipeline_of("json", folder))), streams()
        return lambda seed: wrong_stream(reader, seed, bodies)
    sample, decoder = encoded(form, rows(50)), Decoder(pipeline_of(form, folder))
    return lambda seed: wrong(decoder, sample[0], seed, sample)


def streams() -> list[bytes]:
    """Streams of Arrow: plain, with dictionaries, compressed."""
    plain = pl.DataFrame(rows(40))
    frames = [plain, plain.with_columns(pl.col("machine").cast(pl.Categorical))]
    found = []
    for frame, compression in product(frames, _COMPRESSIONS):
        written = BytesIO()
        frame.write_ipc_stream(written, compression=compression, compat_level=pl.CompatLevel.oldest())
        found.append(written.getvalue())
    return found


def wrong_stream(reader: ArrowRows, seed: int, sample: list[bytes]) -> str | None:
    """The same of a batch of streams, each of which is rows or refused whole."""
    draw = Random(seed)  # noqa: S311 no secret
    for _ in range(_BATCH):
        try:
            for piece in reader.read(mutated(draw.choice(sample), draw)):
                if not all(row.startswith(b"{") for row in piece):
                    return "a row is no object"
        except NoRowsError as refused:
            if not str(refused):
                return "a stream is refused without a reason"
    return None


def run(executions: int, first_seed: int) -> list[dict[str, Any]]:
    """Rows for the record.

    Raises:
        SystemExit: a decoder failed; its seed is written down.

    """
    each = executions // (len(FORMATS) + 1)
    done: dict[str, int] = {}
    begun = told = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for form in [*FORMATS, "arrow"]:
            check = _check(form, Path(folder))
            done[form] = 0
            seed = first_seed
            while done[form] < each:
                reason = check(seed)
                if reason is not None:
                    found = {"format": form, "seed": seed, "what": reason}
                    (RESULTS / "format_fuzz_failures.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
                    sys.exit(f"{form}, seed {seed}: {reason}")
                seed += 1
                done[form] += _BATCH
                if time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    print(f"{sum(done.values()):,} executions in {told - begun:,.0f} s", flush=True)
    detail = {"executions": done, "first_seed": first_seed, "batch": _BATCH, "seconds": time.monotonic() - begun}
    value = {"id": "I4 fuzz", "value": 0, "target": 0, "reached": True, "unit": "decoders stopped, neighbours harmed"}
    return [{**value, "detail": detail}]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{_FEW:,} executions")
    parser.add_argument("--executions", type=int, default=0, help=f"how many; by default {_MANY:,}")
    parser.add_argument("--seed", type=int, default=1, help="of the first batch")
    given = parser.parse_args()
    name = "format_fuzz.quick" if given.quick else "format_fuzz"
    write(name, run(given.executions or (_FEW if given.quick else _MANY), given.seed))
