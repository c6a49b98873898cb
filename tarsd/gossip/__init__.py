"""Who is there, what they can do and how they are: membership by SWIM with Lifeguard, without I/O inside.

`member` and `names` of states are what others see; `shell.Gossip` is what a node owns. Everything between them
(`membership` and what it is made of) is pure and runs under virtual time in the tests.
"""

from tarsd.gossip.member import Advert, Attribute, Flag, Load, Member, State

__all__ = ["Advert", "Attribute", "Flag", "Load", "Member", "State"]
