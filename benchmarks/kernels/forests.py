"""`make bench-kernels`, rows K6: LightGBM forests beside LightGBM, treelite, lleaves and onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import lightgbm as lgb
import llvmlite.binding
import numpy as np
from numpy.typing import NDArray

from benchmarks.kernels import bounds
from benchmarks.kernels.bounds import bounded
from benchmarks.kernels.rows import Row, Work, installed, row, same, timed
from benchmarks.support.timing import median_seconds
from kernels import Forest

Array = NDArray[Any]
Predict = Callable[[Array], Any]

llvm: Any = llvmlite.binding

_COMPILED_TREES: Final = 100


def trained(rounds: int, leaves: int, x: Array) -> lgb.Booster:
    """A binary model of so many trees."""
    y = (x[:, 0] * x[:, 1] + x[:, 2] + np.random.default_rng(0).normal(size=len(x)) > 0).astype(float)
    options = {"objective": "binary", "num_leaves": leaves, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    return lgb.train(options, lgb.Dataset(x[:20_000], y[:20_000]), rounds)


def look_ups(forest: Forest) -> float:
    """Seconds of a row's look-ups, all of them in the nearest cache."""
    tables = forest._tables  # noqa: SLF001  (what the kernel does is counted)
    return 0.0 if tables is None else len(tables.pair_column) * bounds.look_up()


def levels(forest: Forest) -> float:
    """Seconds of a row's way down all trees, eight at a time."""
    bundles = forest._bundles  # noqa: SLF001  (what the kernel does is counted)
    depths = np.zeros(0) if bundles is None else bundles.depth
    deepest = [depths[i : i + 8].max() for i in range(0, len(depths), 8)]
    return float(2 * bounds.load() * np.sum(deepest))


class _Passes:
    """LLVM's passes by their new interface: llvmlite dropped the one that lleaves 1.3 calls."""

    def populate(self, _manager: object) -> None:
        """Passes are put together by `run`."""

    def run(self, module: Any) -> None:  # noqa: ANN401  (llvmlite has no types)
        """Optimise a module as lleaves asks for: level 3, inlining threshold 1."""
        llvm.initialize_native_target()
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        tuning.inlining_threshold = 1
        machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
        passes = llvm.create_pass_builder(machine, tuning)
        passes.getModulePassManager().run(module, passes)


def lleaves_predict(path: Path) -> Predict | None:
    """Raw scores by lleaves, which compiles the model; None where it is not installed."""
    lleaves = installed("lleaves")
    if lleaves is None:
        return None
    model = lleaves.Model(model_file=str(path))
    new: dict[str, Any] = {"initialize": lambda: None, "PassManagerBuilder": _Passes, "ModulePassManager": _Passes}
    with patch.multiple(llvm, create=True, **new):
        model.compile(raw_score=True)
    return lambda x: model.predict(x, n_jobs=1)


def treelite_predict(path: Path) -> Predict | None:
    """Probabilities by treelite; None where it is not installed."""
    treelite = installed("treelite.gtil", "treelite.frontend", "treelite")
    if treelite is None:
        return None
    model = treelite.frontend.load_lightgbm_model(path)
    return lambda x: treelite.gtil.predict(model, x, nthread=1)


def onnx_predict(booster: lgb.Booster) -> Predict | None:
    """Probabilities (n, 2) of float32 rows by onnxruntime; None where it or the converter is not installed."""
    runtime, tools = installed("onnxruntime"), installed("onnxmltools.convert.common.data_types", "onnxmltools")
    if runtime is None or tools is None:
        return None
    kind = tools.convert.common.data_types.FloatTensorType([None, booster.num_feature()])
    model = tools.convert_lightgbm(booster, initial_types=[("x", kind)], zipmap=False)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["probabilities"], {"x": x})[0]


def rows(*, quick: bool) -> list[Row]:
    """K6: the value is LightGBM's time over ours; the others stand beside it."""
    n, repeats = (10_000, 3) if quick else (100_000, 7)
    x = np.random.default_rng(6).normal(size=(n, 20))
    found = []
    for trees, leaves in ((100, 31),) if quick else ((100, 31), (500, 63)):
        id_ = f"K6.{trees}x{leaves}"
        booster = trained(trees, leaves, x)
        forest = Forest.from_text(booster.model_to_string())
        same(id_, "LightGBM", forest.raw(x), booster.predict(x, raw_score=True))
        peers, detail = _peers(id_, booster, forest, x)
        detail |= {"trees": trees, "leaves": leaves, "features": 20, "quick": quick}
        for id_here, part, times in ((id_, [x], repeats), (f"{id_}.single", [x[i : i + 1] for i in range(200)], 3)):
            ours = median_seconds(_each(forest.raw, part), repeats)
            theirs = timed({name: _each(predict, part) for name, predict in peers.items()}, times)
            beside = {f"{name}_ms": round(taken * 1e3, 3) for name, taken in theirs.items()}
            limit = (
                bounded("a look-up a row, tree and feature of the tree", n * look_ups(forest), ours)
                if len(part) == 1
                else bounded("two loads, one after the other, a level of eight trees", 200 * levels(forest), ours)
            )
            asked = {"rows": sum(map(len, part)), **detail, **beside, **limit}
            found.append(row(id_here, ours, {"LightGBM": theirs["LightGBM"]}, 3.0, asked))
    return found


def _each(predict: Predict, parts: list[Array]) -> Work:
    return lambda: [predict(part) for part in parts]


def _peers(id_: str, booster: lgb.Booster, forest: Forest, x: Array) -> tuple[dict[str, Predict], dict[str, Any]]:
    """Who predicts the same, and what is to be said of them."""
    peers: dict[str, Predict] = {"LightGBM": lambda rows: booster.predict(rows, raw_score=True, num_threads=1)}
    said: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.txt"
        booster.save_model(path)
        treelite = treelite_predict(path)
        if forest.model.trees > _COMPILED_TREES:
            said["lleaves"] = f"left out: compiles more than {_COMPILED_TREES} trees for minutes"
            lleaves = None
        else:
            lleaves = lleaves_predict(path)
    if treelite is not None:
        same(id_, "treelite", forest.probability(x), treelite(x), 1e-9)
        peers["treelite"] = treelite
    if lleaves is not None:
        same(id_, "lleaves", forest.raw(x), lleaves(x), 1e-9)
        peers["lleaves"] = lleaves
    onnx = onnx_predict(booster)
    if onnx is not None:
        # thresholds are rounded to float32, so that a row on the edge of one may go the other way
        narrow = x.astype(np.float32)
        equal = np.abs(onnx(narrow)[:, 1] - forest.probability(narrow)) < 1e-5
        if equal.mean() < 0.99:
            raise AssertionError(f"{id_}: onnxruntime predicts otherwise for {(~equal).sum()} of {len(x)} rows")
        said["onnxruntime_other_rows"] = int((~equal).sum())
        peers["onnxruntime"] = lambda rows: onnx(rows.astype(np.float32))
    return peers, said
