"""The schemas of SEDA that judge what leaves: as published up to 2.2, raised to 2.3 by the changes that 2.3 lists.

No package index brings those of 2.3. Their notes of version name three changes, and the schemas themselves show no
other in what was compared (main, technical, types, ontology, of June 2024): a signature is described by
`SigningInformation` where it was `Signature`, units and data objects may have `PersistentIdentifier`, and data objects
`DataObjectUse` and `DataObjectNumber`. `MINUTIER_TEST_SEDA_XSD` names the published seda-2.3-main.xsd where there is
one.
"""

import os
from pathlib import Path

import pytest
from lxml import etree

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minutier"
_PUBLISHED = CACHE / "seda-2.4.1" / "cubicweb_seda" / "xsd"
_XSD = "{http://www.w3.org/2001/XMLSchema}"
_NEW = """
<xsd:schema xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <xsd:group name="PersistentIdentifierGroup"><xsd:sequence>
    <xsd:element name="PersistentIdentifier" type="PersistentIdType" minOccurs="0" maxOccurs="unbounded"/>
  </xsd:sequence></xsd:group>
  <xsd:complexType name="PersistentIdType"><xsd:sequence>
    <xsd:element name="PersistentIdentifierType" type="NonEmptyTokenType"/>
    <xsd:element name="PersistentIdentifierOrigin" type="NonEmptyTokenType" minOccurs="0"/>
    <xsd:element name="PersistentIdentifierReference" type="NonEmptyTokenType" minOccurs="0"/>
    <xsd:element name="PersistentIdentifierContent" type="NonEmptyTokenType"/>
  </xsd:sequence></xsd:complexType>
  <xsd:group name="SigningInformationGroup"><xsd:sequence>
    <xsd:element name="SigningInformation" type="SigningInformationType" minOccurs="0"/>
  </xsd:sequence></xsd:group>
  <xsd:complexType name="SigningInformationType"><xsd:sequence>
    <xsd:element name="SigningRole" type="SigningRoleType" maxOccurs="unbounded"/>
    <xsd:element name="DetachedSigningRole" type="DetachedSigningRoleType" minOccurs="0" maxOccurs="unbounded"/>
    <xsd:element name="SignedDocumentReferenceId" type="xsd:IDREF" minOccurs="0" maxOccurs="unbounded"/>
    <xsd:element name="SignatureDescription" type="SignatureDescriptionType" minOccurs="0" maxOccurs="unbounded"/>
    <xsd:element name="TimestampingInformation" type="TimestampingInformationType" minOccurs="0"
      maxOccurs="unbounded"/>
    <xsd:element name="AdditionalProof" type="AdditionalProofType" minOccurs="0" maxOccurs="unbounded"/>
    <xsd:element name="Extended" type="OpenType" minOccurs="0"/>
  </xsd:sequence></xsd:complexType>
  <xsd:simpleType name="SigningRoleType"><xsd:restriction base="xsd:token">
    <xsd:enumeration value="SignedDocument"/><xsd:enumeration value="Timestamp"/>
    <xsd:enumeration value="Signature"/><xsd:enumeration value="AdditionalProof"/>
  </xsd:restriction></xsd:simpleType>
  <xsd:simpleType name="DetachedSigningRoleType"><xsd:restriction base="xsd:token">
    <xsd:enumeration value="Timestamp"/><xsd:enumeration value="Signature"/>
    <xsd:enumeration value="AdditionalProof"/>
  </xsd:restriction></xsd:simpleType>
  <xsd:complexType name="SignatureDescriptionType"><xsd:sequence>
    <xsd:element name="Signer" type="SignerType" minOccurs="0"/>
    <xsd:element name="Validator" type="ValidatorType" minOccurs="0"/>
    <xsd:element name="SigningType" type="NonEmptyTokenType" minOccurs="0"/>
  </xsd:sequence></xsd:complexType>
  <xsd:complexType name="TimestampingInformationType"><xsd:sequence>
    <xsd:element name="TimeStamp" type="xsd:dateTime" minOccurs="0"/>
    <xsd:element name="AdditionalTimestampingInformation" type="NonEmptyTokenType" minOccurs="0"/>
  </xsd:sequence></xsd:complexType>
  <xsd:complexType name="AdditionalProofType"><xsd:sequence>
    <xsd:element name="AdditionalProofInformation" type="NonEmptyTokenType" minOccurs="0" maxOccurs="unbounded"/>
  </xsd:sequence></xsd:complexType>
  <xsd:group name="DataObject"><xsd:sequence>
    <xsd:group ref="PersistentIdentifierGroup" minOccurs="0"/>
    <xsd:element name="DataObjectUse" type="NonEmptyTokenType" minOccurs="0"/>
    <xsd:element name="DataObjectNumber" type="xsd:int" minOccurs="0"/>
  </xsd:sequence></xsd:group>
  <xsd:group name="Unit"><xsd:sequence><xsd:group ref="PersistentIdentifierGroup"/></xsd:sequence></xsd:group>
</xsd:schema>
"""


def schema(version: str, folder: Path) -> etree.XMLSchema:
    """Give the schema of a version, 2.1 to 2.3; what is made for it is put in `folder`."""
    if version == "2.3" and (named := os.environ.get("MINUTIER_TEST_SEDA_XSD")):
        return etree.XMLSchema(etree.parse(named))
    if not _PUBLISHED.is_dir():
        pytest.skip("the schemas of SEDA are not there: run infra/bootstrap.sh test")
    if version == "2.3":
        return etree.XMLSchema(etree.parse(_raise(folder)))
    return etree.XMLSchema(etree.parse(_PUBLISHED / f"seda-{version}-main.xsd"))


def _raise(folder: Path) -> Path:
    for path in _PUBLISHED.glob("*.xsd"):
        text = path.read_text("utf-8").replace("seda:v2.2", "seda:v2.3").replace("seda-2.2-", "seda-2.3-")
        (folder / path.name.replace("seda-2.2-", "seda-2.3-")).write_text(text, "utf-8")
    _change(folder / "seda-2.3-ontology-and-types.xsd", _change_units)
    _change(folder / "seda-2.3-technical.xsd", _change_data_objects)
    return folder / "seda-2.3-main.xsd"


def _change(path, change):
    tree = etree.parse(path)
    change(tree.getroot(), {each.get("name"): each for each in etree.fromstring(_NEW)})
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _change_units(root, new):
    for name in ("SignatureGroup", "SignatureType", "ReferencedObjectType"):
        root.remove(_named(root, name))
    group = _named(root, "BaseObjectGroup").find(f"{_XSD}sequence")
    group.find(f"{_XSD}group[@ref='SignatureGroup']").set("ref", "SigningInformationGroup")
    group.extend(new.pop("Unit")[0])
    del new["DataObject"]
    root.extend(new.values())


def _change_data_objects(root, new):
    _named(root, "MinimalDataObjectType").find(f"{_XSD}sequence").extend(new["DataObject"][0])


def _named(root, name):
    (found,) = [each for each in root if each.get("name") == name]
    return found
