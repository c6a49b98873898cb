from __future__ import annotations

from tarsd.memory.bodies import MemoryBody, Source, SummaryBody, document_key, memory_key, project_key, summary_key
from tarsd.memory.closure import Closure, Remembered, Target, closure, late

SHA = "d" * 64


def memory(identity: str, text: str, **more: object) -> MemoryBody:
    return MemoryBody(identity, text, **more)  # type: ignore[arg-type]


def summary(identity: str, text: str, **more: object) -> SummaryBody:
    return SummaryBody(identity, "Talk", text, **more)  # type: ignore[arg-type]


def forget(target: str | Target, *remembered: Remembered, unseen: tuple[str, ...] = ()) -> Closure:
    target = Target(memory_key(target)) if isinstance(target, str) else target
    return closure(target, remembered, lambda body: body.id not in unseen)


def of(*identities: str) -> list[str]:
    return sorted(map(memory_key, identities))


def test_a_memory_alone_takes_nothing_along() -> None:
    found = forget("a", memory("a", "Ana's birthday is 4 May"), memory("b", "The boiler is in the cellar"))
    assert found == Closure(of("a"), {})


def test_its_history_goes_along_with_what_took_its_place() -> None:
    older = memory("a", "Ana lives in Lugo", replaced_by=memory_key("b"), replaced_why="contradicted")
    oldest = memory("o", "Ana lives in Vigo", replaced_by=memory_key("a"), replaced_why="contradicted")
    assert forget("b", oldest, older, memory("b", "Ana lives in Porto")).forgotten == of("a", "b", "o")


def test_what_contradicts_a_forgotten_one_stays() -> None:
    older = memory("a", "Ana lives in Lugo", replaced_by=memory_key("b"), replaced_why="contradicted")
    assert forget("a", older, memory("b", "Ana lives in Porto")).forgotten == of("a")


def test_what_it_was_merged_into_goes_along_with_all_its_parts() -> None:
    parts = [memory(i, "the code", replaced_by=memory_key("m"), replaced_why="merged") for i in "ab"]
    assert forget("a", *parts, memory("m", "the code of the door")).forgotten == of("a", "b", "m")


def test_a_memory_that_was_made_from_it_goes_along() -> None:
    made = memory("b", "Something else entirely", sources=[Source(keys=of("a"))])
    again = memory("c", "A third thing", sources=[Source(keys=of("b"))])
    assert forget("a", memory("a", "The safe's code is 4711"), made, again).forgotten == of("a", "b", "c")


def test_a_summary_loses_the_sentence_that_tells_it_and_keeps_the_rest_as_it_was() -> None:
    told = summary("s", "Ana asked for soup. The code of the safe is 4711. It rained.", dates=["2026-05-04"])
    found = forget("a", memory("a", "The safe's code is 4711"), told)
    assert found.forgotten == of("a")
    assert found.rewritten[summary_key("s")].text == "Ana asked for soup. It rained."
    assert found.rewritten[summary_key("s")].dates == []
    assert found.keys == sorted([*of("a"), summary_key("s")])


def test_a_summary_of_nothing_else_is_forgotten() -> None:
    told = summary("s", "The code of the safe is 4711.")
    assert forget("a", memory("a", "The safe's code is 4711"), told).forgotten == [*of("a"), summary_key("s")]


def test_a_summary_whose_title_tells_it_is_forgotten() -> None:
    told = SummaryBody("s", "The safe's code is 4711", "It rained.")
    assert summary_key("s") in forget("a", memory("a", "The safe's code is 4711"), told).forgotten


def test_a_summary_that_names_it_as_a_source_goes_on_without_the_name() -> None:
    both = summary("s", "It rained.", sources=[Source(keys=of("a", "b"))])
    found = forget("a", memory("a", "The safe's code is 4711"), memory("b", "It rained"), both)
    assert found.rewritten[summary_key("s")].sources == [Source(keys=of("b"))]


def test_a_summary_made_from_nothing_but_it_is_forgotten_whatever_it_says() -> None:
    only = summary("s", "Locks were spoken of.", sources=[Source(keys=of("a"))])
    assert summary_key("s") in forget("a", memory("a", "The safe's code is 4711"), only).forgotten


def test_what_was_made_from_a_fallen_summary_falls_too() -> None:
    told = summary("s", "The code of the safe is 4711.")
    made = memory("m", "Something else", sources=[Source(keys=[summary_key("s")])])
    assert memory_key("m") in forget("a", memory("a", "The safe's code is 4711"), made, told).forgotten


def test_by_wording_nothing_of_another_person_is_found_by_links_all_is() -> None:
    told = summary("s", "It rained. The code of the safe is 4711.")
    linked = summary("t", "It rained. The code of the safe is 4711.", sources=[Source(keys=of("a")), Source("c")])
    found = forget("a", memory("a", "The safe's code is 4711"), told, linked, unseen=("s", "t"))
    assert {key: body.text for key, body in found.rewritten.items()} == {summary_key("t"): "It rained."}


def test_a_document_takes_what_was_learned_from_it() -> None:
    learned = memory("a", "The filter is cleaned monthly", sources=[Source(document=SHA)])
    asked = memory("b", "Call the plumber", sources=[Source("c")])
    mixed = summary("s", "It rained. Clean the filter of the pump each month.", documents=["manual.pdf", "b.pdf"])
    only = summary("t", "Pumps.", sources=[Source(document=SHA)])
    target = Target(document_key(SHA), file="manual.pdf", passages=["Clean the pump's filter each month."])
    found = forget(target, learned, asked, mixed, only)
    assert found.forgotten == [document_key(SHA), *of("a"), summary_key("t")]
    assert found.rewritten[summary_key("s")].text == "It rained."
    assert found.rewritten[summary_key("s")].documents == ["b.pdf"]


def test_a_project_takes_its_summaries_and_what_is_its_own() -> None:
    own = memory("a", "Tiles are grey", scope="project", project="kitchen")
    anas = memory("b", "I like tea", scope="person", project="kitchen")
    other = memory("c", "Paint is white", scope="project", project="bath")
    found = forget(Target(project_key("kitchen")), own, anas, other, summary("s", "Tiles.", project="kitchen"))
    assert found.forgotten == [*of("a"), project_key("kitchen"), summary_key("s")]


def test_a_conversation_takes_what_was_learned_from_it_but_not_what_a_person_asked_to_remember() -> None:
    learned = memory("a", "Ana likes tea", made_by="automatic", sources=[Source("c1")])
    asked = memory("b", "The bins go out on Monday", sources=[Source("c1")])
    found = forget(Target(conversation="c1"), learned, asked, summary("s", "Tea.", conversation="c1"))
    assert found.forgotten == ["conversation/c1", *of("a"), summary_key("s")]


def test_one_of_two_people_in_a_conversation_of_one_name_forgets_what_is_its_own() -> None:
    anas = summary("ana", "The tea is in the kitchen.", conversation="c1", person="ana")
    bens = summary("ben", "The boiler hums.", conversation="c1", person="ben")
    found = forget(Target(conversation="c1", person="ana"), anas, bens)
    assert found.forgotten == ["conversation/c1/ana", summary_key("ana")]


def test_a_summary_of_several_conversations_goes_on_without_the_one() -> None:
    both = summary("s", "Plumbing.", sources=[Source("c1"), Source("c2")])
    assert forget(Target(conversation="c1"), both).forgotten == ["conversation/c1"]


def test_who_hears_late_lets_go_of_what_was_made_of_it_and_of_what_it_was_written_again_as() -> None:
    past = memory("a", "The safe's code is 4711", replaced_by=memory_key("m"), replaced_why="merged")
    made = memory("m", "The safe's code is 4711", sources=[Source(keys=of("a", "b"))])
    twin = memory("b", "The code of the safe is 4711", replaced_by=memory_key("m"), replaced_why="merged")
    assert late(of("a"), {}, [past, made, twin, memory("c", "Tea")]) == Closure(of("a", "b", "m"), {})


def test_who_hears_late_leaves_what_goes_on_at_a_forgotten_key() -> None:
    graves = [*of("a"), summary_key("s")]
    clean = summary("s", "It rained.", replaced_by=summary_key("m"))
    asked = memory("a", "The boiler is old")
    old = {memory_key("a"): "The safe's code is 4711", summary_key("s"): "The safe's code is 4711. It rained."}
    assert late(graves, old, [clean, asked]) == Closure([], {})


def test_who_hears_late_takes_it_from_the_summaries_that_name_it() -> None:
    names = summary("s", "It rained. The safe's code is 4711.", sources=[Source("c", keys=of("a"))])
    made = summary("m", "It rained. The safe's code is 4711.", sources=[Source(keys=[summary_key("t")]), Source("d")])
    other = summary("o", "It rained. The safe's code is 4711.")
    found = late([*of("a"), summary_key("t")], {memory_key("a"): "The code of the safe is 4711"}, [names, made, other])
    assert found.forgotten == []
    assert {key: body.text for key, body in found.rewritten.items()} == dict.fromkeys(
        (summary_key("s"), summary_key("m")), "It rained."
    )
    assert late(of("a"), {}, [names]).forgotten == [summary_key("s")]  # nobody knows any more what it told


def test_who_hears_late_that_a_conversation_is_forgotten_lets_go_of_that_persons() -> None:
    anas = summary("s", "Tea.", conversation="c", person="ana", scope="person")
    bobs = summary("t", "Tea.", conversation="c", person="bob", scope="person")
    assert late(["conversation/c/ana"], {}, [anas, bobs]).forgotten == [summary_key("s")]
    assert late(["conversation/c"], {}, [anas, bobs]).forgotten == [summary_key("s"), summary_key("t")]
