"""Write the example documents of this folder; run it again after a change: `python examples/make_examples.py`.

Everything here is invented: no such person, address, firm or machine exists. The same script gives the same text and
the same picture each time, since the random numbers of the scan are seeded. Needs reportlab, Pillow, numpy and (for
the fonts alone) matplotlib, all of the `dev` and `processing` extras.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Frame, Paragraph

HERE = Path(__file__).parent
SCAN_DPI = 200
SCAN_SKEW_DEGREES = 0.9
SEED = 20261122

# A page is a list of paragraphs; "# " marks a heading.
MANUAL = (
    (
        "# Bellwater WM 740: user manual",
        "Thank you for choosing the Bellwater WM 740 washing machine. Please read this manual before the first "
        "wash and keep it with the purchase receipt. The serial number stands on the silver plate inside the "
        "door.",
        "# 1. Safety",
        "Only adults may install the machine. Connect it to an earthed 230 V socket with its own 10 A fuse; never "
        "use an extension lead. Keep children under three years away unless they are watched all the time. Pull "
        "the plug before you open the service flap, and never reach into the drum while it is still turning.",
        "# 2. Technical data",
        "Capacity: 8 kg of dry cotton. Highest spin speed: 1,400 turns per minute. Height 85 cm, width 60 cm, "
        "depth 58 cm. Weight: 71 kg. Noise while spinning: 74 dB. Water pressure: 0.1 to 1.0 MPa. Energy class: "
        "A. One wash with the Eco 40-60 programme takes 0.49 kWh and 46 litres of water.",
    ),
    (
        "# 3. Installation",
        "Four transport bolts hold the drum at the back. Remove all four with a 13 mm spanner before the first "
        "wash and close the holes with the grey caps. Keep the bolts: the machine must not be moved without them. "
        "Washing with the bolts in place damages the machine and ends the warranty.",
        "Stand the machine on a firm, level floor. Turn its feet until a spirit level shows less than 1 degree in "
        "both directions, then tighten the lock nuts against the cabinet.",
        "Screw the inlet hose to a cold water tap by hand. Hang the drain hose at a height of 60 to 90 cm above "
        "the floor. If it hangs lower, the water runs out while the machine washes; if it hangs higher, the pump "
        "cannot empty the drum.",
        "Run the first wash without laundry: programme Cotton 60, with half a dose of detergent. This rinses out "
        "what is left of the water used for the factory test.",
    ),
    (
        "# 4. Programmes",
        "Cotton 60: white and coloured cotton, up to 8 kg, 2 hours 35 minutes. Eco 40-60: everyday cotton, up to "
        "8 kg, 3 hours 20 minutes; it takes longest and uses the least energy. Synthetics 40: shirts and "
        "sportswear, up to 4 kg, 1 hour 45 minutes.",
        "Wool 30: only wool marked as washable, up to 1.5 kg, 48 minutes, with a spin of 800 turns at most. "
        "Delicates 30: curtains and silk, up to 2 kg, 55 minutes. Quick 15: lightly worn clothes, up to 2 kg, 15 "
        "minutes, no stains.",
        "# 5. Detergent and delayed start",
        "The drawer has three compartments: I for prewash, II for the main wash, and the one with the flower for "
        "softener. In hard water, above 14 degrees, use the larger dose printed on the detergent packet.",
        "To delay the start, choose the programme first, then press the clock key until the display shows the "
        "hours left, at most 19. The door stays locked until the programme has ended.",
    ),
    (
        "# 6. Care and cleaning",
        "Clean the pump filter every two months, or at once when the display shows E20. Switch the machine off "
        "and pull the plug. Open the flap at the bottom right, put a flat bowl under it and let the water out "
        "through the small hose. Then turn the filter to the left, take out fluff, coins and buttons, rinse it "
        "and screw it in tightly.",
        "Once a month run the programme Drum clean at 90 degrees, without laundry and without detergent. Leave "
        "the door and the drawer ajar after each wash, so that the drum dries and does not smell.",
        "Where the water is hard, descale the machine twice a year: put 100 grams of citric acid into the drum "
        "and run Cotton 60 without laundry. Never use vinegar, which attacks the door seal.",
        "Before a holiday of more than two weeks, close the water tap.",
    ),
    (
        "# 7. What the error codes mean",
        "E10: no water comes in. Open the tap and clean the sieve in the inlet hose. E20: the water is not pumped "
        "out. Clean the pump filter and look for a kink in the drain hose. E40: the door is not shut; press it "
        "until it clicks. E60: the water does not get warm; call the service. E90: the laundry lies on one side; "
        "spread it and spin again.",
        "# 8. Warranty and service",
        "The warranty lasts three years from the date of purchase and covers material and work. The motor is "
        "covered for ten years. Spare parts can be had for at least ten years. The warranty does not cover damage "
        "from transport bolts left in place, from foreign objects in the pump or from frost.",
        "Service line: 0800 555 0142, Monday to Friday from 8:00 to 18:00 and Saturday from 9:00 to 13:00. Have "
        "the model, the serial number and the receipt at hand. A visit outside the warranty costs 69 euros, the "
        "first half hour of work included.",
    ),
)

CONTRACT = (
    "# Contrato de arrendamiento de vivienda",
    "En Valencia, a 28 de agosto de 2025, doña Lucía Ferrer Montes, como arrendadora, y doña Ana Robles Vidal y "
    "don Diego Salas Peña, como arrendatarios, acuerdan el alquiler de la vivienda situada en la calle del Olmo, "
    "número 14, 3.º B, con las condiciones siguientes.",
    "# Primera. Duración",
    "El contrato empieza el 1 de septiembre de 2025 y dura un año. Se prorroga cada año, hasta un máximo de "
    "cinco, salvo que los arrendatarios avisen de que dejan el piso con al menos 30 días de antelación.",
    "# Segunda. Renta y fianza",
    "La renta es de 780 euros al mes y se paga por transferencia entre los días 1 y 5. Se actualiza cada "
    "septiembre según el índice oficial. Los arrendatarios entregan una fianza de 780 euros, que se devuelve en "
    "el mes siguiente a la entrega de las llaves si la vivienda está en buen estado.",
    "# Tercera. Gastos y reparaciones",
    "La comunidad y el impuesto de bienes inmuebles corren a cargo de la arrendadora. El agua, la luz, el gas e "
    "internet los pagan los arrendatarios. Las averías de la caldera y de las tuberías las paga la arrendadora; "
    "las pequeñas reparaciones por el uso diario, de menos de 90 euros, los arrendatarios.",
    "# Cuarta. Uso de la vivienda",
    "Se permite un gato o un perro pequeño. No se puede subarrendar ninguna habitación ni hacer obras sin permiso "
    "escrito. El trastero número 7 y la plaza de garaje 22 forman parte del alquiler. Por la noche, entre las "
    "23:00 y las 7:00, se respeta el descanso de los vecinos.",
)

INVOICE = (
    "# Calderas Levante, S. L.",
    "Avenida del Puerto, 203, 46022 Valencia. Teléfono 960 555 018",
    "Factura número 2026-0318. Fecha: 12 de marzo de 2026",
    "Cliente: Lucía Ferrer Montes. Lugar del trabajo: calle del Olmo, 14, 3.º B",
    "Estimada señora:",
    "El día 10 de marzo nuestro técnico, Javier Ortuño, revisó la caldera de la vivienda. El aparato perdía "
    "presión porque el vaso de expansión estaba roto. Lo cambiamos ese mismo día y comprobamos que no hay fugas "
    "en la instalación.",
    "Revisión anual de la caldera: 85,00 euros",
    "Vaso de expansión nuevo: 124,50 euros",
    "Mano de obra, una hora y media: 57,00 euros",
    "Suma: 266,50 euros. IVA (21 %): 55,97 euros",
    "# Total a pagar: 322,47 euros",
    "La presión del agua debe estar entre 1,2 y 1,5 bar con la caldera fría. Si baja de 1 bar, abra la llave de "
    "llenado que está debajo del aparato hasta que la aguja vuelva a la zona verde.",
    "El vaso de expansión tiene dos años de garantía. La próxima revisión corresponde en marzo de 2027.",
    "Reciba un cordial saludo,",
    "Carmen Ibáñez, administración",
)


def font_path(name: str) -> Path:
    """Return the DejaVu font file `name` that matplotlib carries, without importing matplotlib."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise SystemExit("matplotlib is missing: pip install -e '.[dev,processing]'")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf"


def draw_text_page(canvas: Canvas, paragraphs: tuple[str, ...], footer: str) -> None:
    """Set one page of `paragraphs` on `canvas`; raises ValueError when they do not fit."""
    body = ParagraphStyle("body", fontName="DejaVu", fontSize=10.5, leading=15, spaceAfter=8)
    head = ParagraphStyle("head", parent=body, fontName="DejaVu-Bold", fontSize=12.5, leading=17, spaceBefore=8)
    story = [Paragraph(text.removeprefix("# "), head if text.startswith("# ") else body) for text in paragraphs]
    frame = Frame(60, 70, A4[0] - 120, A4[1] - 130)
    frame.addFromList(story, canvas)
    if story:
        raise ValueError(f"the page {footer!r} is too full")
    canvas.setFont("DejaVu", 8)
    canvas.drawCentredString(A4[0] / 2, 40, footer)
    canvas.showPage()


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return `text` as lines no wider than `width` pixels."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def scan(paragraphs: tuple[str, ...]) -> bytes:
    """Return a JPEG of a printed letter as a home scanner gives it: grey paper, noise, soft edges, laid in askew."""
    width, height = round(8.27 * SCAN_DPI), round(11.69 * SCAN_DPI)
    page = Image.new("L", (width, height), 246)
    draw = ImageDraw.Draw(page)
    y = 190
    for text in paragraphs:
        heading = text.startswith("# ")
        font = ImageFont.truetype(font_path("DejaVuSerif-Bold" if heading else "DejaVuSerif"), 36 if heading else 30)
        for line in wrap(text.removeprefix("# "), font, width - 380):
            draw.text((190, y), line, font=font, fill=40)
            y += 46
        y += 20
    page = page.rotate(SCAN_SKEW_DEGREES, Image.Resampling.BICUBIC, fillcolor=238)
    page = page.filter(ImageFilter.GaussianBlur(0.8))
    rng = np.random.default_rng(SEED)
    shade = np.linspace(0, 14, width)[None, :]  # the lid stood open a little on the right
    noisy = np.asarray(page, dtype=np.float32) - shade + rng.normal(0, 4, (height, width))
    picture = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(picture, "JPEG", quality=42, dpi=(SCAN_DPI, SCAN_DPI))
    return picture.getvalue()


def write_manual(path: Path) -> None:
    """Write the English manual: five pages of text."""
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    canvas.setTitle("Bellwater WM 740: user manual")
    for number, paragraphs in enumerate(MANUAL, 1):
        draw_text_page(canvas, paragraphs, f"Bellwater WM 740 · page {number} of {len(MANUAL)}")
    canvas.save()


def write_contract(path: Path) -> None:
    """Write the Spanish contract (text) with the scanned invoice of the boiler behind it."""
    canvas = Canvas(str(path), pagesize=A4, invariant=1)
    canvas.setTitle("Contrato de alquiler y factura de la caldera")
    draw_text_page(canvas, CONTRACT, "Contrato de arrendamiento · calle del Olmo, 14, 3.º B")
    canvas.drawImage(ImageReader(io.BytesIO(scan(INVOICE))), 0, 0, *A4)
    canvas.showPage()
    canvas.save()


def main() -> None:
    """Write both PDFs beside this script; the Markdown note and the TXT are written by hand."""
    pdfmetrics.registerFont(TTFont("DejaVu", font_path("DejaVuSans")))
    pdfmetrics.registerFont(TTFont("DejaVu-Bold", font_path("DejaVuSans-Bold")))
    write_manual(HERE / "washing-machine-manual.pdf")
    write_contract(HERE / "contrato-y-factura.pdf")


if __name__ == "__main__":
    main()
