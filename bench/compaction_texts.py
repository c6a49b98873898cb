"""Memories of a household and an office, written by hand, in Spanish and English, for the bench of compaction.

`=` a memory, `+` the same said again (in another order, with typing mistakes, in other words), `-` something else
that is nearly the same. The rule was tuned on `ENGLISH` and `SPANISH`; what is held out was written after it, by the
same hand, and the rule has not been changed for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Said(NamedTuple):
    """A memory, other ways to say it, and memories that only look like it."""

    text: str
    language: str
    again: tuple[str, ...]
    other: tuple[str, ...]


ENGLISH = """
= The boiler is serviced every May.
+ Every May the boiler is serviced.
+ Remember that the boiler gets serviced every May
+ the boiler is servicd every may
- The boiler is serviced every June.
- The boiler was replaced in May.
= Ana's birthday is on 4 May.
+ The birthday of Ana is May 4th.
+ ana's birthday: 4 May
- Ana's birthday is on 14 May.
- Ana's wedding anniversary is on 4 May.
= The wifi password is sunflower-22.
+ Our wifi password is sunflower-22
+ Password of the wifi: sunflower-22
- The wifi password is sunflower-23.
- The guest wifi password is sunflower-22.
= Tom is allergic to peanuts.
+ Remember: Tom has an allergy to peanuts.
+ Tom is alergic to peanuts
- Tom is allergic to walnuts.
- Tim is allergic to peanuts.
= The spare key is under the blue flowerpot.
+ There is a spare key under the blue flower pot.
+ Under the blue flowerpot is the spare key.
- The spare key is under the red flowerpot.
- The garage key is under the blue flowerpot.
= The dentist appointment is on Tuesday at 5 pm.
+ Dentist appointment on Tuesday at 17:00
+ On Tuesday at 5 pm there is the dentist appointment.
- The dentist appointment is on Thursday at 5 pm.
- The dentist appointment is on Tuesday at 6 pm.
= I prefer short answers.
+ I like short answers better.
+ Short answers are what I prefer.
- I prefer long answers.
- I don't like short answers.
= The car insurance ends on 30 September.
+ Our car insurance ends on September 30.
+ The insurance of the car expires on 30 September
- The car insurance begins on 30 September.
- The house insurance ends on 30 September.
= Rubbish is collected on Mondays and Thursdays.
+ The rubbish is collected on Mondays and Thursdays
+ On Mondays and Thursdays they collect the rubbish.
- Rubbish is collected on Mondays and Fridays.
- Recycling is collected on Mondays and Thursdays.
= The monthly rent is 850 euros.
+ We pay 850 euros of rent every month.
+ The rent is €850 a month.
- The monthly rent is 950 euros.
- The monthly rent is 850 dollars.
= Grandma's cake needs 250 g of flour and 4 eggs.
+ For grandma's cake you need 250 g of flour and 4 eggs.
+ Grandma's cake needs 250 grams of flour and four eggs
- Grandma's cake needs 250 g of sugar and 4 eggs.
- Grandma's cake needs 4 g of flour and 250 eggs.
= Luis owes Marta 20 euros.
+ Luis owes Marta 20 €.
+ Note that Luis owes Marta twenty euros.
- Marta owes Luis 20 euros.
- Luis owes Marta 20 euros less.
= The plumber's phone number is 600 123 456.
+ Phone number of the plumber: 600123456
+ The plumber's number is 600 123 456.
- The electrician's phone number is 600 123 456.
- The plumber's phone number is 600 123 465.
= The cat must not eat tuna.
+ The cat mustn't eat tuna
+ Please remember the cat must not eat tuna.
- The cat must eat tuna.
- The dog must not eat tuna.
= Our project meeting takes place every Wednesday at 10:00.
+ The project meeting is every Wednesday at 10 am.
+ Every Wednesday at 10:00 we have our project meeting.
- Our project meeting takes place every Wednesday at 11:00.
- Our budget meeting takes place every Wednesday at 10:00.
= The printer on the second floor jams with recycled paper.
+ With recycled paper the printer on the second floor jams.
+ The second floor printer jams when it has recycled paper.
- The printer on the third floor jams with recycled paper.
- The printer on the second floor jams with photo paper.
= Invoices must be sent before the 25th of the month.
+ Send the invoices before the 25th of every month.
+ Invoices have to be sent before the 25th of the month.
- Invoices must be sent after the 25th of the month.
- Invoices must be paid before the 25th of the month.
= The alarm code is 4821.
+ Alarm code: 4821
+ The code of the alarm is 4821.
- The alarm code is 4812.
- The door code is 4821.
= Maria works at the town library.
+ Maria works in the library of the town.
+ maria works at the town libary
- Maria worked at the town library.
- Mario works at the town library.
= The garden hose is in the shed behind the house.
+ The garden hose is kept in the shed behind the house.
+ In the shed behind the house is the garden hose.
- The garden hose is in the shed in front of the house.
- The garden chairs are in the shed behind the house.
= Peter's flight lands at 21:40.
+ Peter's flight arrives at 21:40.
+ Peter lands at 21:40.
- Peter's flight leaves at 21:40.
- Peter's flight lands at 20:40.
= Answer me in English.
+ Please answer me in English.
+ Always answer in English.
- Answer me in Spanish.
- Never answer me in English.
= The living room is 5 m long and 4 m wide.
+ The living room is 5 metres long and 4 metres wide.
+ Living room: 5 m long, 4 m wide
- The living room is 4 m long and 5 m wide.
- The bedroom is 5 m long and 4 m wide.
= The school play is on 12 December in the gym.
+ On 12 December the school play is in the gym.
+ The school play takes place in the gym on December 12.
- The school play is on 13 December in the gym.
- The school play is on 12 December in the library.
= My sister is a nurse.
+ My sister works as a nurse.
+ my sister is a nurse!
- My brother is a nurse.
- My sister was a nurse.
= The heating should be at 19 degrees at night.
+ At night the heating should be at 19 degrees.
+ Heating at night: 19 °C
- The heating should be at 21 degrees at night.
- The heating should be at 19 degrees by day.
= The budget of the kitchen project is 12,000 euros.
+ The kitchen project has a budget of 12000 euros.
+ Kitchen project budget: €12,000
- The budget of the kitchen project is 12,500 euros.
- The budget of the bathroom project is 12,000 euros.
= We feed the fish twice a day.
+ The fish are fed twice a day.
+ The fish must be fed two times a day.
- We feed the fish once a day.
- We feed the birds twice a day.
= Only Clara may sign contracts.
+ Contracts may be signed only by Clara.
+ Only Clara can sign contracts
- Only Carla may sign contracts.
- Clara may not sign contracts.
= The bins are in the courtyard.
- The bikes are in the courtyard.
= The recipe book is on the top shelf.
- The recipe book is on the bottom shelf.
= The blue key opens the red door.
- The red key opens the blue door.
= The tenants pay the water bill.
- The tenants do not pay the water bill.
"""

SPANISH = """
= La caldera se revisa cada mayo.
+ Cada mayo se revisa la caldera.
+ Recuerda que la caldera se revisa todos los mayos.
+ la caldera se rebisa cada mayo
- La caldera se revisa cada junio.
- La caldera se cambió en mayo.
= El cumpleaños de Ana es el 4 de mayo.
+ Ana cumple años el 4 de mayo.
+ El 4 de mayo es el cumpleaños de Ana.
- El cumpleaños de Ana es el 14 de mayo.
- El cumpleaños de Eva es el 4 de mayo.
= La contraseña del wifi es girasol-22.
+ Contraseña del wifi: girasol-22
+ la clave del wifi es girasol-22
- La contraseña del wifi es girasol-23.
- La contraseña del correo es girasol-22.
= Tomás es alérgico a los cacahuetes.
+ Tomás tiene alergia a los cacahuetes.
+ tomas es alergico a los cacahuetes
- Tomás es alérgico a las nueces.
- Tomás no es alérgico a los cacahuetes.
= La llave de repuesto está debajo de la maceta azul.
+ Debajo de la maceta azul está la llave de repuesto.
+ Hay una llave de repuesto debajo de la maceta azul.
- La llave de repuesto está debajo de la maceta roja.
- La llave de repuesto está encima de la maceta azul.
= La cita con el dentista es el martes a las 17:00.
+ Cita con el dentista: martes a las 5 de la tarde
+ El martes a las 17:00 tengo cita con el dentista.
- La cita con el dentista es el jueves a las 17:00.
- La cita con el dentista es el martes a las 18:00.
= Prefiero respuestas cortas.
+ Prefiero las respuestas cortas.
+ Prefiero que las respuestas sean cortas
- Prefiero respuestas largas.
- No quiero respuestas cortas.
= El seguro del coche vence el 30 de septiembre.
+ El seguro del coche caduca el 30 de septiembre.
+ El 30 de septiembre vence el seguro del coche
- El seguro del coche empieza el 30 de septiembre.
- El seguro de la casa vence el 30 de septiembre.
= La basura se recoge los lunes y los jueves.
+ Los lunes y los jueves se recoge la basura.
+ Recogen la basura los lunes y jueves.
- La basura se recoge los lunes y los viernes.
- El vidrio se recoge los lunes y los jueves.
= El alquiler son 850 euros al mes.
+ Pagamos 850 euros de alquiler cada mes.
+ El alquiler es de 850 € al mes.
- El alquiler son 950 euros al mes.
- El alquiler son 850 euros al año.
= La tarta de la abuela lleva 250 g de harina y 4 huevos.
+ La tarta de la abuela lleva 250 gramos de harina y cuatro huevos.
+ Para la tarta de la abuela hacen falta 250 g de harina y 4 huevos.
- La tarta de la abuela lleva 250 g de azúcar y 4 huevos.
- La tarta de la abuela lleva 350 g de harina y 4 huevos.
= Luis le debe 20 euros a Marta.
+ Luis debe a Marta 20 euros.
+ Luis le debe a Marta veinte euros
- Marta le debe 20 euros a Luis.
- Luis le debe 20 euros a María.
= El teléfono del fontanero es 600 123 456.
+ Teléfono del fontanero: 600123456
+ El número de teléfono del fontanero es el 600 123 456.
- El teléfono del electricista es 600 123 456.
- El teléfono del fontanero es 600 132 456.
= El gato no puede comer atún.
+ Recuerda que el gato no puede comer atún.
+ el gato no puede comer atun
- El gato puede comer atún.
- La gata no puede comer atún.
= La reunión del proyecto es cada miércoles a las 10:00.
+ Cada miércoles a las 10:00 es la reunión del proyecto.
+ La reunión del proyecto es todos los miércoles a las 10 de la mañana.
- La reunión del proyecto es cada viernes a las 10:00.
- La reunión del presupuesto es cada miércoles a las 10:00.
= La impresora del segundo piso se atasca con papel reciclado.
+ Con papel reciclado se atasca la impresora del segundo piso.
+ La impresora de la segunda planta se atasca con papel reciclado.
- La impresora del tercer piso se atasca con papel reciclado.
- La impresora del segundo piso se atasca con papel satinado.
= Las facturas se envían antes del día 25 de cada mes.
+ Hay que enviar las facturas antes del 25 de cada mes.
+ Antes del día 25 de cada mes se envían las facturas.
- Las facturas se envían después del día 25 de cada mes.
- Las facturas se pagan antes del día 25 de cada mes.
= El código de la alarma es 4821.
+ Código de la alarma: 4821
+ el codigo de alarma es el 4821
- El código de la alarma es 4812.
- El código del portal es 4821.
= María trabaja en la biblioteca municipal.
+ En la biblioteca municipal trabaja María.
+ Maria trabaja en la bibloteca municipal
- María trabajaba en la biblioteca municipal.
- Mario trabaja en la biblioteca municipal.
= La manguera está en el cobertizo, detrás de la casa.
+ En el cobertizo de detrás de la casa está la manguera.
+ La manguera se guarda en el cobertizo detrás de la casa.
- La manguera está en el cobertizo, delante de la casa.
- La escalera está en el cobertizo, detrás de la casa.
= El vuelo de Pedro llega a las 21:40.
+ A las 21:40 llega el vuelo de Pedro.
+ El vuelo de Pedro aterriza a las 21:40.
- El vuelo de Pedro sale a las 21:40.
- El vuelo de Pablo llega a las 21:40.
= Contéstame en español.
+ Por favor, contéstame en español.
+ Contesta en español
- Contéstame en inglés.
- No me contestes en español.
= Mi hermana es enfermera.
+ Mi hermana trabaja de enfermera.
+ mi hermana es enfermera
- Mi hermano es enfermero.
- Mi hermana era enfermera.
= La calefacción se pone a 19 grados por la noche.
+ Por la noche la calefacción se pone a 19 grados.
+ Calefacción por la noche: 19 °C
- La calefacción se pone a 21 grados por la noche.
- La calefacción se pone a 19 grados por el día.
= El presupuesto de la cocina es de 12.000 euros.
+ La cocina tiene un presupuesto de 12000 euros.
+ Presupuesto de la cocina: 12.000 €
- El presupuesto de la cocina es de 12.500 euros.
- El presupuesto del baño es de 12.000 euros.
= Solo Clara puede firmar contratos.
+ Los contratos solo los puede firmar Clara.
+ Sólo Clara puede firmar los contratos
- Solo Carla puede firmar contratos.
- Clara no puede firmar contratos.
= Las plantas del balcón se riegan dos veces por semana.
+ Regamos las plantas del balcón dos veces por semana.
+ Dos veces por semana se riegan las plantas del balcón.
- Las plantas del balcón se riegan tres veces por semana.
- Las plantas del salón se riegan dos veces por semana.
= El médico de Ana se llama Ruiz.
+ El médico de Ana es Ruiz.
+ Ana: su médico se llama Ruiz
- El médico de Ana se llama Sanz.
- La médica de Ana se llama Ruiz.
= Las bicis están en el trastero.
- Los esquís están en el trastero.
= Vivo en Madrid.
- Vive en Madrid.
= La llave azul abre la puerta roja.
- La llave roja abre la puerta azul.
= Los inquilinos pagan el agua.
- Los inquilinos no pagan el agua.
"""


HELD_OUT_ENGLISH = """
= The vet visits the horses on the first Friday of each month.
+ On the first Friday of each month the vet visits the horses.
+ the vet visits the horses on the first friday of every month
- The vet visits the horses on the last Friday of each month.
- The vet visits the cows on the first Friday of each month.
= Sofia's violin lesson costs 35 euros.
+ Sofia's violin lesson costs €35.
+ A violin lesson for Sofia costs 35 euros
- Sofia's piano lesson costs 35 euros.
- Sofia's violin lesson costs 25 euros.
= The fuse box is in the cellar behind the wine rack.
+ Behind the wine rack in the cellar is the fuse box.
+ The fuse box is in the celler behind the wine rack.
- The fuse box is in the attic behind the wine rack.
- The fuse box is in the cellar beside the wine rack.
= Dad takes his blood pressure pill at 8 am.
+ At 8:00 dad takes his blood pressure pill.
+ My dad takes his blood pressure pill at 8 am
- Dad takes his blood pressure pill at 8 pm.
- Mum takes her blood pressure pill at 8 am.
= The holiday cottage is booked from 3 to 17 August.
+ We have booked the holiday cottage from 3 to 17 August.
+ The holiday cottage is booked from August 3 to August 17.
- The holiday cottage is booked from 3 to 18 August.
- The holiday cottage is free from 3 to 17 August.
= Explain things to me step by step.
+ Please explain things step by step.
+ Explain everything to me step by step
- Do not explain things to me step by step.
= Nora's shoe size is 38.
+ Nora wears shoe size 38.
+ Shoe size of Nora: 38
- Nora's shoe size is 39.
- Nina's shoe size is 38.
= The server backup runs at 2:30 every night.
+ Every night at 2:30 the server backup runs.
+ The backup of the server runs every night at 02:30.
- The server backup runs at 3:30 every night.
- The server backup fails at 2:30 every night.
= The customer wants the offer by Thursday.
+ By Thursday the customer wants the offer.
+ the customer wants the offer by thursday!
- The customer wants the invoice by Thursday.
- The customer wants the offer by Tuesday.
= The freezer is defrosted twice a year.
+ Twice a year the freezer is defrosted.
+ We defrost the freezer two times a year.
- The freezer is defrosted twice a month.
- The fridge is defrosted twice a year.
= Guests can park on the gravel next to the barn.
+ Guests may park on the gravel next to the barn.
+ Next to the barn, on the gravel, guests can park.
- Guests cannot park on the gravel next to the barn.
- Guests can park on the grass next to the barn.
= Oliver's school starts at 8:15 and ends at 13:30.
+ Oliver's school begins at 8:15 and ends at 13:30.
+ Oliver's school starts at 8:15 am and ends at 1:30 pm.
- Oliver's school starts at 8:45 and ends at 13:30.
- Oliver's nursery starts at 8:15 and ends at 13:30.
= The lawyer is called Helen Brook.
+ Our lawyer is Helen Brook.
+ Helen Brook is our lawyer.
- The lawyer is called Helen Brock.
- The notary is called Helen Brook.
= Never tumble-dry the wool blankets.
+ The wool blankets must never be tumble-dried.
+ never tumble dry the wool blankets
- Always tumble-dry the wool blankets.
- Never tumble-dry the cotton blankets.
= The coffee machine takes 18 g of coffee for two cups.
+ For two cups the coffee machine takes 18 grams of coffee.
+ The coffee machine needs 18 g of coffee for 2 cups.
- The coffee machine takes 16 g of coffee for two cups.
- The coffee machine takes 18 g of coffee for three cups.
"""

HELD_OUT_SPANISH = """
= El veterinario visita a los caballos el primer viernes de cada mes.
+ El primer viernes de cada mes el veterinario visita a los caballos.
+ El veterinario visita los caballos el primer viernes de cada mes
- El veterinario visita a los caballos el último viernes de cada mes.
- El veterinario visita a las vacas el primer viernes de cada mes.
= La clase de violín de Sofía cuesta 35 euros.
+ La clase de violín de Sofía son 35 €.
+ Sofía paga 35 euros por la clase de violín.
- La clase de piano de Sofía cuesta 35 euros.
- La clase de violín de Sofía cuesta 25 euros.
= El cuadro eléctrico está en el sótano, detrás del botellero.
+ En el sótano, detrás del botellero, está el cuadro eléctrico.
+ el cuadro electrico esta en el sotano detras del botellero
- El cuadro eléctrico está en el garaje, detrás del botellero.
- El cuadro eléctrico está en el sótano, junto al botellero.
= Papá toma la pastilla de la tensión a las 8 de la mañana.
+ A las 8:00 papá toma la pastilla de la tensión.
+ Papá se toma la pastilla de la tensión a las 8:00.
- Papá toma la pastilla de la tensión a las 8 de la noche.
- Mamá toma la pastilla de la tensión a las 8 de la mañana.
= La casa rural está reservada del 3 al 17 de agosto.
+ Tenemos reservada la casa rural del 3 al 17 de agosto.
+ Del 3 al 17 de agosto está reservada la casa rural.
- La casa rural está reservada del 3 al 18 de agosto.
- La casa rural está libre del 3 al 17 de agosto.
= Explícame las cosas paso a paso.
+ Por favor, explícame las cosas paso a paso.
+ explicame las cosas paso a paso
- No me expliques las cosas paso a paso.
= Nora calza un 38.
+ Nora calza el 38.
+ nora calza un 38
- Nora calza un 39.
- Nina calza un 38.
= La copia de seguridad se hace a las 2:30 cada noche.
+ Cada noche a las 2:30 se hace la copia de seguridad.
+ La copia de seguridad se hace todas las noches a las 2:30.
- La copia de seguridad se hace a las 3:30 cada noche.
- La copia de seguridad no se hace a las 2:30.
= El cliente quiere la oferta para el jueves.
+ Para el jueves el cliente quiere la oferta.
+ El cliente quiere tener la oferta el jueves
- El cliente quiere la factura para el jueves.
- El cliente quiere la oferta para el martes.
= El congelador se descongela dos veces al año.
+ Dos veces al año se descongela el congelador.
+ Descongelamos el congelador dos veces al año.
- El congelador se descongela dos veces al mes.
- La nevera se descongela dos veces al año.
= Las visitas pueden aparcar en la grava, junto al granero.
+ Junto al granero, en la grava, pueden aparcar las visitas.
+ Las visitas pueden aparcar junto al granero, en la grava.
- Las visitas no pueden aparcar en la grava, junto al granero.
- Las visitas pueden aparcar en el césped, junto al granero.
= El colegio de Óliver empieza a las 8:15 y termina a las 13:30.
+ El cole de Óliver empieza a las 8:15 y acaba a las 13:30.
+ El colegio de Óliver comienza a las 8:15 y termina a las 13:30.
- El colegio de Óliver empieza a las 8:45 y termina a las 13:30.
= La abogada se llama Elena Ríos.
+ Nuestra abogada es Elena Ríos.
+ Elena Ríos es la abogada.
- La abogada se llama Elena Ruiz.
- La notaria se llama Elena Ríos.
= Nunca metas las mantas de lana en la secadora.
+ Las mantas de lana nunca se meten en la secadora.
+ nunca metas en la secadora las mantas de lana
- Mete las mantas de lana en la secadora.
- Nunca metas las mantas de algodón en la secadora.
= La cafetera lleva 18 g de café para dos tazas.
+ Para dos tazas la cafetera lleva 18 gramos de café.
+ La cafetera necesita 18 g de café para 2 tazas.
- La cafetera lleva 16 g de café para dos tazas.
- La cafetera lleva 18 g de café para tres tazas.
"""


def read(block: str, language: str) -> list[Said]:
    """Return the memories of a block."""
    found: list[Said] = []
    for line in filter(None, block.splitlines()):
        mark, text = line[0], line[2:]
        if mark == "=":
            found.append(Said(text, language, (), ()))
        elif mark == "+":
            found[-1] = found[-1]._replace(again=(*found[-1].again, text))
        else:
            found[-1] = found[-1]._replace(other=(*found[-1].other, text))
    return found


def tuned_on() -> list[Said]:
    """Return what the rule was tuned on, English first."""
    return read(ENGLISH, "en") + read(SPANISH, "es")


def held_out() -> list[Said]:
    """Return what it has never seen."""
    return read(HELD_OUT_ENGLISH, "en") + read(HELD_OUT_SPANISH, "es")


def everything() -> list[Said]:
    """Return all of them."""
    return tuned_on() + held_out()
