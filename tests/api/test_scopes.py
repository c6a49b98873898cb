"""Which path needs which scope: no route without an entry."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tarsd.api
from tarsd.api import server as api_server
from tarsd.api.scopes import NEEDS, OPEN_PATHS, Scope, needs_of, opens
from tests.api import scripted_services as scripted


def paths_of_all_modules() -> set[str]:
    """Every path that any module of the API offers, wherever it is added."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(tarsd.api.__path__):
        offered = getattr(importlib.import_module(f"tarsd.api.{module.name}"), "routes", None)
        for route in offered() if offered else ():
            found.add(route.path.replace(":.+}", "}"))
    return found


def test_every_route_of_every_module_has_an_entry():
    paths = paths_of_all_modules()
    assert len(paths) > 15
    assert paths <= set(NEEDS) | OPEN_PATHS, "add it to the table in tarsd/api/scopes.py"


def test_every_route_of_a_server_has_an_entry(tmp_path):
    app = api_server.ApiServer(scripted.settings(), scripted.services(tmp_path, None, None))._app(None, {})  # type: ignore[arg-type]
    canonical = {route.resource.canonical for route in app.router.routes() if route.resource}
    assert "/v1/models/{name}" in canonical
    assert canonical <= set(NEEDS) | OPEN_PATHS


def test_no_path_is_both_open_and_guarded():
    assert OPEN_PATHS.isdisjoint(NEEDS)


def test_what_was_forgotten_is_closed_to_all_but_admins():
    assert opens([Scope.ADMIN], needs_of("/api/something/new"))
    assert not opens([scope for scope in Scope if scope is not Scope.ADMIN], needs_of("/api/something/new"))


@pytest.mark.parametrize("path", sorted(NEEDS))
def test_admin_opens_everything_and_no_scope_opens_nothing(path):
    assert opens([Scope.ADMIN], needs_of(path))
    assert not opens([], needs_of(path))


@pytest.mark.parametrize(
    "path", ["/api/invite", "/api/nightly", "/api/revoke", "/api/rotate", "/api/pull", "/api/delete"]
)
def test_what_changes_the_node_or_the_cluster_is_guarded_always(path):
    assert needs_of(path).always
    assert not opens([Scope.CHAT, Scope.DOCUMENTS, Scope.STATUS], needs_of(path))
