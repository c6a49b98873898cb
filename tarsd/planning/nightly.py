"""Decides what is due tonight.

Rules
1. A job is due when the latest night's time has passed and it has not run since.
2. Nights missed while the PC was off are caught up by one run, not by one for each night.
3. A job that never ran waits for its first night.
4. A clock that went back never makes a job run twice for one night: a run "in the future" counts as done until then,
   but no longer than a day, so that a clock set wrong for a while cannot stop the nights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta

JOBS = ("compact_memory", "rebuild_embeddings", "cleanup_logs", "health_check")


def latest_night(now: datetime, at: time) -> datetime:
    """Return the last moment, not after `now`, at which the night's work was to begin (local, naive times)."""
    today = datetime.combine(now.date(), at)
    return today if today <= now else today - timedelta(days=1)


def due(now: datetime, at: time, last_run: Mapping[str, datetime], jobs: Sequence[str] = JOBS) -> list[str]:
    """Return the jobs to run now, in order; `last_run`: the last start of each, at first the node's set-up."""
    night = latest_night(now, at)
    return [job for job in jobs if job in last_run and _not_since(last_run[job], night, now)]


def next_night(now: datetime, at: time) -> datetime:
    """Return the next moment after `now` at which the night's work begins."""
    return latest_night(now, at) + timedelta(days=1)


def _not_since(ran: datetime, night: datetime, now: datetime) -> bool:
    if ran > now + timedelta(days=1):
        return True
    return ran < night
