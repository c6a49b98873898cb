"""Who may see what is remembered."""

from __future__ import annotations

import pytest

from tarsd.calls import Who
from tarsd.memory.access import is_member, may_see, persons_who_see
from tarsd.memory.bodies import MemoryBody, ProjectBody

PROJECTS = {
    "roof": ProjectBody("roof", "Roof", members=["ana"], person="leo"),
    "garden": ProjectBody("garden", "Garden", person="leo"),
}


@pytest.mark.parametrize(
    ("scope", "project", "seen_by"),
    [
        ("household", "", {"ana", "leo", "eva", ""}),
        ("person", "", {"leo"}),
        ("project", "roof", {"ana", "leo"}),
        ("project", "garden", {"ana", "leo", "eva", ""}),
        ("project", "gone", {"leo"}),
    ],
)
def test_each_sees_what_is_theirs(scope, project, seen_by):
    body = MemoryBody("m", "text", scope=scope, person="leo", project=project)
    assert {name for name in ("ana", "leo", "eva", "") if may_see(Who(name), body, PROJECTS)} == seen_by
    assert may_see(Who("eva", sees_all=True), body, PROJECTS)


def test_an_administrator_is_a_member_everywhere():
    assert is_member(Who("eva", sees_all=True), PROJECTS["roof"])
    assert not is_member(Who("eva"), PROJECTS["roof"])


@pytest.mark.parametrize(
    "body",
    [
        MemoryBody("m", "text", scope=scope, person="leo", project=project)
        for scope, project in (("household", ""), ("person", ""), ("project", "roof"), ("project", "gone"))
    ]
    + [MemoryBody("m", "text", scope="project", person="leo", project="garden")],
)
def test_the_persons_who_see_something_are_those_who_may(body):
    seen = persons_who_see(body, PROJECTS)
    for name in ("ana", "leo", "eva", ""):
        assert (seen is None or name in seen) == may_see(Who(name), body, PROJECTS)


def test_a_project_is_seen_by_its_members_and_what_is_not_known_by_nobody():
    assert persons_who_see(PROJECTS["roof"], PROJECTS) == {"ana", "leo"}
    assert persons_who_see(PROJECTS["garden"], PROJECTS) is None
    assert persons_who_see(None, PROJECTS) == frozenset()
