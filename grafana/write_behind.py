"""Write-behind: does every answer become searchable, and how soon?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.overview import RATE, quantile
from grafana.panels import GREEN, ORANGE, RED, YELLOW, Query, lines, stat

N = 'namespace=~"$namespace"'
F = 'namespace=~"$namespace",instance=~"$instance"'
BROKER = 'job="valkey-broker"'

NOW = Row(
    "Now",
    (
        stat(
            "Workers",
            "Workers that make progress.",
            f"sum(nearhit_worker_live{{{F}}})",
            steps=((None, RED), (1, GREEN)),
            runbook="no-workers",
        ),
        stat(
            "In the log",
            "Fills that are not searchable yet. Every worker sees the same log, so that this is a maximum, not a sum.",
            f"sum(max by (namespace, lane) (nearhit_log_depth{{{F}}}))",
            steps=((None, GREEN), (1_000, YELLOW), (100_000, RED)),
            runbook="write-lag",
        ),
        stat(
            "Oldest fill",
            "Age of the oldest fill of users in the log.",
            f'max(nearhit_log_age_seconds{{lane="interactive",{F}}})',
            unit="s",
            steps=((None, GREEN), (10, YELLOW), (60, RED)),
            runbook="write-lag",
        ),
        stat(
            "Lag p99",
            "From `fill` to searchable, users' fills.",
            quantile(0.99, "nearhit_lag_seconds", "le", f'lane="interactive",{F}'),
            unit="s",
            steps=((None, GREEN), (1, YELLOW), (30, RED)),
            runbook="write-lag",
        ),
        stat(
            "Dead letters",
            "Fills given up over the time shown.",
            f"sum(increase(nearhit_dead_letters_total{{{F}}}[$__range]))",
            steps=((None, GREEN), (1, ORANGE)),
            runbook="dead-letters",
        ),
        stat(
            "Spooled",
            "Fills that wait in the memory of applications, since the log's server is away.",
            f"sum(nearhit_spool_fills{{{N}}})",
            steps=((None, GREEN), (1, YELLOW), (5_000, RED)),
            runbook="fills-are-dropped",
        ),
    ),
)

QUEUE = Row(
    "Queue",
    (
        lines(
            "Depth of the logs",
            "Fills that are not searchable yet, by lane. Bulk may be deep for as long as it shrinks.",
            Query(f"max by (lane) (nearhit_log_depth{{{F}}})", "{{lane}}"),
            runbook="write-lag",
        ),
        lines(
            "In work, and waiting for a next try",
            "Fills that a worker has, and fills that failed and wait for their backoff to end.",
            Query(f"max by (lane) (nearhit_log_pending{{{F}}})", "in work, {{lane}}"),
            Query(f"max by (lane) (nearhit_log_retrying{{{F}}})", "next try, {{lane}}"),
        ),
        lines(
            "Age of the oldest fill",
            "Grows by a second a second when nobody works on the lane.",
            Query(f"max by (lane) (nearhit_log_age_seconds{{{F}}})", "{{lane}}"),
            unit="s",
            steps=((None, GREEN), (60, RED)),
            runbook="write-lag",
        ),
        lines(
            "Lag: from fill to searchable",
            "What a user of the cache feels of the queue.",
            *(
                Query(quantile(share, "nearhit_lag_seconds", "le, lane"), f"{name} {{{{lane}}}}")
                for share, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            unit="s",
            runbook="write-lag",
        ),
        lines(
            "Fills at the caller",
            "What applications were told: accepted, spooled, dropped, refused.",
            Query(f"sum by (outcome) (rate(nearhit_fills_total{{{N}}}{RATE}))", "{{outcome}}"),
            unit="ops",
            stacked=True,
            runbook="fills-are-dropped",
        ),
        lines(
            "Fills at the worker",
            "stored: searchable now. stale: a newer answer was there. busy: another worker wrote the same entry just "
            "then.",
            Query(f"sum by (lane, outcome) (rate(nearhit_upserts_total{{{F}}}{RATE}))", "{{lane}} {{outcome}}"),
            unit="ops",
            stacked=True,
        ),
    ),
)

BATCHES = Row(
    "Batches and embedding",
    (
        lines(
            "Fills in a batch",
            "Mean by lane. Small batches under load: NEARHIT_BATCH_WAIT_MS is too short, or many workers share "
            "little work.",
            Query(
                f"sum by (lane) (rate(nearhit_batch_fills_sum{{{F}}}{RATE})) "
                f"/ sum by (lane) (rate(nearhit_batch_fills_count{{{F}}}{RATE}) > 0)",
                "{{lane}}",
            ),
        ),
        lines(
            "Texts in an embedding call",
            "Mean by side: read is the lookup itself, one text; write is the worker's batch.",
            Query(
                f"sum by (side) (rate(nearhit_embed_texts_total{{{N}}}{RATE})) "
                f"/ sum by (side) (rate(nearhit_embed_calls_total{{{N}}}{RATE}) > 0)",
                "{{side}}",
            ),
        ),
        lines(
            "Embedding",
            "Calls and tokens a second by side. Fills that carry their miss's vector need no call on the write side.",
            Query(f"sum by (side) (rate(nearhit_embed_calls_total{{{N}}}{RATE}))", "calls, {{side}}"),
            Query(f"sum by (side) (rate(nearhit_embed_tokens_total{{{N}}}{RATE}))", "tokens, {{side}}"),
            unit="ops",
        ),
        lines(
            "Single flight",
            "Misses of get_or_create: led asked the model, joined waited for that answer; gave_up waited too long, "
            "unavailable could not ask who leads. The last two asked the model themselves.",
            Query(f"sum by (outcome) (rate(nearhit_flights_total{{{N}}}{RATE}))", "{{outcome}}"),
            unit="ops",
        ),
        lines(
            "Wake-ups",
            "Celery messages that tell workers of work. failed costs nothing but up to NEARHIT_POLL_SECONDS of lag.",
            Query(f"sum by (outcome) (rate(nearhit_wakeups_total{{{N}}}{RATE}))", "{{outcome}}"),
            unit="ops",
        ),
    ),
)

FAILURES = Row(
    "Retries and dead letters",
    (
        lines(
            "Retries by reason",
            "Fills put off: the embedder or the cache server did not answer.",
            Query(f"sum by (reason) (rate(nearhit_retries_total{{{F}}}{RATE}))", "{{reason}}"),
            unit="ops",
            runbook="write-lag",
        ),
        lines(
            "Dead letters by reason",
            "Fills that can never be stored, or were tried too often. They can be listed and replayed.",
            Query(f"sum by (reason) (increase(nearhit_dead_letters_total{{{F}}}{RATE}))", "{{reason}}"),
            runbook="dead-letters",
        ),
        lines(
            "Dead-letter log",
            "Dead letters that are kept; the oldest go first from 100,000 on.",
            Query(f"max by (namespace) (nearhit_dead_log_depth{{{F}}})", "{{namespace}}"),
            runbook="dead-letters",
        ),
    ),
)

WORKERS = Row(
    "Workers",
    (
        lines(
            "Live and ready",
            "live: makes progress. ready: reaches everything that it needs, too.",
            Query(f"min by (instance) (nearhit_worker_live{{{F}}})", "{{instance}} live"),
            Query(f"min by (instance) (nearhit_worker_ready{{{F}}})", "{{instance}} ready"),
            most=1,
            runbook="worker-stuck",
        ),
        lines(
            "Time without progress",
            "Since when there is work and none of it gets done. A worker calls itself stuck from 30 s.",
            Query(f"max by (instance) (nearhit_worker_stuck_seconds{{{F}}})", "{{instance}}"),
            unit="s",
            steps=((None, GREEN), (30, RED)),
            runbook="worker-stuck",
        ),
        lines(
            "CPU",
            "Cores that each worker process uses.",
            Query(
                f'rate(process_cpu_seconds_total{{job="nearhit-worker",instance=~"$instance"}}{RATE})', "{{instance}}"
            ),
        ),
        lines(
            "Memory",
            "Resident memory of each worker process; with a local model it holds the model.",
            Query('process_resident_memory_bytes{job="nearhit-worker",instance=~"$instance"}', "{{instance}}"),
            unit="bytes",
        ),
    ),
)

SERVER = Row(
    "The log's server (redis_exporter)",
    (
        lines(
            "Memory of the log's server",
            "It must never evict (noeviction): at its limit it refuses fills, which then wait in the applications' "
            "spools.",
            Query(f"redis_memory_used_bytes{{{BROKER}}}", "used"),
            Query(f"redis_memory_max_bytes{{{BROKER}}} > 0", "limit"),
            unit="bytes",
            dashed=("limit",),
            runbook="log-server-memory",
        ),
        lines(
            "Streams",
            "Length of the streams as the server sees them: true even with no worker to report.",
            Query(f"redis_stream_length{{{BROKER}}}", "{{stream}}"),
            runbook="no-workers",
        ),
        lines(
            "Append-only file",
            "1 while the last write of the append-only file went well; without it a restart loses fills.",
            Query(f"redis_aof_last_write_status{{{BROKER}}}", "last write"),
            Query(f"redis_aof_enabled{{{BROKER}}}", "enabled"),
            most=1,
            runbook="log-server-durability",
        ),
    ),
)

BOARD = Board(
    "nearhit-write-behind",
    "Nearhit / Write-behind",
    "Does every answer become searchable, and how soon?",
    "nearhit_worker_live",
    (NOW, QUEUE, BATCHES, FAILURES, WORKERS, SERVER),
)
