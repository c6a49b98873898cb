"""The schema of tarsd.toml, its defaults and its reading."""

from tarsd.config.load import find_config, load_config
from tarsd.config.schema import (
    Api,
    CatalogModel,
    Cognitive,
    Config,
    Documents,
    Engine,
    Gossip,
    Memory,
    Models,
    Monitoring,
    Network,
    Node,
    Processing,
)

__all__ = [
    "Api",
    "CatalogModel",
    "Cognitive",
    "Config",
    "Documents",
    "Engine",
    "Gossip",
    "Memory",
    "Models",
    "Monitoring",
    "Network",
    "Node",
    "Processing",
    "find_config",
    "load_config",
]
