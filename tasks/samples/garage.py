"""Sample dossiers of a garage authorised for vehicle registration (habilité SIV). Everything in them is made up."""

from __future__ import annotations

from tasks.samples import paper, scans
from tasks.samples.model import Dossier, Piece
from tasks.samples.paper import Paper

ISSUER = "Garage des Trois Chênes · habilitation fictive n° 990 001 · Valmoret-sur-Lize"
_DAYS = ("2026-03-02", "2026-03-03", "2026-03-04")

# holder, birth, street, model, plate (a series not yet issued), first registration, mileage, price in euros
_SALES = (
    (
        "Mme Camille Lorvane",
        "12/06/1984",
        "14 rue des Tanneurs",
        "Renault Clio V",
        "YZ-401-ZY",
        "17/05/2021",
        48_210,
        11_900,
    ),
    ("M. Idriss Peyrol", "03/11/1991", "7 impasse du Moulin", "Peugeot 208", "YZ-418-ZY", "02/09/2020", 61_845, 10_450),
    (
        "Mme Solène Quéravel",
        "25/01/1978",
        "2 place de la Halle",
        "Citroën C3",
        "YZ-422-ZY",
        "11/03/2019",
        73_020,
        8_700,
    ),
    (
        "M. Bastien Haudrey",
        "30/08/1969",
        "88 route de Corbière",
        "Dacia Duster",
        "YZ-437-ZY",
        "29/06/2022",
        35_400,
        15_300,
    ),
    (
        "Mme Inaya Delcroze",
        "19/04/1996",
        "5 allée des Érables",
        "Toyota Yaris",
        "YZ-451-ZY",
        "08/12/2021",
        27_115,
        14_200,
    ),
    (
        "M. Gaspard Montlieu",
        "07/07/1958",
        "31 chemin des Vignes",
        "Volkswagen Golf",
        "YZ-466-ZY",
        "22/10/2018",
        92_300,
        9_950,
    ),
    ("Mme Océane Fabrègue", "14/02/1989", "9 quai de la Lize", "Fiat 500", "YZ-473-ZY", "05/05/2023", 12_640, 13_600),
    (
        "M. Théodore Vaselin",
        "21/09/1974",
        "46 rue du Général-Arnoux",
        "Ford Focus",
        "YZ-489-ZY",
        "14/01/2020",
        58_775,
        10_100,
    ),
)

_CONDITIONS = (
    (
        "État du véhicule",
        "Le véhicule a été présenté à l'acquéreur, qui en a reçu les deux clés, le certificat d'immatriculation barré, "
        "daté et signé, le procès-verbal de contrôle technique de moins de six mois et le certificat de situation "
        "administrative détaillé. Un essai sur route d'une vingtaine de kilomètres a précédé la vente. Aucun choc "
        "antérieur n'est connu du vendeur ; les rayures du pare-chocs arrière, visibles, ont été montrées à "
        "l'acquéreur.",
    ),
    (
        "Entretien",
        "Le carnet d'entretien est à jour. La dernière révision comprend la vidange, les filtres à huile, à air et "
        "d'habitacle, le contrôle de la courroie d'accessoires et le remplacement des plaquettes avant. Les "
        "pneumatiques "
        "sont usés à quarante pour cent environ. La batterie a été remplacée l'hiver dernier. Les factures "
        "correspondantes sont remises avec le véhicule.",
    ),
    (
        "Garantie",
        "Le vendeur accorde une garantie commerciale de six mois, pièces et main-d'œuvre, sur le moteur, la boîte de "
        "vitesses et la transmission, sans limite de kilométrage. Elle ne couvre ni l'usure normale ni le défaut "
        "d'entretien. Les réparations sont faites dans les ateliers du vendeur ou, avec son accord écrit, chez un "
        "confrère plus proche du domicile de l'acquéreur. Cette garantie s'ajoute à la garantie légale de conformité "
        "et "
        "à celle des vices cachés, qu'elle ne remplace pas.",
    ),
    (
        "Démarches",
        "Le vendeur déclare la cession dans le système d'immatriculation des véhicules le jour même et remet à "
        "l'acquéreur un certificat provisoire lui permettant de circuler sur le territoire national pendant un mois. "
        "Il "
        "conserve pendant cinq ans les pièces du dossier et les tient à la disposition de l'administration. "
        "L'acquéreur "
        "certifie avoir souscrit une assurance avant de prendre la route.",
    ),
    (
        "Données personnelles",
        "Les données recueillies servent à la demande d'immatriculation et à la tenue du dossier réglementaire. "
        "L'acquéreur peut y accéder, les faire rectifier et s'informer de leur durée de conservation auprès du garage, "
        "à l'adresse indiquée en tête de ce document.",
    ),
    (
        "Règlement des différends",
        "En cas de difficulté, l'acquéreur s'adresse d'abord au garage par écrit. À défaut de réponse satisfaisante "
        "dans "
        "un délai de deux mois, il peut saisir gratuitement le médiateur de la consommation dont les coordonnées sont "
        "affichées à l'accueil. Les deux parties reconnaissent avoir reçu un exemplaire de ce certificat.",
    ),
)


def dossiers() -> list[Dossier]:
    """Give the eight dossiers, in the order of their day."""
    return [_dossier(index) for index in range(len(_SALES))]


def request(index: int, *, password: str = "") -> bytes:
    """Draw the request for a registration certificate of the sale `index`."""
    holder, birth, street, model, plate, first, mileage, _ = _SALES[index]
    return paper.draw(
        Paper(
            ISSUER,
            "Demande de certificat d'immatriculation",
            "Changement de titulaire d'un véhicule d'occasion (modèle d'après le Cerfa 13750)",
            (
                ("Titulaire", holder),
                ("Date de naissance", birth),
                ("Adresse", f"{street}, 99310 Valmoret-sur-Lize"),
                ("Marque et modèle (D.1, D.3)", model),
                ("Numéro d'immatriculation (A)", plate),
                ("Numéro d'identification (E)", _vin(index)),
                ("Date de première immatriculation (B)", first),
                ("Kilométrage au compteur", f"{mileage:,} km".replace(",", " ")),
                ("Numéro de formule", f"2026NB{40_100 + 7 * index}"),
            ),
            (
                (
                    "Déclaration",
                    "Je soussigné(e), titulaire désigné(e) ci-dessus, demande l'établissement du certificat "
                    "d'immatriculation à mon nom et certifie l'exactitude des informations portées sur cette demande. "
                    "J'atteste disposer d'une assurance couvrant ce véhicule ainsi que d'un permis de conduire en "
                    "cours de validité correspondant à sa catégorie.",
                ),
            ),
            f"Fait à Valmoret-sur-Lize, le {_french(_day(index))}",
        ),
        password=password,
    )


def _dossier(index: int) -> Dossier:
    plate = _SALES[index][4]
    first = Piece("CERFA_DEMANDE", "Demande de certificat d'immatriculation", f"demande-{plate}.pdf", request(index))
    return Dossier(f"SIV-2026-{1_201 + index:05d}", _day(index), (first, _transfer(index), _identity(index)))


def _transfer(index: int) -> Piece:
    """Give the transfer declaration: drawn for even sales, scanned on two pages for odd ones."""
    holder, _, street, model, plate, _, mileage, price = _SALES[index]
    name, title = f"cession-{plate}.pdf", "Déclaration de cession d'un véhicule d'occasion"
    if index % 2:
        front = [
            f"Immatriculation : {plate}",
            f"Véhicule : {model}",
            f"N° d'identification : {_vin(index)}",
            f"Kilométrage : {mileage} km",
            f"Vendeur : {ISSUER.split(' · ', maxsplit=1)[0]}",
            f"Acquéreur : {holder}",
            f"Cédé le {_french(_day(index))} à 14 h 30, sans gage ni opposition.",
        ]
        back = [
            "Exemplaire n° 1 destiné à l'acheteur.",
            f"Prix convenu : {price} €, payé par virement.",
            "Lu et approuvé",
        ]
        return Piece("CERFA_CESSION", title, name, scans.pdf("Cession de véhicule", (front, back), 7_000 + index * 10))
    data = paper.draw(
        Paper(
            ISSUER,
            "Certificat de cession",
            "Véhicule d'occasion (modèle d'après le Cerfa 15776)",
            (
                ("Ancien propriétaire", ISSUER.split(" · ", maxsplit=1)[0]),
                ("Nouveau propriétaire", f"{holder}, {street}, 99310 Valmoret-sur-Lize"),
                ("Véhicule", f"{model}, {plate}, {_vin(index)}"),
                ("Kilométrage", f"{mileage:,} km".replace(",", " ")),
                ("Prix", f"{price:,} € toutes taxes comprises".replace(",", " ")),
            ),
            (*_CONDITIONS,),
            "Le vendeur et l'acquéreur",
        )
    )
    return Piece("CERFA_CESSION", title, name, data)


def _identity(index: int) -> Piece:
    """Give the third piece: a scanned identity card, a scanned roadworthiness report or a drawn energy bill."""
    holder, birth, street, model, plate, *_ = _SALES[index]
    if index % 3 == 0:
        lines = [
            f"Nom : {holder.split()[-1].upper()}",
            f"Prénom : {holder.split()[1]}",
            f"Né(e) le {birth}",
            "Nationalité française",
        ]
        scan = scans.jpeg("CARTE D'IDENTITÉ (spécimen)", lines, 8_000 + index)
        return Piece("IDENTITE", "Pièce d'identité du titulaire", f"identite-{plate}.jpg", scan)
    if index % 3 == 1:
        lines = [
            f"Véhicule : {model}",
            f"Immatriculation : {plate}",
            "Défaillances majeures : aucune",
            "Résultat : FAVORABLE",
            "Valable deux ans",
        ]
        scan = scans.png("Contrôle technique", lines, 8_000 + index)
        return Piece("CT", "Procès-verbal de contrôle technique", f"controle-{plate}.png", scan)
    bill = paper.draw(
        Paper(
            "Énergie du Val · service clientèle (fictif)",
            "Facture d'électricité",
            f"Facture n° 26-{5_510 + index} du {_french(_day(index))}",
            (
                ("Client", holder),
                ("Adresse du point de livraison", f"{street}, 99310 Valmoret-sur-Lize"),
                ("Période", "du 1er décembre 2025 au 31 janvier 2026"),
                ("Consommation", f"{402 + 13 * index} kWh"),
                ("Montant à payer", f"{96 + 3 * index},40 €"),
            ),
            (
                (
                    "Justificatif de domicile",
                    "Cette facture peut servir de justificatif de domicile pendant trois mois.",
                ),
            ),
        )
    )
    return Piece("DOMICILE", "Justificatif de domicile", f"domicile-{plate}.pdf", bill)


def _day(index: int) -> str:
    return _DAYS[min(index // 3, len(_DAYS) - 1)]


def _vin(index: int) -> str:
    return f"VFZMNTR26K{1_000_417 + 1_913 * index:07d}"


def _french(day: str) -> str:
    year, month, number = day.split("-")
    return f"{number}/{month}/{year}"
