"""`Dispatch`: do this capability, here or at a peer."""

from tarsd.dispatch.call import Call
from tarsd.dispatch.dispatch import Dispatch, Upload

__all__ = ["Call", "Dispatch", "Upload"]
