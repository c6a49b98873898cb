"""tarsd: the private assistant that runs on all of a household's PCs at once."""

__version__ = "0.1.0"
