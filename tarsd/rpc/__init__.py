"""Calls between nodes: server, client, and what a handler is given."""

from tarsd.rpc.client import RpcClient
from tarsd.rpc.context import CallContext, Handler, Hello
from tarsd.rpc.server import RpcServer

__all__ = ["CallContext", "Handler", "Hello", "RpcClient", "RpcServer"]
