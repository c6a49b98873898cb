"""`Dispatch`: do this capability, here or at a peer."""

from tarsd.dispatch.dispatch import Call, Dispatch, Upload

__all__ = ["Call", "Dispatch", "Upload"]
