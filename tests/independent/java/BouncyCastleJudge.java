import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.tsp.ArchiveTimeStamp;
import org.bouncycastle.asn1.tsp.ArchiveTimeStampChain;
import org.bouncycastle.asn1.tsp.ArchiveTimeStampSequence;
import org.bouncycastle.asn1.tsp.EvidenceRecord;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SignerInformationVerifier;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.DigestCalculatorProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.tsp.TimeStampToken;
import org.bouncycastle.tsp.ers.ERSArchiveTimeStamp;
import org.bouncycastle.tsp.ers.ERSByteData;
import org.bouncycastle.tsp.ers.ERSData;
import org.bouncycastle.tsp.ers.ERSDataGroup;
import org.bouncycastle.tsp.ers.ERSEvidenceRecord;
import org.bouncycastle.util.Selector;

/**
 * Bouncy Castle as a verifier of seals, tokens and evidence records.
 *
 * <p>Its ERSEvidenceRecord looks at the last chain only. To have each chain and each token judged, the record is also
 * given to it cut after every archive time-stamp. It does no path validation here: the issuer is one of the roots, by
 * signature and at the time of the token. Revocation is left to DSS.
 */
public final class BouncyCastleJudge {
    private static final BouncyCastleProvider PROVIDER = new BouncyCastleProvider();

    private BouncyCastleJudge() {
    }

    public static void main(String[] arguments) throws Exception {
        Case.answer(BouncyCastleJudge::refusals);
    }

    private static List<String> refusals(Case question) throws Exception {
        byte[] subject = Files.readAllBytes(question.subject);
        switch (question.kind) {
            case "record":
                checkRecord(question, subject);
                break;
            case "seal":
                checkSeal(question, subject);
                break;
            case "token":
                checkTokenOverData(question, subject);
                break;
            default:
                throw new IllegalArgumentException("unknown kind " + question.kind);
        }
        return new ArrayList<>();
    }

    private static void checkRecord(Case question, byte[] subject) throws Exception {
        DigestCalculatorProvider digests = new JcaDigestCalculatorProviderBuilder().setProvider(PROVIDER).build();
        EvidenceRecord record = EvidenceRecord.getInstance(subject);
        ERSData group = group(question.data);
        AlgorithmIdentifier[] algorithms = record.getDigestAlgorithms();
        ArchiveTimeStampChain[] chains = record.getArchiveTimeStampSequence().getArchiveTimeStampChains();
        for (int chain = 0; chain < chains.length; chain++) {
            ArchiveTimeStamp[] stamps = chains[chain].getArchiveTimestamps();
            for (int last = 0; last < stamps.length; last++) {
                ArchiveTimeStampChain[] cut = Arrays.copyOf(chains, chain + 1);
                cut[chain] = new ArchiveTimeStampChain(Arrays.copyOf(stamps, last + 1));
                EvidenceRecord part = new EvidenceRecord(algorithms, null, null, new ArchiveTimeStampSequence(cut));
                checkPart(question, new ERSEvidenceRecord(part, digests), stamps, last, group, digests);
            }
        }
        ERSEvidenceRecord whole = new ERSEvidenceRecord(subject, digests);
        whole.validatePresent(group, question.moment);
    }

    /** Judges the record that ends with stamps[last]; every token is no later than what follows it. */
    private static void checkPart(
            Case question, ERSEvidenceRecord part, ArchiveTimeStamp[] stamps, int last, ERSData group,
            DigestCalculatorProvider digests) throws Exception {
        ERSArchiveTimeStamp stamp = new ERSArchiveTimeStamp(stamps[last], digests);
        part.validatePresent(group, stamp.getGenTime());
        if (last > 0) {
            // RFC 4998 section 5.2: the content of the timeStamp field of the one before.
            byte[] previous = stamps[last - 1].getTimeStamp().getEncoded(ASN1Encoding.DER);
            stamp.validatePresent(new ERSByteData(previous), question.moment);
        }
        SignerInformationVerifier verifier = verifierFor(question, stamp.getTimeStampToken());
        if (last < 2) {
            // With more than one predecessor this call wants them all under the last token; RFC 4998 wants the last one.
            part.validate(verifier);
        }
        stamp.validate(verifier);
    }

    private static void checkSeal(Case question, byte[] subject) throws Exception {
        byte[] content = Files.readAllBytes(question.data.get(0));
        CMSSignedData signed = new CMSSignedData(new CMSProcessableByteArray(content), subject);
        Collection<SignerInformation> signers = signed.getSignerInfos().getSigners();
        require(signers.size() == 1, signers.size() + " signers");
        SignerInformation signer = signers.iterator().next();
        X509CertificateHolder certificate = matching(signed, signer);
        requireIssued(question, certificate);
        SignerInformationVerifier verifier =
                new JcaSimpleSignerInfoVerifierBuilder().setProvider(PROVIDER).build(certificate);
        require(signer.verify(verifier), "the signature does not verify");
    }

    private static void checkTokenOverData(Case question, byte[] subject) throws Exception {
        TimeStampToken token = new TimeStampToken(new CMSSignedData(subject));
        token.validate(verifierFor(question, token));
        DigestCalculator calculator = new JcaDigestCalculatorProviderBuilder().setProvider(PROVIDER).build()
                .get(token.getTimeStampInfo().getHashAlgorithm());
        calculator.getOutputStream().write(Files.readAllBytes(question.data.get(0)));
        byte[] imprint = token.getTimeStampInfo().getMessageImprintDigest();
        require(Arrays.equals(imprint, calculator.getDigest()), "the imprint is of other data");
    }

    private static SignerInformationVerifier verifierFor(Case question, TimeStampToken token) throws Exception {
        Collection<X509CertificateHolder> found = matching(token);
        require(found.size() == 1, found.size() + " certificates of the authority");
        X509CertificateHolder certificate = found.iterator().next();
        requireIssued(question, certificate);
        require(certificate.isValidOn(token.getTimeStampInfo().getGenTime()), "certificate not valid at genTime");
        return new JcaSimpleSignerInfoVerifierBuilder().setProvider(PROVIDER).build(certificate);
    }

    @SuppressWarnings("unchecked")
    private static Collection<X509CertificateHolder> matching(TimeStampToken token) {
        return token.getCertificates().getMatches((Selector<X509CertificateHolder>) (Selector<?>) token.getSID());
    }

    @SuppressWarnings("unchecked")
    private static X509CertificateHolder matching(CMSSignedData signed, SignerInformation signer) {
        Collection<X509CertificateHolder> found =
                signed.getCertificates().getMatches((Selector<X509CertificateHolder>) (Selector<?>) signer.getSID());
        require(found.size() == 1, found.size() + " certificates of the signer");
        return found.iterator().next();
    }

    private static void requireIssued(Case question, X509CertificateHolder certificate) throws Exception {
        for (X509Certificate root : question.roots()) {
            if (certificate.isSignatureValid(
                    new JcaContentVerifierProviderBuilder().setProvider(PROVIDER).build(root.getPublicKey()))) {
                return;
            }
        }
        throw new IllegalArgumentException("the certificate is not under a trusted root");
    }

    private static ERSData group(List<Path> files) throws Exception {
        List<ERSData> members = new ArrayList<>();
        for (Path file : files) {
            members.add(new ERSByteData(Files.readAllBytes(file)));
        }
        return new ERSDataGroup(members);
    }

    private static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalArgumentException(otherwise);
        }
    }
}
