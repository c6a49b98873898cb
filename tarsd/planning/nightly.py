"""Decides what is due tonight.

Rules
1. A job is due when the latest night's time has passed and it has not run since.
2. Nights missed while the PC was off are caught up by one run, not by one for each night.
3. A job that never ran waits for its first night.
4. A clock that went back never makes a job run twice for one night: a run "in the future" counts as done until then,
   but no longer than a day, so that a clock set wrong for a while cannot stop the nights.
5. A job that was cut off in the middle is due again at the next look, but begins no more than `MOST_BEGINNINGS` times a
   night: one that kills its node must not do so until morning.
6. Work waits for people, but not for ever: until morning, and by day, where a missed night is caught up, for a while.
7. What is the cluster's work is done by the one node that rendezvous hashing names for this job and night.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta

MOST_BEGINNINGS = 3
MORNING_AFTER = timedelta(hours=4)  # the night's beginning
PATIENCE_BY_DAY = timedelta(minutes=20)

JOBS = ("compact_memory", "rebuild_embeddings", "cleanup_logs", "health_check")


def latest_night(now: datetime, at: time) -> datetime:
    """Return the last moment, not after `now`, at which the night's work was to begin (local, naive times)."""
    today = datetime.combine(now.date(), at)
    return today if today <= now else today - timedelta(days=1)


def due(
    now: datetime,
    at: time,
    last_run: Mapping[str, datetime],
    jobs: Sequence[str] = JOBS,
    cut_off: Mapping[str, int] | None = None,
) -> list[str]:
    """Return the jobs to run now, in order; `last_run`: the last start of each, at first the node's set-up.

    `cut_off`: how often each job began that has not ended.
    """
    night, begun = latest_night(now, at), cut_off or {}
    return [
        job
        for job in jobs
        if job in last_run and (_not_since(last_run[job], night, now) or 0 < begun.get(job, 0) < MOST_BEGINNINGS)
    ]


def patient_until(began: datetime, at: time) -> datetime:
    """Return until when a job that began then waits for people's questions (rule 6)."""
    return max(latest_night(began, at) + MORNING_AFTER, began + PATIENCE_BY_DAY)


def cluster_key(job: str, began: datetime, at: time) -> str:
    """Return what names the node for the cluster's part of a job (rule 7); the same on all nodes all night."""
    return f"{job} {latest_night(began, at):%Y-%m-%d}"


def next_night(now: datetime, at: time) -> datetime:
    """Return the next moment after `now` at which the night's work begins."""
    return latest_night(now, at) + timedelta(days=1)


def _not_since(ran: datetime, night: datetime, now: datetime) -> bool:
    if ran > now + timedelta(days=1):
        return True
    return ran < night
