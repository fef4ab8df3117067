"""Index health: is everything that was stored found, and at what price in memory?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.overview import RATE
from grafana.panels import GREEN, RED, YELLOW, Query, lines, stat

F = 'namespace=~"$namespace",instance=~"$instance"'
N = 'namespace=~"$namespace"'
CACHE = 'job="valkey-cache"'
DEAD = f"sum(max by (namespace) (nearhit_index_reclaimable_bytes{{{F}}}))"
LIVING = f"sum(max by (namespace) (nearhit_index_vector_bytes{{{F}}}))"
TOMBSTONES = f"{DEAD} / (({DEAD} + {LIVING}) > 0)"
FOUND = f'sum(increase(nearhit_recall_probes_total{{outcome="found",{F}}}[5m]))'
PROBED = f"sum(increase(nearhit_recall_probes_total{{{F}}}[5m]))"

NOW = Row(
    "Now",
    (
        stat(
            "Entries",
            "Entries that can be found: in the server's index, or in the local engine's replicas.",
            f"sum(max by (namespace) (nearhit_index_entries{{{F}}})) or sum(max by (namespace) "
            f"(nearhit_replica_entries{{{F}}}))",
        ),
        stat(
            "Index memory",
            "Memory of all indexes of the cache server; about 4 KB an entry at 384 dimensions. Engine valkey-search "
            "alone.",
            f"max(nearhit_index_memory_bytes{{{F}}})",
            unit="bytes",
        ),
        stat(
            "Tombstones",
            "Share of the vectors in memory that are dead: every delete and expiry leaves one until the index is "
            "rotated.",
            TOMBSTONES,
            unit="percentunit",
            steps=((None, GREEN), (0.5, YELLOW), (0.75, RED)),
            runbook="tombstones",
        ),
        stat(
            "Recall probe",
            "Of entries drawn at random, the share that a search for their own vector finds.",
            f"{FOUND} / ({PROBED} > 0)",
            unit="percentunit",
            steps=((None, RED), (0.95, YELLOW), (0.99, GREEN)),
            runbook="recall-low",
        ),
        stat(
            "Generation",
            "Generation of the index that readers use; a rotation adds one.",
            f"max(nearhit_index_generation{{{F}}})",
        ),
        stat(
            "Replica lag",
            "How far the slowest local replica is behind the server. Local engine alone.",
            f"max(nearhit_replica_lag_seconds{{{F}}})",
            unit="s",
            steps=((None, GREEN), (1, YELLOW), (5, RED)),
            runbook="replica-lag",
        ),
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
        lines(
            "On demand",
            "Entries invalidated, by what was asked for, and entries looked for right after they were written.",
            Query(f"sum by (by) (increase(nearhit_invalidated_entries_total{{{N}}}[10m]))", "invalidated by {{by}}"),
            Query(f"sum by (outcome) (increase(nearhit_write_verifications_total{{{N}}}[10m]))", "write {{outcome}}"),
        ),
    ),
)

REPLICA = Row(
    "Local replicas",
    (
        lines(
            "Lag of the replica",
            "For how long each reader has been behind the server.",
            Query(f"max by (instance) (nearhit_replica_lag_seconds{{{F}}})", "{{instance}}"),
            unit="s",
            steps=((None, GREEN), (5, RED)),
            runbook="replica-lag",
        ),
        lines(
            "Entries in the replica",
            "Should be the same in all readers. Left out: entries without room (NEARHIT_LOCAL_MAX_ENTRIES).",
            Query(f"max by (instance) (nearhit_replica_entries{{{F}}})", "{{instance}}"),
            Query(f"max by (instance) (nearhit_replica_left_out{{{F}}})", "left out, {{instance}}"),
            runbook="replica-full",
        ),
        lines(
            "Memory and readiness",
            "Arrays of the replicas of each instance, and how many of its processes serve.",
            Query(f"sum by (instance) (nearhit_replica_memory_bytes{{{F}}})", "{{instance}}"),
            Query(f"sum by (instance) (nearhit_replica_ready{{{F}}})", "serving, {{instance}}"),
            unit="bytes",
        ),
        lines(
            "Full loads by reason",
            "start once a process; any other reason, again and again, is a change stream that is too short or a "
            "server that "
            "restarts.",
            Query(f"sum by (reason) (nearhit_replica_loads{{{F}}})", "{{reason}}"),
            runbook="replica-lag",
        ),
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
    "Is everything that was stored found, and at what price in memory?",
    "nearhit_info",
    (NOW, INDEX, REPLICA, SERVER),
)
