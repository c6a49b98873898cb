"""Tells systemd how the node is; a sick node stops answering the watchdog and is restarted."""

from tarsd.supervision.health import LoopLag, Verdict, judge, silence
from tarsd.supervision.notify import Notify, SystemdNotify, watchdog_interval_s
from tarsd.supervision.supervisor import Supervisor

__all__ = ["LoopLag", "Notify", "Supervisor", "SystemdNotify", "Verdict", "judge", "silence", "watchdog_interval_s"]
