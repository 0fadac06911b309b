"""L2: strategies of scikit-activeml, River and modAL, with LightGBM or a random forest, on the same streams and budget.

A peer has another package's strategy, and one of two learners with their defaults. It trains when there are as many new
labels as make our own schedule train, and every model counts: no gate keeps one back. Strategies of scikit-activeml and
River go through a tile event by event; what they ask beyond the budget of the tiles so far is not answered. That of
modAL chooses from a whole tile, as ours do.

Needs what `requirements-bench.txt` names.
"""

from __future__ import annotations

import time
import warnings
from typing import Any, Final, Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from benchmarks.labels.curve import Run, final_exam, moments_of, next_period
from benchmarks.labels.drafted_sets import DraftedSet
from tidemark.backtest.answers import answers_of
from tidemark.training.schedule import pause

_SCIKIT: Final = ("Split", "VariableUncertainty", "RandomVariableUncertainty", "FixedUncertainty")
RIVER: Final = "River entropy"
MODAL: Final = "modAL margin"
STRATEGIES: Final = (*_SCIKIT, RIVER, MODAL)
LEARNERS: Final = ("lightgbm", "forest")
PEERS: Final = {f"{strategy}, {learner}": (strategy, learner) for strategy in STRATEGIES for learner in LEARNERS}
"""Name of an arm, its strategy and its learner."""


def played(data: DraftedSet, name: str, seed: int) -> Run:
    """Play a peer; arguments and the run as `benchmarks.labels.curve.played` has them."""
    begun = time.process_time()
    strategy, learner = PEERS[name]
    pipeline = data.pipeline({})
    if pipeline.label.is_number:
        raise SystemExit(f"{data.name}: its label is a number, and peers choose among classes; leave out --peers")
    selection, classes = pipeline.selection, len(pipeline.label.classes)
    exam = final_exam(data, pipeline)
    tiles = list(data.stream.by_tile())
    moments = moments_of(data)
    share = sum(min(selection.budget, len(rows)) for _, rows in tiles) / data.streamed
    asking = _asking(strategy, classes, share, seed)
    asked: list[int] = []
    model: _Model | None = None
    learnt, left = 0, 0
    points: list[tuple[int, float]] = []
    track: list[tuple[int, float, float, int]] = []
    on_exam = exam.constant
    for at, (_, rows) in enumerate(tiles):
        left += min(selection.budget, len(rows))
        table = np.full((len(rows), classes), 1 / classes) if model is None else model(data.features[rows])
        wanted = asking.of(table, left)[:left]
        left -= len(wanted)
        asked += rows[wanted].tolist()
        due = pipeline.training.min_labels if model is None else learnt + pause(pipeline, learnt)
        if len(asked) >= due and len(np.unique(data.target[asked])) > 1:
            model, learnt = _Model(learner, data, asked, classes, seed), len(asked)
            on_exam = exam.of(model(exam.features))
            points.append((learnt, on_exam))
        if at in moments:
            period = next_period(data, pipeline, int(rows[-1]) + 1)
            now = period.constant if model is None else period.of(model(period.features))
            positives = int(answers_of(pipeline).sought(data.target[asked]).sum())
            track.append((len(asked), now, on_exam, positives))
    final = exam.constant
    if len(np.unique(data.target[asked])) > 1:
        final = exam.of(_Model(learner, data, asked, classes, seed)(exam.features))
    return Run(
        set=data.name,
        arm=name,
        seed=seed,
        labels=len(asked),
        points=[(spent, round(value, 5)) for spent, value in points],
        track=[(spent, round(now, 5), round(then, 5), found) for spent, now, then, found in track],
        final=round(final, 5),
        lightgbm=float("nan"),
        constant=round(exam.constant, 5),
        first_model=points[0][0] if points else None,
        gate=(0, len(points)),
        log_loss=float("nan"),
        seconds=round(time.process_time() - begun, 2),
    )


class _Model:
    """Probabilities (n, classes) of a learner with its defaults."""

    def __init__(self, learner: str, data: DraftedSet, asked: list[int], classes: int, seed: int) -> None:
        from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - peers alone need it

        kind: Any = (
            lgb.LGBMClassifier(n_jobs=1, random_state=seed, verbosity=-1)
            if learner == "lightgbm"
            else RandomForestClassifier(n_jobs=1, random_state=seed)
        )
        self._kind = kind.fit(np.nan_to_num(data.features[asked], nan=-1e6), data.target[asked])
        self._classes = classes

    def __call__(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        table = np.zeros((len(rows), self._classes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # LightGBM wants the names of features
            table[:, self._kind.classes_] = self._kind.predict_proba(np.nan_to_num(rows, nan=-1e6))
        return table


class _Asking(Protocol):
    """A strategy that is given probabilities: which rows of a tile it asks about, in their order."""

    def of(self, table: NDArray[np.float64], left: int, /) -> list[int]:
        """Rows asked about, given their probabilities (n, classes); `left` may be."""


def _asking(strategy: str, classes: int, share: float, seed: int) -> _Asking:
    if strategy == RIVER:
        return _River(seed)
    return _Modal(seed) if strategy == MODAL else _Scikit(strategy, classes, share, seed)


class _River:
    """Asks about an event with the probability that its entropy, to the power of 3, is."""

    def __init__(self, seed: int) -> None:
        from river.active import EntropySampler  # noqa: PLC0415
        from river.base import Classifier  # noqa: PLC0415

        class Given(Classifier):  # type: ignore[misc]
            """A classifier that is told its probabilities."""

            def learn_one(self, x: Any, y: Any) -> None:  # noqa: ANN401
                pass

            def predict_proba_one(self, x: Any) -> Any:  # noqa: ANN401
                return x

        self._sampler = EntropySampler(Given(), seed=seed)

    def of(self, table: NDArray[np.float64], left: int, /) -> list[int]:  # noqa: ARG002 - event by event
        """Rows asked about."""
        given = (dict(enumerate(row)) for row in table.tolist())
        return [at for at, row in enumerate(given) if self._sampler.predict_proba_one(row)[1]]


class _Modal:
    """Asks about the smallest margins of a tile; equal ones by chance."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def of(self, table: NDArray[np.float64], left: int, /) -> list[int]:
        """Rows asked about."""
        from modAL.uncertainty import margin_sampling  # noqa: PLC0415

        class Given:
            """A classifier whose rows are its probabilities."""

            def predict_proba(self, X: Any) -> Any:  # noqa: ANN401, N803
                return X

        order = self._rng.permutation(len(table))
        found: list[int] = order[margin_sampling(Given(), table[order], n_instances=min(left, len(table)))[0]].tolist()
        return found


class _Scikit:
    """A strategy of scikit-activeml, with its budget manager."""

    def __init__(self, strategy: str, classes: int, share: float, seed: int) -> None:
        from skactiveml import stream  # noqa: PLC0415
        from skactiveml.base import SkactivemlClassifier  # noqa: PLC0415

        names = list(range(classes))
        own = self
        self.table = np.zeros((0, classes))

        class Given(SkactivemlClassifier):  # type: ignore[misc]
            """A classifier that knows the probabilities of rows by their numbers."""

            def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:  # noqa: ANN401, ARG002, N803
                self.classes_ = np.array(names)
                return self

            def predict_proba(self, X: Any) -> Any:  # noqa: ANN401, N803
                return own.table[np.asarray(X)[:, 0].astype(np.int64)]

            def predict(self, X: Any) -> Any:  # noqa: ANN401, N803
                return self.classes_[self.predict_proba(X).argmax(axis=1)]

        more = {"classes": names} if strategy == "FixedUncertainty" else {}
        self._strategy = getattr(stream, strategy)(budget=share, random_state=seed, **more)
        self._given: Any = Given(classes=names)
        self._given.fit(None, None)

    def of(self, table: NDArray[np.float64], left: int, /) -> list[int]:  # noqa: ARG002 - event by event
        """Rows asked about."""
        self.table = table
        candidates = np.arange(len(table), dtype=np.float64)[:, None]
        asked, utilities = self._strategy.query(
            candidates=candidates, clf=self._given, fit_clf=False, return_utilities=True
        )
        self._strategy.update(
            candidates=candidates, queried_indices=asked, budget_manager_param_dict={"utilities": utilities}
        )
        return [int(each) for each in asked]
