"""Real data as streams: in time order, with truth that is known when it was, and without what leaks it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from tidemark.datasets import DATASETS, backblaze, handbook, itsm, physionet
from tidemark.errors import ConfigError
from tidemark.pipeline import load
from tidemark.runtime.settings import Settings
from tidemark.simulators.simulation import DAY

PIPELINES = Path(__file__).parents[3] / "pipelines" / "real"
LEAKS = {
    "handbook": {"TX_FRAUD", "TX_FRAUD_SCENARIO"},
    "backblaze": {"failure", "label_fails_within_7d"},
    "itsm": {"made_sla", "resolved_at", "resolved_by", "closed_at", "closed_code", "label_sla_breached"},
    "physionet": {"SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death"},
}
COLUMNS = {
    "handbook": handbook.COLUMNS,
    "backblaze": backblaze.COLUMNS,
    "itsm": itsm.COLUMNS,
    "physionet": physionet.COLUMNS,
}


def micros(*when: int) -> int:
    """µs since 1970 of a date and time in UTC."""
    return int(pl.Series([datetime(*when)]).dt.epoch("us")[0])  # type: ignore[arg-type]  # noqa: DTZ001 UTC by ours


@pytest.mark.parametrize("name", DATASETS)
def test_a_pipeline_reads_what_its_stream_has_and_names_what_leaks(name: str) -> None:
    pipeline = load(PIPELINES / f"{name}.toml")
    assert set(pipeline.columns) == set(COLUMNS[name])
    assert set(pipeline.label.leaks) == LEAKS[name]
    assert not LEAKS[name] & ({*COLUMNS[name]} | {*pipeline.feature_names} | {*pipeline.label.context})


@pytest.mark.parametrize("name", DATASETS)
def test_the_real_stream_is_in_time_order_with_a_truth_for_each_event_that_comes_later(name: str) -> None:
    folder = Settings.from_environment().data_dir
    data = DATASETS[name]
    if not all(path.is_file() for path in data.paths(folder)):
        pytest.skip(f"{', '.join(data.files)} is not in {folder}; name its folder in TIDEMARK_DATA")
    pipeline = load(PIPELINES / f"{name}.toml")
    stream = data.load(folder, 20_000)
    assert tuple(stream.events.columns) == COLUMNS[name]
    assert stream.events["time"].is_sorted()
    assert stream.truth["time"].is_sorted()
    assert stream.truth["business_id"].n_unique() == len(stream.truth) == 20_000
    assert set(stream.truth["label"]) <= set(pipeline.label.classes)
    assert bool((stream.truth["known_at"] >= stream.truth["time"]).all())
    assert stream.events.select(pipeline.keys).null_count().row(0) == (0,) * len(pipeline.keys)


def test_a_folder_without_the_files_is_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*backblaze_2013\.parquet.*TIDEMARK_DATA"):
        DATASETS["backblaze"].load(tmp_path)


def test_a_stream_is_read_from_the_files_of_the_folder(tmp_path: Path) -> None:
    _payments().write_parquet(tmp_path / "handbook_simulated.parquet")
    assert DATASETS["handbook"].load(tmp_path, 1).events["transaction_id"].to_list() == ["7"]
    assert len(DATASETS["handbook"].load(tmp_path).truth) == 2


def test_a_payments_truth_is_known_a_week_later() -> None:
    stream = handbook.stream(_payments().lazy())
    assert stream.events["transaction_id"].to_list() == ["7", "8"]
    assert stream.events["time"][0] == "2018-04-01T00:00:31.000000Z"
    assert stream.truth["label"].to_list() == ["legitimate", "fraud"]
    assert (stream.truth["known_at"] - stream.truth["time"]).to_list() == [7 * DAY, 7 * DAY]


def test_a_drives_truth_is_known_when_it_fails_or_when_the_week_is_over() -> None:
    """Two drives over ten days; one fails on the tenth."""
    days = [date(2013, 5, day) for day in range(1, 11)]
    frame = pl.DataFrame(
        {
            "date": days * 2,
            "serial_number": ["A"] * 10 + ["B"] * 10,
            "model": "M",
            "capacity_bytes": [3 * 10**12] * 10 + [-1] * 10,
            "failure": [0] * 9 + [1] + [0] * 10,
            "label_fails_within_7d": [0] * 3 + [1] * 7 + [0] * 10,
            **{f"smart_{number}_raw": range(20) for number in backblaze.SMART},
        }
    )
    stream = backblaze.stream(frame.lazy())
    assert stream.events["reading_id"].head(3).to_list() == ["A@2013-05-01", "B@2013-05-01", "A@2013-05-02"]
    assert stream.events["capacity_tb"].head(2).to_list() == [3.0, None]
    of_a = stream.truth.filter(pl.col("business_id").str.starts_with("A"))
    assert of_a["label"].to_list() == ["works"] * 3 + ["fails"] * 7
    waits = ((of_a["known_at"] - of_a["time"]) // DAY).to_list()
    assert waits == [6, 6, 6, 6, 5, 4, 3, 2, 1, 0]
    of_b = stream.truth.filter(pl.col("business_id").str.starts_with("B"))
    assert set(of_b["known_at"] - of_b["time"]) == {6 * DAY}


def test_an_incidents_truth_is_known_at_its_end_and_nothing_is_asked_from_then_on() -> None:
    """The file has updates by incident, the stream by time."""
    frame = pl.DataFrame(
        {
            "number": ["I1", "I1", "I1", "I2", "I2"],
            "sys_updated_at": [datetime(2016, 3, 1, hour) for hour in (1, 5, 9, 2, 3)],  # noqa: DTZ001 as in the file
            "opened_at": [datetime(2016, 3, 1)] * 5,  # noqa: DTZ001 as in the file
            "assignment_group": ["G1", None, "G1", "G2", "G2"],
            "incident_state": ["New", "Active", "Closed", "New", "Closed"],
            "contact_type": "Phone",
            "category": "C",
            "reassignment_count": 0,
            "reopen_count": 0,
            "sys_mod_count": 0,
            "impact": "2 - Medium",
            "urgency": "1 - High",
            "priority": "3 - Moderate",
            "knowledge": True,
            "u_priority_confirmation": False,
            "label_sla_breached": [1, 1, 1, 0, 0],
        }
    )
    stream = itsm.stream(frame.lazy())
    assert stream.events["update_id"].to_list() == ["I1#0", "I2#3", "I1#1"]
    assert stream.events["assignment_group"].to_list() == ["G1", "G2", "nobody"]
    assert stream.events["age_hours"].to_list() == [1.0, 2.0, 5.0]
    assert stream.events.select("impact", "urgency", "priority").row(0) == (2.0, 1.0, 3.0)
    assert stream.truth["label"].to_list() == ["breached", "kept", "breached"]
    assert stream.truth["known_at"].to_list() == [micros(2016, 3, 1, hour) for hour in (9, 3, 9)]


def test_a_stays_truth_is_known_after_48_hours_and_each_minute_is_one_event() -> None:
    """The beginning is made up, and the same every time."""
    measurements = pl.DataFrame(
        [(stay, minute, name, value) for stay in (1, 2) for minute, name, value in _CHART],
        schema={"RecordID": pl.Int32, "minutes": pl.Int16, "Parameter": pl.String, "Value": pl.Float64},
        orient="row",
    )
    outcomes = pl.DataFrame({"RecordID": [1, 2], "In-hospital_death": [1, 0]})
    stream = physionet.stream(measurements.lazy(), outcomes.lazy())
    assert stream.events.equals(physionet.stream(measurements.lazy(), outcomes.lazy()).events)
    first = stream.events.filter(pl.col("stay_id") == "1").to_dicts()
    assert [row["measurement_id"] for row in first] == ["1+7", "1+60"]
    assert [(row["heart_rate"], row["gcs"], row["age"], row["icu_type"]) for row in first] == [
        (88.0, None, 54.0, "3"),
        (91.0, 15.0, 54.0, "3"),
    ]
    assert [row["hours_in"] for row in first] == [7 / 60, 1.0]
    dies = stream.truth.filter(pl.col("business_id").str.starts_with("1+"))
    assert dies["label"].to_list() == ["dies", "dies"]
    assert (dies["known_at"] - dies["time"]).to_list() == [2 * DAY - 7 * 60_000_000, 2 * DAY - 60 * 60_000_000]


_CHART = [
    (0, "Age", 54.0),
    (0, "ICUType", 3.0),
    (0, "Gender", 1.0),
    (0, "Height", -1.0),
    (7, "HR", 87.0),
    (7, "HR", 88.0),
    (60, "HR", 91.0),
    (60, "GCS", 15.0),
    (90, "MechVent", 1.0),
]


def _payments() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "TRANSACTION_ID": [8, 7],
            "TX_DATETIME": [datetime(2018, 4, 1, 1), datetime(2018, 4, 1, 0, 0, 31)],  # noqa: DTZ001 as in the file
            "CUSTOMER_ID": [5, 6],
            "TERMINAL_ID": [1, 2],
            "TX_AMOUNT": [10.5, 20.0],
            "TX_FRAUD": [1, 0],
        }
    )
