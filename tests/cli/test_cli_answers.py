"""An answer as it is printed."""

from __future__ import annotations

from tarsd.calls import Usage
from tarsd.cli.answers import Printer
from tarsd.cli.language import texts_for
from tarsd.host import events


def test_what_was_remembered_for_an_answer_is_shown_below_it_and_the_profile_is_not(capsys):
    printer = Printer(texts_for("es"))
    known = [
        events.RememberedMemory("memory/a", "La llave está bajo la maceta"),
        events.RememberedMemory("summary/b", "Se habló del tejado.", title="El tejado"),
        events.RememberedMemory("memory/c", "Responde en breve", sort="instruction"),
    ]
    printer.show(events.MemoriesEvent(known))
    printer.show(events.TokenEvent("Bajo la maceta."))
    printer.show(events.DoneEvent("stop", "pc1", "pc1", "llama_cpp", "m", [], Usage(), 0.1, 0.2))
    printed = capsys.readouterr().out
    assert printed.startswith("Bajo la maceta.\n")
    assert "Recordado: La llave está bajo la maceta" in printed
    assert "Recordado: El tejado" in printed
    assert "Responde en breve" not in printed
