"""Crashes of a real store: processes that are killed, and disks that lose or tear what was not synced."""
