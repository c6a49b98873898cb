"""What persons settle for themselves, as records: every core node knows it, and a lost one takes nothing along."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from tarsd import calls
from tarsd.calls import Copies, SaveSettingsRequest, SettingsItem, SettingsRequest
from tarsd.memory.bodies import SETTING, SettingBody
from tarsd.memory.by_key import AUTOMATIC
from tarsd.names import Capability
from tarsd.roles.base import Attributes, Role, Services
from tarsd.rpc import CallContext, Handler


class Settling(Role):
    """Offers `settings` and `save_settings`."""

    name = "settling"

    def __init__(self, services: Services) -> None:
        self._services = services

    def handlers(self) -> Mapping[Capability, Handler]:
        """See `Role`."""
        return {calls.SETTINGS.name: self._settings, calls.SAVE_SETTINGS.name: self._save}

    def adverts(self) -> Mapping[Capability, Attributes]:
        """See `Role`."""
        return {calls.SETTINGS.name: {}, calls.SAVE_SETTINGS.name: {}}

    async def _settings(self, request: SettingsRequest, context: CallContext) -> AsyncGenerator[SettingsItem, None]:
        yield await self._as_it_is(request.who.person, Copies())

    async def _save(self, request: SaveSettingsRequest, context: CallContext) -> AsyncGenerator[SettingsItem, None]:
        copies = Copies()
        if request.automatic is not None:
            body = SettingBody(AUTOMATIC, request.who.person, request.automatic)
            record = await self._services.store.append(SETTING, "", body)
            copies = await self._services.confirm([record])
        yield await self._as_it_is(request.who.person, copies)

    async def _as_it_is(self, person: str, copies: Copies) -> SettingsItem:
        automatic = await self._services.store.automatic(person)
        return SettingsItem(person, automatic, self._services.config.memory.automatic, copies)
