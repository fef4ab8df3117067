"""Write-behind: does every answer become searchable, and how soon?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.overview import RATE, quantile
from grafana.panels import GREEN, ORANGE, RED, YELLOW, Query, firing, known, lines, stat

N = 'namespace=~"$namespace"'
F = 'namespace=~"$namespace",instance=~"$instance"'
BROKER = 'job="valkey-broker"'

LIVE = f"sum(nearhit_worker_live{{{F}}})"
AWAY = 'count(up{job="nearhit-worker",instance=~"$instance"} == 0)'
UNREADY = f"count(nearhit_worker_ready{{{F}}} == 0)"
DEPTH = f"sum(max by (namespace, lane) {known(f'nearhit_log_depth{{{F}}}')})"
RETRYING = f"max by (namespace, lane) {known(f'nearhit_log_retrying{{{F}}}')}"
STREAMS = f'sum(redis_stream_length{{{BROKER},stream=~"nearhit:.($namespace).:log:(interactive|bulk)"}})'
WAITING = f'sum(redis_key_size{{{BROKER},key=~"nearhit:.($namespace).:retry:(interactive|bulk)"}})'
DEAD = f'sum(increase(nearhit_dead_letters_total{{reason!="expired",{F}}}[$__range]))'

NOW = Row(
    "Now",
    (
        stat(
            "Workers",
            "Workers that make progress.",
            f"{LIVE} or vector(0)",
            steps=((0, RED), (1, GREEN)),
            width=3,
            runbook="no-workers",
        ),
        stat(
            "Away or not ready",
            "Workers that do not answer Prometheus, and those that do not reach everything that they need. No data: "
            "Prometheus knows of no worker.",
            f'(({AWAY} or vector(0)) + ({UNREADY} or vector(0))) and on () up{{job="nearhit-worker"}}',
            steps=((0, GREEN), (1, RED)),
            width=3,
            missing=RED,
            runbook="worker-not-ready",
        ),
        stat(
            "In the log",
            "Fills that are not searchable yet. Every worker sees the same log, so that this is a maximum, not a sum. "
            "While no worker reports, what redis_exporter sees, fills that wait for a retry included. No data: nobody "
            "reaches the log's server.",
            f"{DEPTH} or ({STREAMS} + ({WAITING} or vector(0)))",
            steps=((0, GREEN), (1_000, YELLOW), (100_000, RED)),
            width=3,
            missing=RED,
            runbook="write-lag",
        ),
        stat(
            "Waiting for a retry",
            "Fills that failed and wait for their next try: the embedder or the cache server is away, or refuses.",
            f"sum({RETRYING})",
            steps=((0, GREEN), (1, YELLOW), (100, RED)),
            width=3,
            missing=RED,
            runbook="fills-wait-for-a-retry",
        ),
        stat(
            "Oldest fill",
            "Age of the oldest fill of users that is not searchable, however often it was tried. No data: no worker "
            "sees the log.",
            "max" + known(f'nearhit_log_age_seconds{{lane="interactive",{F}}}'),
            unit="s",
            steps=((0, GREEN), (10, YELLOW), (60, RED)),
            width=3,
            missing=RED,
            runbook="write-lag",
        ),
        stat(
            "Lag p99",
            "From `fill` to searchable, users' fills of the last minute.",
            quantile(0.99, "nearhit_lag_seconds", "le", f'lane="interactive",{F}'),
            unit="s",
            steps=((0, GREEN), (1, YELLOW), (30, RED)),
            width=3,
            empty="None stored",
            runbook="write-lag",
        ),
        stat(
            "Dead letters",
            "Fills given up over the time shown, but for those that expired in the log, which are only counted. None "
            "is said only while a worker reports.",
            f"{DEAD} > 0 or {DEAD} and on () {LIVE}",
            steps=((0, GREEN), (1, ORANGE)),
            width=3,
            runbook="dead-letters",
        ),
        stat(
            "Spooled",
            "Fills that wait in the memory of applications, since the log's server is away.",
            f"sum(nearhit_spool_fills{{{N}}})",
            steps=((0, GREEN), (1, YELLOW), (5_000, RED)),
            width=3,
            runbook="fills-are-dropped",
        ),
        firing(),
    ),
)

QUEUE = Row(
    "Queue",
    (
        lines(
            "Depth of the logs",
            "Fills that are not searchable yet, by lane, those that wait for a retry included. Bulk may be deep for as "
            "long as it shrinks.",
            Query(f"max by (lane) (nearhit_log_depth{{{F}}})", "{{lane}}"),
            runbook="write-lag",
        ),
        lines(
            "In work, and waiting for a next try",
            "Fills that a worker has, and fills that failed and wait for their backoff to end.",
            Query(f"max by (lane) (nearhit_log_pending{{{F}}})", "in work, {{lane}}"),
            Query(f"max by (lane) (nearhit_log_retrying{{{F}}})", "next try, {{lane}}"),
            runbook="fills-wait-for-a-retry",
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
            "Mean by side: read is lookups, whose texts go together when they ask at the same time; write is "
            "the worker's batch.",
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
            runbook="fills-wait-for-a-retry",
        ),
        lines(
            "Dead letters by reason",
            "Fills that can never be stored, or were tried too often. They can be listed and replayed. expired: their "
            "time to live ended in the log; of those nothing is kept.",
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
            Query('min by (instance) (up{job="nearhit-worker",instance=~"$instance"})', "{{instance}} answers"),
            most=1,
            runbook="worker-not-ready",
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
            "Length of the streams, and of what waits for a retry, as the server sees them: true even with no worker "
            "to report.",
            Query(f"redis_stream_length{{{BROKER}}}", "{{stream}}"),
            Query(f"redis_key_size{{{BROKER}}}", "{{key}}"),
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
