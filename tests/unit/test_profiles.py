# ruff: noqa: E501 - each sentence stands whole, as its reader sees it
"""Profiles: every rule passes and refuses, in its own French words; every missing piece is named, and no other."""

from datetime import date
from pathlib import Path

import pytest

from tasks.bordereau import read_batch
from tasks.dossiers import judge
from tasks.feed_profiles import load_profile, luhn, months_before, piece_code, profile_of
from tasks.samples.profiles import labelled_dossiers, with_luhn

TODAY = date(2026, 11, 26)
SIV = {
    "ref_depot": "DEP-1", "no_ligne": "1", "siret": with_luhn("8000000000001"), "vin": "VF1AAAAA1BBBBBBBB",
    "immatriculation": "AB-123-CD", "type_operation": "VO", "date_operation": "2026-11-20", "titulaire_type": "P",
    "type_piece": "MANDAT",
}  # fmt: skip
PLANNING = {
    "no_dossier": "PC 075 056 26 00042", "type": "PC", "insee": "75056", "date_depot": "2026-11-20",
    "piece_code": "PC2", "piece_nature": "initiale", "piece_version": "1",
}  # fmt: skip
# Of each rule: the profile, what passes, what does not, and the exact sentence.
RULES = {
    "SIV-01": ({"ref_depot": "G-1"}, {"ref_depot": "=1"}, "La référence de dépôt est obligatoire : lettres, chiffres, espace, point, tiret ou barre, 81 caractères au plus."),
    "SIV-02": ({"no_ligne": "12"}, {"no_ligne": "0"}, "Le numéro de ligne est un nombre entier à partir de 1."),
    "SIV-03": ({"siret": "35600000049837"}, {"siret": "123"}, "Le SIRET a 14 chiffres et sa clé de contrôle doit être juste."),
    "SIV-04": ({"vin": "VF3BBBBB2CCCCCCCC"}, {"vin": "VF3OOOOO2CCCCCCCC"}, "Le numéro d’identification du véhicule (VIN) a 17 caractères au plus, chiffres et majuscules, sans I, O ni Q."),
    "SIV-05": ({"vin": "VF3BBBBB2CCCCCCCC"}, {"vin": "12345"}, "Un VIN de moins de 17 caractères n’existe que pour un véhicule immatriculé avant 1981."),
    "SIV-06": ({"immatriculation": "1234 AB 75"}, {"immatriculation": "SS-123-AB"}, "L’immatriculation doit être au format AA-123-AA, à l’ancien format (1234 AB 75) ou provisoire (WW-123-AA)."),
    "SIV-07": ({"no_formule": "2016AB12345"}, {"no_formule": "A1"}, "Le numéro de formule a deux ou quatre chiffres, deux lettres puis cinq chiffres."),
    "SIV-08": ({"type_operation": "ADR"}, {"type_operation": "XX"}, "Le type d’opération doit être VN, VO, DA, DC, DUP, ADR, WW ou AUTRE."),
    "SIV-09": ({"date_operation": "2026-02-28"}, {"date_operation": "28/02/2026"}, "La date d’opération s’écrit AAAA-MM-JJ."),
    "SIV-10": ({"date_operation": "2026-11-26"}, {"date_operation": "2026-11-27"}, "La date d’opération est dans le futur."),
    "SIV-11": ({"date_operation": "2021-11-26"}, {"date_operation": "2021-11-25"}, "L’opération date de plus de cinq ans : le dossier n’a peut-être plus à être conservé."),
    "SIV-12": ({"titulaire_type": "M"}, {"titulaire_type": "X"}, "Le type de titulaire est P (personne physique) ou M (personne morale)."),
    "SIV-13": ({"siren": with_luhn("12345678")}, {"siren": "123456789"}, "Le SIREN a 9 chiffres et sa clé de contrôle doit être juste."),
    "SIV-14": ({"type_piece": "KBIS"}, {"type_piece": "PHOTO"}, "Le type de pièce n’est pas de la liste : CERFA_DEMANDE, MANDAT, IDENTITE, DOMICILE, CI_BARRE… (voir la documentation)."),
    "SIV-15": ({"date_piece": "2026-11-01"}, {"date_piece": "hier"}, "La date de la pièce s’écrit AAAA-MM-JJ."),
    "SIV-16": ({"type_piece": "DOMICILE", "date_piece": "2026-05-20"}, {"type_piece": "DOMICILE", "date_piece": "2026-05-19"}, "Le justificatif de domicile a plus de six mois à la date de l’opération."),
    "SIV-17": ({"type_piece": "CT", "date_piece": "2026-06-01"}, {"type_piece": "CT", "date_piece": "2026-01-01"}, "Le contrôle technique a plus de six mois à la date de l’opération."),
    "SIV-18": ({"type_piece": "CERFA_DEMANDE", "cerfa": "13750*07"}, {"type_piece": "CERFA_DEMANDE", "cerfa": "13757*03"}, "La demande d’immatriculation est un Cerfa 13750, ou 13749 pour un véhicule neuf."),
    "SIV-19": ({"type_piece": "MANDAT", "cerfa": "13757"}, {"type_piece": "MANDAT", "cerfa": "13750"}, "Le mandat est un Cerfa 13757."),
    "SIV-20": ({"type_piece": "CERFA_CESSION", "cerfa": "15776*02"}, {"type_piece": "CERFA_CESSION", "cerfa": "13750"}, "La déclaration de cession est un Cerfa 15776 (13754 autrefois)."),
    "SIV-21": ({"type_piece": "CERFA_ACHAT", "cerfa": "13751*02"}, {"type_piece": "CERFA_ACHAT", "cerfa": "13750"}, "La déclaration d’achat par un professionnel est un Cerfa 13751."),
    "URB-01": ({"no_dossier": "PC07505626A0042M01"}, {"no_dossier": "PC-42"}, "Le numéro de dossier a ses lettres (PC, DP, PA, PD, CU), puis département, commune, année et cinq caractères : PC 075 056 26 00042."),
    "URB-02": ({"type": "CUb"}, {"type": "XX"}, "Le type doit être PC, PCMI, DP, PA, PD, CUa ou CUb."),
    "URB-03": ({"no_dossier": "PC 02A 004 26 00042", "insee": "2A004"}, {"insee": "7505"}, "Le code INSEE de la commune a cinq caractères : 75056, 2A004."),
    "URB-04": ({"no_dossier": "DP 974 411 26 00042", "insee": "97411"}, {"insee": "75057"}, "Le code INSEE n’est pas celui de la commune que dit le numéro de dossier."),
    "URB-05": ({"date_depot": "2026-01-31"}, {"date_depot": "20260131"}, "La date de dépôt s’écrit AAAA-MM-JJ."),
    "URB-06": ({"date_depot": "2026-11-26"}, {"date_depot": "2027-01-01"}, "La date de dépôt est dans le futur."),
    "URB-07": ({"piece_code": "PCMI02a"}, {"piece_code": "2"}, "Le code de pièce a de 2 à 20 lettres et chiffres : PCMI2, DP1, CERFA."),
    "URB-08": ({"piece_code": "pcmi01"}, {"piece_code": "PCMI99"}, "Ce code de pièce n’est pas connu : la pièce est archivée, mais ne compte pour aucune pièce attendue."),
    "URB-09": ({"piece_nature": "complémentaire"}, {"piece_nature": "autre"}, "La nature de la pièce est initiale, complémentaire ou modificative."),
    "URB-10": ({"piece_version": "2"}, {"piece_version": "v2"}, "La version de la pièce est un nombre entier à partir de 1."),
    "URB-11": ({"date_production": "2026-11-01"}, {"date_production": "1/11/2026"}, "La date de production s’écrit AAAA-MM-JJ."),
    "URB-12": ({"decision": "accord"}, {"decision": "peut-être"}, "La décision n’est pas de la liste : accord, refus, rejet, retrait, abandon, tacite, sursis."),
    "URB-13": ({"date_decision": "2026-11-01"}, {"date_decision": "bientôt"}, "La date de décision s’écrit AAAA-MM-JJ."),
    "URB-14": ({"sha512_platau": "a" * 128}, {"sha512_platau": "a" * 127}, "L’empreinte SHA-512 de PLAT’AU a 128 chiffres hexadécimaux."),
    "URB-15": ({"piece_code": "CERFA", "cerfa": "13406*16"}, {"piece_code": "CERFA", "cerfa": "13750"}, "Le formulaire est un Cerfa 13406, 13409, 13404, 13703, 13405 ou 13410."),
}  # fmt: skip


def setting(code):
    return (load_profile("siv"), SIV) if code.startswith("SIV") else (load_profile("planning"), PLANNING)


def test_every_rule_of_both_profiles_is_in_the_table():
    known = {rule.code: rule for name in ("siv", "planning") for rule in load_profile(name).rules}
    assert set(known) == set(RULES)
    assert all(rule.en and rule.en != rule.fr for rule in known.values())


@pytest.mark.parametrize("code", RULES)
def test_a_rule_passes_and_refuses_in_its_own_words(code):
    profile, whole = setting(code)
    good, bad, sentence = RULES[code]
    assert code not in {rule.code for rule in profile.broken_rules(whole | good, TODAY)}
    (broken,) = [rule for rule in profile.broken_rules(whole | bad, TODAY) if rule.code == code]
    assert broken.fr == sentence


@pytest.mark.parametrize("name", ["siv", "planning"])
def test_a_whole_line_breaks_no_rule_and_an_absent_field_only_its_own(name):
    profile, whole = setting({"siv": "SIV", "planning": "URB"}[name])
    assert profile.broken_rules(whole, TODAY) == []
    for column in set(whole) & set(profile.columns):
        broken = profile.broken_rules({key: value for key, value in whole.items() if key != column}, TODAY)
        assert broken, column
        assert {rule.field for rule in broken} == {column}


@pytest.mark.parametrize("name", ["siv", "planning"])
def test_missing_pieces_are_found_all_and_no_other(name):
    profile, found = load_profile(name), list(labelled_dossiers(name, 20))
    assert len(found) >= 140
    assert {each.operation for each in found} == set(profile.operations)
    assert sum(not each.missing for each in found) >= 30
    assert sum(bool(each.missing) for each in found) >= 60
    for each in found:
        assert all(rule.level == "warn" for row in each.rows for rule in profile.broken_rules(row, TODAY)), each
        pieces = [
            (row[profile.piece], any(rule.expired for rule in profile.broken_rules(row, TODAY))) for row in each.rows
        ]
        dossier = judge(profile, "feed", each.number, each.operation, pieces)
        assert (dossier.missing, dossier.expired) == (each.missing, each.expired)
        assert dossier.complete == (not each.missing)


def test_a_dossier_says_what_is_missing_in_a_sentence():
    profile = load_profile("siv")
    pieces = [("CERFA_DEMANDE", False), ("IDENTITE", False), ("DOMICILE", True), ("CT", False)]
    dossier = judge(profile, "garage", "D-1", "VO", pieces)
    assert dossier.words(profile) == (
        "3 pièces sur 8 ; il manque : mandat (Cerfa 13757), justificatif de domicile de moins de six mois ou extrait"
        " Kbis, ancienne carte grise barrée, déclaration de cession (Cerfa 15776) ou facture d’achat, attestation"
        " d’assurance ; périmé : DOMICILE"
    )
    assert dossier.words(profile, "en").startswith("3 of 8, missing: mandat (Cerfa 13757), ")
    whole = judge(
        profile, "garage", "D-2", "DA", [(code, False) for code in ("CERFA_ACHAT", "CERFA_CESSION", "CI_BARRE")]
    )
    assert (whole.complete, whole.words(profile)) == (True, "3 pièces sur 3 : complet")


def test_a_newer_piece_makes_up_for_one_too_old():
    profile = load_profile("siv")
    dossier = judge(profile, "garage", "D-1", "ADR", [("DOMICILE", True), ("DOMICILE", False)])
    assert ("DOMICILE", "KBIS") not in dossier.missing
    assert dossier.expired == ()


@pytest.mark.parametrize(
    ("text", "code"), [("PCMI02a", "PCMI2"), ("pcmi1", "PCMI1"), ("CERFA_DEMANDE", "CERFA_DEMANDE"), ("DP10", "DP10")]
)
def test_codes_have_one_spelling(text, code):
    assert piece_code(text) == code


def test_small_helpers():
    assert luhn("732829320")
    assert not luhn("732829321")
    assert months_before(date(2026, 8, 31), 6) == date(2026, 2, 28)
    assert months_before(date(2026, 1, 15), 6) == date(2025, 7, 15)
    assert profile_of(("dossier", "reference")) is None


def manifest(folder, name, rows):
    profile = load_profile(name)
    (folder / "a.pdf").write_bytes(b"%PDF-1.7 a\n")
    header = [*profile.columns, *sorted({key for row in rows for key in row} - set(profile.columns))]
    files = {"fichier": "a.pdf", "taille": "11", "sha256": "0" * 64}
    lines = [";".join(header), *(";".join((files | row).get(column, "") for column in header) for row in rows)]
    (folder / "bordereau.csv").write_text("\n".join(lines), encoding="utf-8")
    return read_batch(folder, TODAY)


def test_a_manifest_of_registration_files_is_known_by_its_columns(tmp_path):
    bad = SIV | {"no_ligne": "2", "vin": "I", "siret": "1"}
    old = SIV | {"no_ligne": "3", "type_piece": "DOMICILE", "date_piece": "2020-01-01"}
    batch = manifest(tmp_path, "siv", [SIV | {"titulaire_nom": "Dupont"}, bad, old])
    assert batch.profile == "siv"
    first, second, third = batch.lines
    assert (first.row.dossier, first.row.reference, first.row.piece) == ("DEP-1", "DEP-1/1", "MANDAT")
    assert (first.row.lifecycle_class, first.row.titre) == ("siv", "mandat (Cerfa 13757)")
    assert first.row.attributes["titulaire_nom"] == "Dupont"
    assert first.findings == ()
    assert second.row is None
    assert second.reference == "DEP-1/2"
    assert second.refusal.message_fr == (
        "Ligne 3, champ siret, règle SIV-03 : Le SIRET a 14 chiffres et sa clé de contrôle doit être juste."
    )
    assert [each.rule for each in second.findings] == ["SIV-03", "SIV-04", "SIV-05"]
    assert third.row.attributes["expired"] == "yes"


def test_a_manifest_of_planning_files_gives_each_its_class(tmp_path):
    certificate = PLANNING | {"no_dossier": "CU 075 056 26 00001", "type": "CUa", "piece_code": "CU1"}
    batch = manifest(tmp_path, "planning", [PLANNING, certificate])
    assert [line.row.lifecycle_class for line in batch.lines] == ["planning-sort", "planning-destroy"]
    assert batch.lines[0].row.reference == "PC 075 056 26 00042/PC2/1"


def test_a_rule_names_no_value(tmp_path):
    batch = manifest(tmp_path, "siv", [SIV | {"vin": "DUPONTJEANIOQ", "titulaire_nom": "Dupont"}])
    told = f"{batch.lines[0].refusal} {batch.lines[0].findings}"
    assert "DUPONT" not in told.upper()


def test_a_line_with_another_number_of_fields_is_refused_alone(tmp_path):
    manifest(tmp_path, "siv", [SIV, SIV | {"no_ligne": "2"}])
    path = tmp_path / "bordereau.csv"
    path.write_text(path.read_text() + "\nshort;line\n")
    batch = read_batch(tmp_path, TODAY)
    assert [line.row is not None for line in batch.lines] == [True, True, False]


@pytest.mark.parametrize("name", ["siv", "planning"])
def test_the_page_on_feeds_has_the_columns_rules_and_pieces_of_each_profile(name):
    page = (Path(__file__).parents[2] / "docs" / "feeds.md").read_text(encoding="utf-8")
    section = page.partition(f"<!-- {name} -->\n")[2].partition("<!-- end -->")[0].splitlines()
    profile = load_profile(name)
    for rule in profile.rules:
        assert f"| {rule.code} | `{rule.field}` | {rule.level} | {rule.fr} |" in section
    for each in profile.operations.values():
        pieces = ", ".join(" or ".join(group) for group in each.pieces)
        assert f"| {each.code} | {each.title} | {pieces} |" in section
    assert all(f"`{column}`" in page for column in (*profile.columns, *profile.optional))
