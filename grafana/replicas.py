"""Replicas: with the local engine, does every process find what was stored, and at what price in memory?"""

from __future__ import annotations

from grafana.board import Board, Row
from grafana.index_health import ON_DEMAND, SERVER
from grafana.panels import GREEN, RED, YELLOW, Query, firing, known, lines, stat

F = 'namespace=~"$namespace",instance=~"$instance"'

NOW = Row(
    "Now",
    (
        stat(
            "Loaded replicas",
            "Processes whose replica is loaded.",
            f"sum(nearhit_replica_ready{{{F}}})",
            steps=((0, RED), (1, GREEN)),
            empty="No replica",
        ),
        stat(
            "Entries",
            "Entries that can be found in the fullest replica of each namespace.",
            f"sum(max by (namespace) {known(f'nearhit_replica_entries{{{F}}}')})",
            empty="No replica",
        ),
        stat(
            "Replica lag",
            "How far the slowest replica that is loaded is behind the server.",
            f"max(nearhit_replica_lag_seconds{{{F}}} and nearhit_replica_ready{{{F}}} > 0)",
            unit="s",
            steps=((0, GREEN), (1, YELLOW), (5, RED)),
            empty="No replica",
            runbook="replica-lag",
        ),
        stat(
            "Left out",
            "Entries without room in a replica (NEARHIT_LOCAL_MAX_ENTRIES): they are not found there.",
            f"max(nearhit_replica_left_out{{{F}}} and nearhit_replica_ready{{{F}}} > 0)",
            steps=((0, GREEN), (1, RED)),
            empty="No replica",
            runbook="replica-full",
        ),
        stat(
            "Memory",
            "Arrays of all replicas together; about 1.1 KB an entry in every process.",
            f"sum(nearhit_replica_memory_bytes{{{F}}})",
            unit="bytes",
            width=8,
            empty="No replica",
        ),
        firing(),
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
            "Memory of the replicas",
            "Arrays of the replicas of each instance.",
            Query(f"sum by (instance) (nearhit_replica_memory_bytes{{{F}}})", "{{instance}}"),
            unit="bytes",
        ),
        lines(
            "Loaded replicas",
            "How many processes of each instance have a replica that is loaded.",
            Query(f"sum by (instance) (nearhit_replica_ready{{{F}}})", "{{instance}}"),
        ),
        lines(
            "Full loads by reason",
            "start once a process; any other reason, again and again, is a change stream that is too short or a "
            "server that "
            "restarts.",
            Query(f"sum by (reason) (nearhit_replica_loads{{{F}}})", "{{reason}}"),
            runbook="replica-lag",
        ),
        ON_DEMAND,
    ),
)

BOARD = Board(
    "nearhit-replicas",
    "Nearhit / Replicas",
    "Engine local: does every process find what was stored, and at what price in memory?",
    "nearhit_info",
    (NOW, REPLICA, SERVER),
)
