import eu.europa.esig.dss.diagnostic.EvidenceRecordWrapper;
import eu.europa.esig.dss.diagnostic.TimestampWrapper;
import eu.europa.esig.dss.diagnostic.jaxb.XmlDigestMatcher;
import eu.europa.esig.dss.enumerations.Indication;
import eu.europa.esig.dss.evidencerecord.asn1.validation.ASN1EvidenceRecordValidator;
import eu.europa.esig.dss.jaxb.object.Message;
import eu.europa.esig.dss.model.DSSDocument;
import eu.europa.esig.dss.model.FileDocument;
import eu.europa.esig.dss.model.x509.CertificateToken;
import eu.europa.esig.dss.model.x509.revocation.crl.CRL;
import eu.europa.esig.dss.simplereport.SimpleReport;
import eu.europa.esig.dss.simplereport.jaxb.XmlTimestamp;
import eu.europa.esig.dss.spi.validation.CommonCertificateVerifier;
import eu.europa.esig.dss.spi.x509.CommonTrustedCertificateSource;
import eu.europa.esig.dss.spi.x509.revocation.RevocationToken;
import eu.europa.esig.dss.spi.x509.revocation.crl.ExternalResourcesCRLSource;
import eu.europa.esig.dss.spi.x509.revocation.ocsp.ExternalResourcesOCSPSource;
import eu.europa.esig.dss.validation.SignedDocumentValidator;
import eu.europa.esig.dss.validation.reports.Reports;
import eu.europa.esig.dss.validation.timestamp.DetachedTimestampValidator;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;

/**
 * EU DSS as a verifier of seals, tokens and evidence records, with its own default policy, offline: roots, revocation
 * lists and OCSP answers come from the trust directory, nothing is fetched.
 *
 * <p>An evidence record is accepted when DSS says PASSED for it and for each of its tokens, every reference was found and
 * is intact, and no hash of the first list is an orphan, that is, the group has no other member than the data files. A
 * data file that the record does not cover is a refusal too, although DSS leaves it out of its verdict.
 */
public final class DssJudge {
    private DssJudge() {
    }

    public static void main(String[] arguments) throws Exception {
        Case.answer(DssJudge::refusals);
    }

    private static List<String> refusals(Case question) throws Exception {
        DSSDocument subject = new FileDocument(question.subject.toFile());
        switch (question.kind) {
            case "record":
                return judgeRecord(question, new ASN1EvidenceRecordValidator(subject));
            case "seal":
                return judgeSeal(question, SignedDocumentValidator.fromDocument(subject), documents(question.data));
            case "dated seal":
                return judgeDatedSeal(question, SignedDocumentValidator.fromDocument(subject));
            case "token":
                DetachedTimestampValidator validator = new DetachedTimestampValidator(subject);
                validator.setTimestampedData(new FileDocument(question.data.get(0).toFile()));
                Reports reports = validate(question, validator);
                String id = reports.getSimpleReport().getFirstTimestampId();
                return verdict("token", id, reports.getSimpleReport());
            default:
                throw new IllegalArgumentException("unknown kind " + question.kind);
        }
    }

    private static List<String> judgeSeal(Case question, SignedDocumentValidator validator, List<DSSDocument> contents)
            throws Exception {
        validator.setDetachedContents(contents);
        SimpleReport report = validate(question, validator).getSimpleReport();
        require(report.getSignaturesCount() == 1, report.getSignaturesCount() + " signatures");
        return verdict("seal " + report.getSignatureFormat(report.getFirstSignatureId()),
                report.getFirstSignatureId(), report);
    }

    /** A seal that an evidence record dates: the record is the first data file, the manifest and the others follow. */
    private static List<String> judgeDatedSeal(Case question, SignedDocumentValidator validator) throws Exception {
        validator.setDetachedEvidenceRecordDocuments(documents(question.data.subList(0, 1)));
        return judgeSeal(question, validator, documents(question.data.subList(1, question.data.size())));
    }

    private static List<String> judgeRecord(Case question, ASN1EvidenceRecordValidator validator) throws Exception {
        validator.setDetachedContents(documents(question.data));
        Reports reports = validate(question, validator);
        SimpleReport report = reports.getSimpleReport();
        String id = report.getFirstEvidenceRecordId();
        List<String> found = verdict("record", id, report);
        EvidenceRecordWrapper record = reports.getDiagnosticData().getEvidenceRecordById(id);
        if (!record.isStructuralValidationValid()) {
            found.add("structure: " + record.getStructuralValidationMessages());
        }
        int covered = references("record", record.getDigestMatchers(), found);
        if (covered != question.data.size()) {
            found.add(covered + " of " + question.data.size() + " files are covered");
        }
        for (XmlTimestamp token : report.getEvidenceRecordTimestamps(id)) {
            found.addAll(verdict("token", token.getId(), report));
            TimestampWrapper details = reports.getDiagnosticData().getTimestampById(token.getId());
            references("token", details.getDigestMatchers(), found);
        }
        return found;
    }

    /** Gives how many references are whole, and adds the others to the refusals. */
    private static int references(String what, List<XmlDigestMatcher> matchers, List<String> found) {
        int whole = 0;
        for (XmlDigestMatcher matcher : matchers) {
            if (matcher.isDataFound() && matcher.isDataIntact()) {
                whole++;
            } else {
                found.add(what + " " + matcher.getType() + " found=" + matcher.isDataFound() + " intact="
                        + matcher.isDataIntact());
            }
        }
        return whole;
    }

    private static List<String> verdict(String what, String id, SimpleReport report) {
        List<String> found = new ArrayList<>();
        Indication indication = report.getIndication(id);
        if (indication != Indication.PASSED && indication != Indication.TOTAL_PASSED) {
            found.add(what + " " + indication + " " + report.getSubIndication(id));
            for (Message message : report.getAdESValidationErrors(id)) {
                found.add(message.getKey() + " " + message.getValue());
            }
        }
        return found;
    }

    private static Reports validate(Case question, SignedDocumentValidator validator) throws Exception {
        CommonTrustedCertificateSource anchors = new CommonTrustedCertificateSource();
        for (X509Certificate root : question.roots()) {
            anchors.addCertificate(new CertificateToken(root));
        }
        CommonCertificateVerifier verifier = new CommonCertificateVerifier();
        verifier.setTrustedCertSources(anchors);
        verifier.setAIASource(null);
        List<DSSDocument> lists = documents(Case.list(question.trust, "*.crl"));
        verifier.setCrlSource(new ArchivedLists(lists.toArray(new DSSDocument[0])));
        List<DSSDocument> answers = documents(Case.list(question.trust, "*.ocsp"));
        verifier.setOcspSource(new ExternalResourcesOCSPSource(answers.toArray(new DSSDocument[0])));
        validator.setCertificateVerifier(verifier);
        validator.setValidationTime(question.moment);
        return validator.validateDocument();
    }

    /**
     * The archived revocation lists. DSS takes the newest list that an outside source gives for a certificate, and calls
     * it unusable when it was issued after the certificate's end: so only lists from within its life are given.
     */
    private static final class ArchivedLists extends ExternalResourcesCRLSource {
        private static final long serialVersionUID = 1L;

        private ArchivedLists(DSSDocument... lists) {
            super(lists);
        }

        @Override
        public List<RevocationToken<CRL>> getRevocationTokens(CertificateToken certificate, CertificateToken issuer) {
            List<RevocationToken<CRL>> found = new ArrayList<>(super.getRevocationTokens(certificate, issuer));
            found.removeIf(list -> list.getThisUpdate().after(certificate.getNotAfter()));
            return found;
        }
    }

    private static List<DSSDocument> documents(List<Path> paths) {
        List<DSSDocument> found = new ArrayList<>();
        for (Path path : paths) {
            found.add(new FileDocument(path.toFile()));
        }
        return found;
    }

    private static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalArgumentException(otherwise);
        }
    }
}
