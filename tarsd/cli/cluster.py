"""`tarsd init`, `tarsd invite`, `tarsd join`: how a cluster begins and grows."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from tarsd.cli.exits import OK
from tarsd.cli.terminal import styled
from tarsd.config import find_config, load_config


def init(args: argparse.Namespace) -> int:
    """Make a new cluster; refuses where this PC already belongs to one."""
    from tarsd.identity import init_cluster

    config = load_config(find_config(args.config))
    identity = init_cluster(config.node.data_dir, config.node.name, args.cluster)
    if args.json:
        print(json.dumps({"node": identity.node_id, "name": identity.name, "cluster": identity.cluster}))
    else:
        print(f"Cluster {args.cluster!r} ({identity.cluster}) is made; this PC is its node {identity.name}.")
        print("Next: `tarsd run` here, then `tarsd invite` for each further PC.")
    return OK


def invite(args: argparse.Namespace) -> int:
    """Print a token for one more PC: made by the running node, or into its folder for when it runs."""
    token = asyncio.run(_invite(args))
    if args.json:
        print(json.dumps({"token": token, "zone": args.zone, "expires_s": args.expires}))
        return OK
    print(token)
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + args.expires))
    print(styled(f"For one PC, zone {args.zone}, until {until}. There: tarsd join TOKEN", "dim"))
    return OK


async def _invite(args: argparse.Namespace) -> str:
    from tarsd.cli.client import ApiClient, target_of

    async with ApiClient(target_of(args, admin=True)) as client:
        reply = await client.json("POST", "/api/invite", body={"zone": args.zone, "expires_s": args.expires})
    return str(reply["token"])


def join(args: argparse.Namespace) -> int:
    """Join the cluster that the token is from; refuses where this PC already belongs to one."""
    config = load_config(find_config(args.config))
    from tarsd.identity import join as join_cluster

    identity = join_cluster(args.token, config.node.data_dir, config.node.name, list(args.seed))
    if args.json:
        print(json.dumps({"node": identity.node_id, "name": identity.name, "zone": identity.zone}))
    else:
        print(f"This PC is now the {identity.zone} node {identity.name} of cluster {identity.cluster}.")
        print("Next: give it its roles in tarsd.toml ([node] roles = [...]) and start it: `tarsd run`.")
    return OK
