"""On whose behalf a request is made: `Who`, as every question and every call about memory carries it.

Rules
1. A person is named by the token that is shown, never by anything that a client says beside it.
2. Without a named token, and with the access token: "", whoever sits at a PC of the household.
3. The admin token, and a named one of scope admin, see and change all that is remembered. But they ask as the person
   that they name: an answer never leans on what is another person's.
"""

from __future__ import annotations

from aiohttp import web

from tarsd.api.guard import HOLDER, IS_ADMIN
from tarsd.api.scopes import Scope
from tarsd.calls import Who


def who_asks(request: web.Request) -> Who:
    """Return on whose behalf a question is asked."""
    holder = request.get(HOLDER)
    return Who(holder.person if holder is not None else "")


def who_looks(request: web.Request) -> Who:
    """Return on whose behalf what is remembered is shown and changed (rule 3)."""
    holder = request.get(HOLDER)
    is_admin = request.get(IS_ADMIN, False) or (holder is not None and Scope.ADMIN in holder.scopes)
    return Who(who_asks(request).person, sees_all=is_admin)
