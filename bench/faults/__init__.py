"""Faults on purpose, and a judge: scripts of faults, links that lose and delay, every question recorded and checked."""
