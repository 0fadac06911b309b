"""The files that take longest, longest first: they are begun first, so that no worker is alone with one at the end.

A file that is missing here costs some waiting at most; seconds are of two processes on two cores with two busy beside.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "test_label_faults.py",  # 216 s
    "test_reset.py",  # 201 s
    "test_table.py",  # 192 s
    "test_engine_faults.py",  # 184 s
    "test_quality.py",  # 123 s
    "test_scheduler.py",  # 108 s
    "test_rounds.py",  # as long
    "test_tutorial.py",  # 115 s
    "test_windows.py",  # 103 s
    "test_labeling_killed.py",  # 103 s
    "test_clocks.py",  # 97 s
    "test_forest.py",  # 94 s
    "test_labeling_kafka.py",  # 93 s
    "test_administering.py",  # 80 s
    "test_task.py",  # 79 s
    "test_signals.py",  # 74 s
    "test_loop_faults.py",  # 69 s
    "test_warmup.py",  # 64 s
    "test_labeling_chaos.py",  # 63 s
    "test_determinism.py",  # 58 s
    "test_parquet_rows.py",  # 56 s
    "test_admin_service.py",  # 54 s
    "test_first.py",  # 52 s
    "test_edited_pipeline.py",  # 47 s
    "test_up.py",  # 46 s
    "test_unreadable.py",  # 45 s
    "test_label.py",  # 43 s
    "test_watcher.py",  # 41 s
    "test_replay.py",  # 37 s
    "test_stream_replay.py",  # 34 s
    "test_broker_cli.py",  # 31 s
    "test_files_killed.py",  # 35 s
    "test_source_task.py",  # 30 s
    "test_kafka_source.py",  # 30 s
    "test_ingest.py",  # 29 s
    "test_overlap_rules.py",  # 28 s
    "test_queue_rules.py",  # 28 s
    "test_label_efficiency.py",  # 27 s
    "test_dead_letter.py",  # 26 s
    "test_embedded.py",  # 23 s
)
