"""The files that take longest, longest first: they are begun first, so that no worker is alone with one at the end.

A file that is missing here costs some waiting at most; seconds are of one of three workers of `make test` on two cores.
Where files have one name, they are of the longest of them.
"""

from __future__ import annotations

from typing import Final

LONGEST: Final = (
    "test_tutorial.py",  # 91 s
    "test_reset.py",  # 69 s
    "test_first.py",  # 67 s
    "test_webhooks_killed.py",  # 59 s
    "test_loop_faults.py",  # 54 s
    "test_label_page.py",  # 52 s
    "test_clocks.py",  # 50 s
    "test_lineage.py",  # 48 s
    "test_stopping.py",  # 47 s
    "test_stream_replay.py",  # 42 s
    "test_up.py",  # 42 s
    "test_label_efficiency.py",  # 41 s
    "test_unreadable.py",  # 40 s
    "test_windows.py",  # 40 s
    "test_labeling_chaos.py",  # 37 s
    "test_engine_faults.py",  # 36 s
    "test_label_faults.py",  # 35 s
    "test_labeling_kafka.py",  # 34 s
    "test_watcher.py",  # 32 s
    "test_simulate_page.py",  # 28 s
    "test_why_page.py",  # 25 s
    "test_models_page.py",  # 25 s
    "test_labeling_killed.py",  # 25 s
    "test_decide.py",  # 24 s
    "test_webhook_task.py",  # 24 s
    "test_task.py",  # 24 s
    "test_extending.py",  # 24 s
    "test_queue_rules.py",  # 22 s
    "test_rounds.py",  # 22 s
    "test_handover.py",  # 21 s
    "test_processor.py",  # 21 s
    "test_kafka_source.py",  # 21 s
    "test_simulate.py",  # 19 s
    "test_duplicates.py",  # 19 s
    "test_quality.py",  # 18 s
    "test_cluster.py",  # 18 s
    "test_accepted_runs.py",  # 17 s
    "test_edited_pipeline.py",  # 16 s
    "test_loop.py",  # 16 s
    "test_client.py",  # 16 s
    "test_why.py",  # 16 s
    "test_message_sizes.py",  # 15 s
    "test_embedded.py",  # 15 s
    "test_watch_sample.py",  # 15 s
    "test_without_kafka.py",  # 14 s
    "test_warmup.py",  # 14 s
    "test_reference.py",  # 13 s
    "test_monitor_flow.py",  # 13 s
    "test_calls.py",  # 12 s
    "test_label.py",  # 12 s
    "test_review_page.py",  # 12 s
    "test_source_task.py",  # 12 s
    "test_own_flow.py",  # 11 s
    "test_family.py",  # 11 s
    "test_letters_page.py",  # 11 s
    "test_mqtt_source.py",  # 10 s
    "test_flows_in_one_piece.py",  # 10 s
    "test_files_killed.py",  # 10 s
    "test_administering.py",  # 10 s
    "test_overlap_rules.py",  # 10 s
    "test_gate.py",  # 10 s
    "test_focus.py",  # 9 s
    "test_publish.py",  # 9 s
    "test_flows.py",  # 9 s
    "test_malformed_requests.py",  # 8 s
    "test_ranking.py",  # 7 s
    "test_thresholds.py",  # 7 s
    "test_postgres.py",  # 7 s
    "test_supervised.py",  # 7 s
    "test_deadletter.py",  # 7 s
    "test_stream_flow.py",  # 7 s
    "test_ingest.py",  # 7 s
    "test_hostile_calls.py",  # 7 s
    "test_security.py",  # 7 s
    "test_routes_matrix.py",  # 7 s
    "test_replay.py",  # 6 s
    "test_broker_cli.py",  # 6 s
    "test_queue_command.py",  # 6 s
    "test_use_cases_fed.py",  # 6 s
    "test_detector.py",  # 6 s
    "test_stream_bad_input.py",  # 6 s
    "test_estimates.py",  # 6 s
    "test_cut_windows.py",  # 6 s
)
