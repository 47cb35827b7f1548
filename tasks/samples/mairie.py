"""Sample dossiers of a town hall: planning applications and their pieces. Everybody and everything is made up."""

from __future__ import annotations

from tasks.samples import paper, scans
from tasks.samples.model import Dossier, Piece
from tasks.samples.paper import Paper

ISSUER = "Mairie de Saint-Aubrac-les-Pins · service de l'urbanisme"
_DAYS = ("2026-03-02", "2026-03-03", "2026-03-04")

# number (department and town do not exist), applicant, street, plot, plot size in metres, house size in metres, works
_CASES = (
    (
        "PC0999992600011",
        "M. et Mme Ambroise Tellier",
        "12 chemin des Lavandes",
        "AB 117",
        (32, 24),
        (13.5, 9),
        "Maison individuelle de plain-pied",
    ),
    (
        "DP0999992600027",
        "Mme Roxane Vauquois",
        "3 rue de la Fontaine",
        "AC 42",
        (18, 21),
        (6, 4),
        "Abri de jardin en bois",
    ),
    (
        "PC0999992600014",
        "SCI Les Genêts bleus",
        "Lieu-dit Le Pré-Haut",
        "ZD 8",
        (40, 26),
        (18, 12),
        "Bâtiment artisanal avec bureaux",
    ),
    (
        "DP0999992600031",
        "M. Joachim Estrelle",
        "27 avenue des Pins",
        "AE 203",
        (22, 19),
        (9, 4),
        "Piscine enterrée et local technique",
    ),
    (
        "PC0999992600016",
        "Mme Blandine Ourcade",
        "5 impasse du Lavoir",
        "AB 96",
        (28, 22),
        (11, 8.5),
        "Extension d'une maison et garage",
    ),
    (
        "DP0999992600035",
        "M. Silvère Nadal-Roux",
        "19 rue Haute",
        "AA 61",
        (15, 20),
        (8, 10),
        "Ravalement et remplacement des volets",
    ),
    (
        "PC0999992600019",
        "Association Le Kiosque vert",
        "1 place du Marché",
        "AA 14",
        (30, 25),
        (16, 11),
        "Salle associative accessible",
    ),
    (
        "DP0999992600038",
        "Mme Éléonore Castaing",
        "44 route du Col",
        "BC 5",
        (36, 23),
        (12, 5),
        "Clôture et portail, serre de 60 m²",
    ),
)


def dossiers() -> list[Dossier]:
    """Give the eight dossiers, in the order of their day."""
    return [_dossier(index) for index in range(len(_CASES))]


def decision(index: int) -> bytes:
    """Draw the decision on the case `index`."""
    number, applicant, street, plot, _, _, works = _CASES[index]
    return paper.draw(
        Paper(
            ISSUER,
            "Arrêté accordant l'autorisation",
            f"Dossier {number}, au nom de la commune",
            (("Demandeur", applicant), ("Terrain", f"{street}, parcelle {plot}"), ("Projet", works)),
            (
                (
                    "Le maire,",
                    "Vu la demande susvisée et les pièces jointes ; vu le code de l'urbanisme, notamment ses "
                    "articles L. 421-1 et suivants ; vu le plan local d'urbanisme approuvé ; considérant que le projet "
                    "respecte les règles d'implantation, de hauteur et d'aspect extérieur applicables à la zone ;",
                ),
                ("Article 1", "L'autorisation est accordée pour le projet décrit dans la demande."),
                ("Article 2", "Les travaux débuteront dans les trois ans suivant la notification du présent arrêté."),
                (
                    "Article 3",
                    "Le présent arrêté sera affiché en mairie et sur le terrain pendant toute la durée du chantier.",
                ),
            ),
            "Le maire",
        )
    )


def request(index: int) -> bytes:
    """Draw the application form of the case `index`."""
    number, applicant, street, plot, (width, depth), (house_width, house_depth), works = _CASES[index]
    kind = "permis de construire" if number.startswith("PC") else "déclaration préalable"
    return paper.draw(
        Paper(
            ISSUER,
            f"Demande de {kind}" if kind.startswith("permis") else "Déclaration préalable de travaux",
            f"Dossier {number}, déposé le {_french(_day(index))} (modèle d'après le Cerfa 13406)",
            (
                ("Demandeur", applicant),
                ("Adresse du terrain", f"{street}, 99120 Saint-Aubrac-les-Pins"),
                ("Référence cadastrale", f"{plot}, {width * depth} m²"),
                ("Nature des travaux", works),
                ("Emprise au sol créée", f"{house_width * house_depth:g} m²".replace(".", ",")),
                ("Surface de plancher créée", f"{house_width * house_depth * 0.88:.1f} m²".replace(".", ",")),
            ),
            (
                (
                    "Engagement du demandeur",
                    "J'atteste avoir qualité pour demander la présente autorisation. Je certifie exacts les "
                    "renseignements fournis et j'ai pris connaissance des règles générales de construction prévues "
                    "par le code de la construction et de l'habitation.",
                ),
            ),
            "Le demandeur",
        )
    )


def _dossier(index: int) -> Dossier:
    number = _CASES[index][0]
    form = Piece("PCMI0", "Formulaire de demande", f"{number}-formulaire.pdf", request(index))
    return Dossier(number, _day(index), (form, _plan(index), _third(index)))


def _plan(index: int) -> Piece:
    number, applicant, street, plot, size, house, works = _CASES[index]
    data = paper.draw(
        Paper(
            ISSUER,
            "Plan de masse des constructions",
            f"Pièce PCMI2, dossier {number}",
            (("Demandeur", applicant), ("Terrain", f"{street}, parcelle {plot}"), ("Projet", works)),
            plan=(*size, *house),
        )
    )
    return Piece("PCMI2", "Plan de masse", f"{number}-plan-de-masse.pdf", data)


def _third(index: int) -> Piece:
    """Give the third piece: a scanned receipt, a written notice or a scanned notice of neighbours."""
    number, applicant, street, plot, _, _, works = _CASES[index]
    if index % 3 == 0:
        lines = [
            f"Dossier : {number}",
            f"Demandeur : {applicant}",
            f"Reçu en mairie le {_french(_day(index))}",
            "Délai d'instruction : deux mois",
            "Dossier complet : OUI",
        ]
        scan = scans.jpeg("Récépissé de dépôt", lines, 9_000 + index)
        return Piece("RECEPISSE", "Récépissé de dépôt", f"{number}-recepisse.jpg", scan)
    if index % 3 == 1:
        data = paper.draw(
            Paper(
                ISSUER,
                "Notice descriptive",
                f"Pièce PCMI4, dossier {number}",
                (("Demandeur", applicant),),
                (
                    (
                        "État initial du terrain",
                        f"Le terrain, situé {street} (parcelle {plot}), est bordé de haies vives au nord et à "
                        "l'ouest. Il "
                        "descend doucement vers le sud et ne porte aucune construction. Deux chênes, repérés au plan "
                        "de "
                        "masse, y ont plus de cinquante ans.",
                    ),
                    (
                        "Projet et insertion",
                        f"Le projet ({works.lower()}) s'implante dans la pente naturelle, sans remblai ni mur de "
                        "soutènement. Les haies et les deux chênes sont conservés. L'accès existant est maintenu et "
                        "les "
                        "eaux pluviales sont infiltrées sur la parcelle.",
                    ),
                    (
                        "Matériaux et couleurs",
                        "Les enduits sont de teinte pierre, les menuiseries en bois peint gris clair, la couverture en "
                        "tuiles canal de récupération. Les clôtures sont doublées d'essences locales.",
                    ),
                ),
            )
        )
        return Piece("PCMI4", "Notice descriptive", f"{number}-notice.pdf", data)
    pages = (
        [
            f"Dossier : {number}",
            f"Terrain : {street}",
            "Avis de l'architecte-conseil : favorable",
            "Réserve : teinte des volets",
        ],
        ["Avis du service des eaux : favorable", "Raccordement existant conservé."],
    )
    return Piece(
        "AVIS",
        "Avis des services consultés",
        f"{number}-avis.pdf",
        scans.pdf("Avis des services", pages, 9_500 + index * 10),
    )


def _day(index: int) -> str:
    return _DAYS[min(index // 3, len(_DAYS) - 1)]


def _french(day: str) -> str:
    year, month, number = day.split("-")
    return f"{number}/{month}/{year}"
