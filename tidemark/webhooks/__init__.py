"""Webhooks: what happens in a pipeline, posted to programs elsewhere (docs/how-to/webhooks.md).

`events` makes events of records, `samples` makes some up, `outbox` says which delivery is due when, `client` sends it.
What is under way is in the topic `P.webhooks`; `dataflows.engine.webhook_task` reads, sends and commits.
"""
