"""Index health: with the engine valkey-search, is everything that was stored found, and at what price in memory?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.overview import RATE
from grafana.panels import GREEN, RED, YELLOW, Query, firing, known, lines, stat

F = 'namespace=~"$namespace",instance=~"$instance"'
N = 'namespace=~"$namespace"'
CACHE = 'job="valkey-cache"'
DEAD = f"sum(max by (namespace) (nearhit_index_reclaimable_bytes{{{F}}}))"
LIVING = f"sum(max by (namespace) (nearhit_index_vector_bytes{{{F}}}))"
TOMBSTONES = f"{DEAD} / (({DEAD} + {LIVING}) > 0)"
FOUND = f'sum(increase(nearhit_recall_probes_total{{outcome="found",{F}}}[5m]))'
PROBED = f"sum(increase(nearhit_recall_probes_total{{{F}}}[5m]))"

ON_DEMAND = lines(
    "On demand",
    "Entries invalidated, by what was asked for, and entries looked for right after they were written.",
    Query(f"sum by (by) (increase(nearhit_invalidated_entries_total{{{N}}}[10m]))", "invalidated by {{by}}"),
    Query(f"sum by (outcome) (increase(nearhit_write_verifications_total{{{N}}}[10m]))", "write {{outcome}}"),
)

NOW = Row(
    "Now",
    (
        stat(
            "Entries",
            "Entries that can be found in the server's index.",
            f"sum(max by (namespace) {known(f'nearhit_index_entries{{{F}}}')})",
            width=5,
        ),
        stat(
            "Index memory",
            "Memory of all indexes of the cache server; about 4 KB an entry at 384 dimensions.",
            "max" + known(f"nearhit_index_memory_bytes{{{F}}}"),
            unit="bytes",
            width=5,
        ),
        stat(
            "Tombstones",
            "Share of the vectors in memory that are dead: every delete and expiry leaves one until the index is "
            "rotated.",
            TOMBSTONES,
            unit="percentunit",
            steps=((0, GREEN), (0.5, YELLOW), (0.75, RED)),
            width=5,
            runbook="tombstones",
        ),
        stat(
            "Recall probe",
            "Of entries drawn at random, the share that a search for their own vector finds.",
            f"{FOUND} / ({PROBED} > 0)",
            unit="percentunit",
            steps=((0, RED), (0.95, YELLOW), (0.99, GREEN)),
            width=5,
            empty="None asked",
            runbook="recall-low",
        ),
        stat(
            "Generation",
            "Generation of the index that readers use; a rotation adds one.",
            "max" + known(f"nearhit_index_generation{{{F}}}"),
        ),
        firing(),
    ),
)

INDEX = Row(
    "Index in the server",
    (
        lines(
            "Entries in the index",
            "A sudden fall to nothing is a lost index or a flush; a slow one is expiry without new fills.",
            Query(f"max by (namespace) (nearhit_index_entries{{{F}}})", "{{namespace}}"),
            runbook="index-lost",
        ),
        lines(
            "Memory of the index",
            "All of it, what living vectors need, and what dead ones hold until the next rotation.",
            Query(f"max(nearhit_index_memory_bytes{{{F}}})", "all"),
            Query(LIVING, "living vectors"),
            Query(DEAD, "dead vectors"),
            unit="bytes",
            runbook="tombstones",
        ),
        lines(
            "Share of tombstones",
            "Dead vectors in memory; searches slow down with them. Rotation brings it to 0.",
            Query(TOMBSTONES, "tombstones"),
            unit="percentunit",
            most=1,
            steps=((None, GREEN), (0.75, RED)),
            runbook="tombstones",
        ),
        lines(
            "Rotations and heals",
            "Steps of rotations, and how often a lost index was made again, by what took it.",
            Query(f"sum by (step) (increase(nearhit_rotations_total{{{F}}}[10m]))", "{{step}}"),
            Query(f"sum by (reason) (increase(nearhit_index_heals_total{{{F}}}[10m]))", "heal {{reason}}"),
            runbook="index-lost",
        ),
        lines(
            "Skipped hashes and backfill",
            "Hashes that the index skipped (a vector of a wrong size: it is never found), and how much of the existing "
            "entries a new index has read.",
            Query(f"max by (namespace) (nearhit_index_failures{{{F}}})", "skipped, {{namespace}}"),
            Query(f"min by (namespace) (nearhit_index_backfill_ratio{{{F}}})", "backfill, {{namespace}}"),
            runbook="skipped-hashes",
        ),
        lines(
            "Recall probe",
            "Entries asked for by their own vector in five minutes, and those found.",
            Query(FOUND, "found"),
            Query(PROBED, "asked"),
            runbook="recall-low",
        ),
        ON_DEMAND,
    ),
)

SERVER = Row(
    "The cache server (redis_exporter)",
    (
        lines(
            "Memory of the cache server",
            "At its limit it evicts entries: the hit rate falls, nothing breaks.",
            Query(f"redis_memory_used_bytes{{{CACHE}}}", "used"),
            Query(f"redis_memory_max_bytes{{{CACHE}}} > 0", "limit"),
            unit="bytes",
            dashed=("limit",),
            runbook="cache-server-memory",
        ),
        lines(
            "Evicted and expired",
            "Expired is normal life. Evicted means that the limit is too low for what is stored.",
            Query(f"rate(redis_evicted_keys_total{{{CACHE}}}{RATE})", "evicted"),
            Query(f"rate(redis_expired_keys_total{{{CACHE}}}{RATE})", "expired"),
            unit="ops",
            runbook="cache-server-memory",
        ),
        lines(
            "Commands",
            "Commands a second of the cache server, and those it rejected or failed.",
            Query(f"rate(redis_commands_processed_total{{{CACHE}}}{RATE})", "commands"),
            Query(f"sum(rate(redis_commands_failed_calls_total{{{CACHE}}}{RATE}))", "failed"),
            unit="ops",
        ),
        lines(
            "Clients",
            "Connections to the cache server. Many blocked ones: readers of the change stream, which is normal.",
            Query(f"redis_connected_clients{{{CACHE}}}", "connected"),
            Query(f"redis_blocked_clients{{{CACHE}}}", "blocked"),
        ),
    ),
)

BOARD = Board(
    "nearhit-index-health",
    "Nearhit / Index health",
    "Engine valkey-search: is everything that was stored found, and at what price in memory?",
    "nearhit_info",
    (NOW, INDEX, SERVER),
)
