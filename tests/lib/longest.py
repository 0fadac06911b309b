"""The files that take longest, longest first: they are begun first, so that no worker is alone with one at the end.

A file that is missing here costs some waiting at most; seconds are of two processes on two cores that others worked on
as well, three times as long as on a quiet machine. Where files have one name, they are of the longest of them.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "test_tutorial.py",  # 232 s
    "test_windows.py",  # 195 s
    "test_first.py",  # 178 s
    "test_family.py",  # 171 s
    "test_stopping.py",  # 169 s
    "test_reset.py",  # 146 s
    "test_loop_faults.py",  # 132 s
    "test_clocks.py",  # 131 s
    "test_processor.py",  # 129 s
    "test_start.py",  # 115 s
    "test_quality.py",  # 96 s
    "test_webhooks_killed.py",  # 95 s
    "test_task.py",  # 94 s
    "test_extending.py",  # 93 s
    "test_duplicates.py",  # 91 s
    "test_labeling_chaos.py",  # 88 s
    "test_simulate.py",  # 87 s
    "test_simulate_page.py",  # 86 s
    "test_admin_service.py",  # 82 s
    "test_accepted_runs.py",  # 76 s
    "test_parquet_rows.py",  # 75 s
    "test_warmup.py",  # 72 s
    "test_label_page.py",  # 71 s
    "test_engine_faults.py",  # 70 s
    "test_watch_sample.py",  # 68 s
    "test_up.py",  # 67 s
    "test_mutations.py",  # 65 s
    "test_label_efficiency.py",  # 64 s
    "test_label_faults.py",  # 63 s
    "test_labeling_kafka.py",  # 63 s
    "test_hostile_records.py",  # 63 s
    "test_watcher.py",  # 59 s
    "test_metrics.py",  # 58 s
    "test_administering.py",  # 58 s
    "test_embedded.py",  # 58 s
    "test_queue_rules.py",  # 52 s
    "test_every_setting.py",  # 51 s
    "test_flows.py",  # 49 s
    "test_unbiased.py",  # 49 s
    "test_stream_replay.py",  # 49 s
    "test_forgetting.py",  # 47 s
    "test_broken_records.py",  # 47 s
    "test_mqtt_source.py",  # 46 s
    "test_own_source.py",  # 45 s
    "test_labeling_killed.py",  # 44 s
    "test_edited_pipeline.py",  # 44 s
    "test_asked.py",  # 43 s
    "test_cluster.py",  # 43 s
    "test_table.py",  # 42 s
    "test_from_stream.py",  # 42 s
    "test_focus.py",  # 41 s
    "test_gate.py",  # 38 s
    "test_monitor.py",  # 38 s
    "test_rounds.py",  # 38 s
    "test_folder_source.py",  # 37 s
    "test_unreadable.py",  # 37 s
    "test_deadletter.py",  # 37 s
    "test_models_page.py",  # 35 s
    "test_flows_in_one_piece.py",  # 33 s
    "test_letters_page.py",  # 32 s
    "test_broker_cli.py",  # 32 s
    "test_label.py",  # 32 s
    "test_webhook_task.py",  # 32 s
    "test_kafka_source.py",  # 32 s
    "test_json_records.py",  # 31 s
)
