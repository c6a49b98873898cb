"""Continuous batching: several answers of one model in one context, each step a batch for all of them.

`cache` and `slices` are pure and decide; `native`, `sampling` and `board` call llama.cpp, in a worker only.
Sources: vLLM's and llama-server's schedulers (Orca, OSDI 2022, for batching at the level of tokens).
"""
