"""Each rule of the router, in both languages."""

import pytest

from tarsd.names import Route
from tarsd.planning.router import decide


@pytest.mark.parametrize(
    ("question", "route"),
    [
        ("What does the contract say about pets?", Route.NEEDS_CONTEXT),
        ("¿Qué dice el contrato sobre mascotas?", Route.NEEDS_CONTEXT),
        ("Summarise all my invoices of 2025", Route.SYNTHESIS),
        ("Resume las facturas de este año", Route.SYNTHESIS),
        ("hola", Route.INFERENCE_ONLY),
        ("Thank you!", Route.INFERENCE_ONLY),
        ("turn on the kitchen light", Route.INFERENCE_ONLY),
        ("por favor, apaga la luz del salón", Route.INFERENCE_ONLY),
        ("Write a poem about the sea", Route.INFERENCE_ONLY),
        ("traduce al inglés: buenas noches", Route.INFERENCE_ONLY),
        ("what is 12 * 7?", Route.INFERENCE_ONLY),
        ("compare the boiler and the heat pump", Route.SYNTHESIS),
        ("When is the boiler due for service?", Route.NEEDS_CONTEXT),
        ("¿cuándo toca revisar la caldera?", Route.NEEDS_CONTEXT),
        ("nice", Route.INFERENCE_ONLY),
        ("I still wonder about the deposit that we paid when we moved in here", Route.NEEDS_CONTEXT),
    ],
)
def test_the_router_sends_each_kind_of_question_its_way(question: str, route: Route) -> None:
    assert decide(question, documents=3).route is route


def test_without_documents_nothing_is_searched() -> None:
    assert decide("What does the contract say?", documents=0).route is Route.INFERENCE_ONLY


def test_a_decision_names_its_rules() -> None:
    assert decide("Summarise the contract", documents=1).reasons == ["names a document", "asks for an overview"]


def test_a_device_word_in_a_long_question_does_not_hide_the_question() -> None:
    question = "What did the electrician write about the wiring behind the kitchen lights in March?"
    assert decide(question, documents=1).route is Route.NEEDS_CONTEXT
