"""Words that `wording` knows, lower case and without accents: those that say little, and those that say the same.

Only what is the same in every household and office belongs here; where a pair is doubtful it is left out, since a
memory that is not merged costs a line, and one that is merged wrongly costs a fact.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


# May be there or not without changing what a memory says. No negation, no place, no order in time is among them.
LIGHT = frozenset(
    _words(
        "a an the of in on at is are be been being am it its this that these those there here to for and do does as so "
        "also too just please which who get gets got with have has having take takes place happen happens located kept "
        "keep stored called named number what must should "
        "el la los las un una unos unas de del al en y e que se le les lo es son esta estan ser estar hay con para "
        "por "
        "tambien pues sea sean tiene tienen tengo tenemos tener pone ponen poner guarda guardan llama llaman ubicada "
        "ubicado numero dia favor este esto eso"
    )
)

# One of two texts may be without one of these, as notes are: "Grandma's cake: 250 g of flour". Never one for another.
WEAK = frozenset(
    _words(
        "need set put use cost costs pay weigh measure measures serve come find found amount value time place "
        "necesita pag cuest mid us usan sirv viene ven hora lugar importe cantidad num"
    )
)

# Whose, or who: two memories that name different persons so are not the same.
PERSONS = {
    **dict.fromkeys(_words("i me my mine we us our ours yo mi mis mio mia nos nuestro nuestra nuestros nuestras"), "1"),
    **dict.fromkeys(_words("you your yours tu tus te ti tuyo tuya usted"), "2"),
    **dict.fromkeys(_words("he him his"), "m"),
    **dict.fromkeys(_words("she her hers"), "f"),
    **dict.fromkeys(_words("they them their theirs"), "p"),
    **dict.fromkeys(_words("su sus suyo suya"), "s"),
    "ella": "f",
}
CLASHES = frozenset({"12", "1m", "1f", "1p", "1s", "2m", "2f", "2p", "mf", "mp", "fp"})

_SAME = """
expire expires expired end ends | begin begins start starts commence commences | phone telephone
rubbish trash garbage | fridge refrigerator | tv television telly | bike bicycle | mum mom mother mummy mommy
dad father daddy | grandma grandmother granny | grandpa grandfather grandad | buy buys bought purchase
fix fixes fixed repair repairs repaired mend | big large | small little | flat apartment | lift elevator
holiday vacation | allergic allergy | doctor physician | need needs needed require requires required
collect collects collected | every each all | wifi wlan | password passcode passphrase | often frequently
arrive arrives land lands | send sends sent | pay pays paid | feed feeds fed | make makes made | sell sells sold
write writes written | take takes taken | hold holds held | build builds built | teach teaches taught
answer answers reply replies | speak speaks spoken | like likes enjoy enjoys
contrasena clave | coche auto carro | movil celular | fontanero plomero
vence vencen vencer caduca caducan caducar expira expiran | empieza empiezan empezar comienza comienzan comenzar
ordenador computadora computador | nevera frigorifico refrigerador | medico doctor | medica doctora
alergico alergia alergias | alergica alergia | repara reparan reparar arregla arreglan arreglar
envia envian enviar manda mandan mandar | necesita necesitan lleva llevan | nunca jamas | cada todos todas
solo solamente unicamente | gafas lentes | cumpleanos cumple | alquiler renta | autobus bus
llega llegan aterriza aterrizan | contesta contestame responde respondeme | escribe escribeme
puede pueden poder | recoge recogen recoger | riega riegan regar regamos | primera primero | segunda segundo
tercera tercero | cuarta cuarto | quinta quinto
m metre metres meter meters metro metros | g gr gram grams gramo gramos
kg kilo kilos kilogram kilograms kilogramo kilogramos | l litre litres liter liters litro litros
h hour hours hora horas | min minute minutes minuto minutos | euros euro eur | dollars dollar usd dolar dolares
pounds pound gbp libra libras | degrees degree grado grados celsius | times veces
cm centimetre centimetres centimeter centimetro centimetros | km kilometre kilometres kilometer kilometro kilometros
"""
SAME: dict[str, str] = {}
for _line in _SAME.replace("\n", " | ").split("|"):
    _group = _words(_line)
    for _word in _group:
        SAME.setdefault(_word, _group[0])

# Said of persons, these count like names: who does what to whom decides.
KIN = frozenset(
    _words(
        "mum dad grandma grandpa brother sister son daughter uncle aunt cousin wife husband boss neighbour neighbor "
        "madre padre mama papa hermano hermana hijo hija tio tia primo prima abuelo abuela marido mujer esposa esposo "
        "jefe jefa vecino vecina suegro suegra sobrino sobrina nieto nieta"
    )
)

_MONTHS = _words(
    "january february march april may june july august september october november december "
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"
)
_DAYS = _words(
    "monday tuesday wednesday thursday friday saturday sunday lunes martes miercoles jueves viernes sabado domingo"
)
TIMES: dict[str, str] = {
    **{month: month for month in _MONTHS},
    "mayos": "mayo",
    "setiembre": "septiembre",
    **{day: day for day in _DAYS},
    **{f"{day}s": day for day in _DAYS},
    **{word: word for word in _words("today tomorrow yesterday hoy manana ayer")},
}
TIMES |= {
    "jan": "january",
    "feb": "february",
    "aug": "august",
    "sept": "september",
    "oct": "october",
    "dec": "december",
}

_COUNTED_EN = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_COUNTED_ES = _words(
    "cero - dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis diecisiete "
    "dieciocho diecinueve veinte"
)
NUMBERS: dict[str, str] = {word: str(number) for number, word in enumerate(_COUNTED_EN)}
NUMBERS |= {word: str(number) for number, word in enumerate(_COUNTED_ES) if word != "-"}
NUMBERS |= {"thirty": "30", "forty": "40", "fifty": "50", "treinta": "30", "cuarenta": "40", "cincuenta": "50"}
NUMBERS |= {"hundred": "100", "thousand": "1000", "cien": "100", "mil": "1000"}

PREPOSITIONS = frozenset(
    _words(
        "with in on at under behind for by from inside above near "
        "con en de debajo detras para por encima dentro sobre a"
    )
)
PAST = frozenset(
    _words("was were had did used fue era eran fueron tenia tenian habia estaba estaban vivia vivian queria solia")
)
HELPERS = frozenset(_words("is are be been being get gets must has have"))
FUTURE = frozenset(_words("will shall ll"))
SECRETS = frozenset(_words("password passcode pin contrasena clave code codigo key llave user login usuario"))

# Words that differ by a letter and are both words: never a typing mistake.
BOTH_WORDS = frozenset(
    frozenset(pair.split("/"))
    for pair in _words(
        "contact/contract contacts/contracts county/country desert/dessert statue/statute casual/causal "
        "morning/mourning boiler/broiler public/pubic trial/trail angel/angle diary/dairy quiet/quite "
        "pescado/pecado cocina/cochina compra/comprar carta/carpeta cuarto/cuatro revisar/revivir"
    )
)
