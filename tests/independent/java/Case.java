import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.List;

/**
 * One question to a verifier, read from a line of standard input with tabs between its fields:
 * name, kind, moment (seconds since 1970), trust directory, subject, then the data files.
 *
 * <p>kind "record": the subject is an evidence record over the group of the data files; "seal": a detached CMS over the
 * one data file; "dated seal": the same, the data files being an evidence record and what is sealed; "token": a time-stamp
 * token over the one data file. A trust directory holds roots (*.pem), revocation lists (*.crl) and OCSP responses
 * (*.ocsp) in DER. The answer is one line: name, PASSED or FAILED, reasons.
 */
final class Case {
    final String name;
    final String kind;
    final Date moment;
    final Path trust;
    final Path subject;
    final List<Path> data;

    private Case(String[] fields) {
        name = fields[0];
        kind = fields[1];
        moment = Date.from(Instant.ofEpochSecond(Long.parseLong(fields[2])));
        trust = Paths.get(fields[3]);
        subject = Paths.get(fields[4]);
        data = new ArrayList<>();
        for (String each : Arrays.copyOfRange(fields, 5, fields.length)) {
            data.add(Paths.get(each));
        }
    }

    List<X509Certificate> roots() throws IOException, CertificateException {
        List<X509Certificate> found = new ArrayList<>();
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        for (Path path : list(trust, "*.pem")) {
            try (InputStream in = Files.newInputStream(path)) {
                found.add((X509Certificate) factory.generateCertificate(in));
            }
        }
        return found;
    }

    static List<Path> list(Path directory, String pattern) throws IOException {
        List<Path> found = new ArrayList<>();
        try (DirectoryStream<Path> stream = Files.newDirectoryStream(directory, pattern)) {
            stream.forEach(found::add);
        }
        return found;
    }

    /** A verifier: gives the reasons for which it refuses, none when it accepts; an exception is a refusal too. */
    interface Judge {
        List<String> refusals(Case question) throws Exception;
    }

    /** Reads questions until the end of standard input and answers each on standard output. */
    static void answer(Judge judge) throws IOException {
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        // What a library writes on standard output is not an answer.
        System.setOut(System.err);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Case question = new Case(line.split("\t"));
            List<String> refusals;
            try {
                refusals = judge.refusals(question);
            } catch (Exception error) {
                refusals = new ArrayList<>();
                refusals.add(error.getClass().getSimpleName() + ": " + error.getMessage());
            }
            String said = String.join("; ", refusals).replaceAll("\\s+", " ");
            out.println(question.name + "\t" + (refusals.isEmpty() ? "PASSED" : "FAILED") + "\t" + said);
        }
    }
}
