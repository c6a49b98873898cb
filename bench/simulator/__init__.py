"""A deterministic simulation of the real gossip core: 2 to 1,000 nodes, virtual time, one seed for a run.

`python -m bench.simulator --help` tells how to run one scenario, a swarm of seeds, or a failure again.
"""
