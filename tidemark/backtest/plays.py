"""Every arm with every seed, on all cores, until a time is up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Final

import numpy as np

from tidemark.backtest.arms import Arm, with_settings
from tidemark.backtest.examination import Examination
from tidemark.backtest.loop import Loop
from tidemark.backtest.playing import play
from tidemark.backtest.stream import LabeledStream
from tidemark.registry.sandbox import Sandbox

BLOCKS: Final = 10
"""Parts of the exam, in the order of time, each of which is left out once: how much the figures owe to a part."""
_GLANCE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Point:
    """A champion. labels: known when it was trained.  value: its quality.  without: the same without each block."""

    labels: int
    value: float
    without: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Play:
    """An arm with a seed. constant: of a model that says the same of every event.  asked: cases, known or not."""

    arm: str
    seed: int
    constant: Point
    points: tuple[Point, ...]
    labels: int
    asked: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Played:
    """What was played. planned: how many plays that would have been.  stopped: why it were fewer, "" if not."""

    plays: tuple[Play, ...]
    planned: int
    stopped: str


def played(
    stream: LabeledStream,
    arms: Sequence[Arm],
    seeds: Sequence[int],
    *,
    minutes: float,
    show: Callable[[float, int], None] = lambda _share, _done: None,
    workers: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Played:
    """Play the arms, all with the first seed, then all with the next.

    Args:
        stream: what comes.
        arms: what is compared.
        seeds: of coins and trainer.
        minutes: after which plays are broken off. Only whole ones count.
        show: told what share of all tiles was played, and how many plays are done.
        workers: threads; by default one for each core.
        clock: s, by which minutes are counted.

    Returns:
        The plays, in the order of seeds and arms.

    """
    until = clock() + minutes * 60
    halt = threading.Event()
    tiles = sum(1 for _ in stream.by_tile())
    gone = [0] * (len(arms) * len(seeds))
    stopped = ""
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as threads:
        jobs: list[Future[Play | None]] = []
        for seed in seeds:
            for arm in arms:
                jobs.append(threads.submit(_played, stream, arm, seed, halt, gone, len(jobs)))
        try:
            waiting: set[Future[Play | None]] = set(jobs)
            while waiting:
                _, waiting = wait(waiting, timeout=_GLANCE, return_when=FIRST_COMPLETED)
                show(sum(gone) / max(1, tiles * len(jobs)), len(jobs) - len(waiting))
                for job in jobs:
                    if job.done() and job.exception() is not None:
                        job.result()
                if waiting and clock() > until:
                    stopped = f"{minutes:g} minutes were over"
                    break
        except KeyboardInterrupt:
            stopped = "it was stopped"
        finally:
            halt.set()
            threads.shutdown(wait=True, cancel_futures=True)
    found = [job.result() for job in jobs if job.done() and not job.cancelled()]
    return Played(tuple(each for each in found if each is not None), len(jobs), stopped)


def _played(
    stream: LabeledStream, arm: Arm, seed: int, halt: threading.Event, gone: list[int], place: int
) -> Play | None:
    """A play; None where it was broken off."""
    begun = time.thread_time()
    version = f"{arm.pipeline.selection.version}/s{seed}"
    pipeline = with_settings(arm.pipeline, {"selection": {"version": version}}, checked=True)
    exam = Examination(stream, pipeline, np.arange(stream.exam, len(stream.target)))
    points: list[Point] = []
    asked = known = 0
    with Sandbox() as sandbox:
        loop = Loop(pipeline, sandbox, seed=seed, headline=False)
        for moment in play(stream, pipeline, loop):
            if halt.is_set():
                return None
            gone[place] += 1
            asked, known = moment.asked, moment.known
            if moment.champion is not None:
                points.append(Point(known, *exam.with_blocks(moment.champion.says(exam.features), BLOCKS)))
    constant = Point(0, *exam.constant_with_blocks(BLOCKS))
    return Play(arm.name, seed, constant, tuple(points), known, asked, time.thread_time() - begun)
