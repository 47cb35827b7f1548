import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.TreeSet;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.PDFAValidator;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;

/** Asks veraPDF whether files are PDF/A of a flavour. In: lines "name TAB flavour TAB path"; out: "name TAB verdict TAB rules". */
public final class VeraPdfJudge {
    public static void main(String[] arguments) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.split("\t");
            System.out.println(parts[0] + "\t" + judged(PDFAFlavour.byFlavourId(parts[1]), new File(parts[2])));
            System.out.flush();
        }
    }

    private static String judged(PDFAFlavour flavour, File file) {
        try (PDFAParser parser = Foundries.defaultInstance().createParser(new FileInputStream(file), flavour);
                PDFAValidator validator = Foundries.defaultInstance().createValidator(flavour, false)) {
            ValidationResult result = validator.validate(parser);
            TreeSet<String> rules = new TreeSet<>();
            for (TestAssertion each : result.getTestAssertions()) {
                if (each.getStatus() == TestAssertion.Status.FAILED) {
                    rules.add(each.getRuleId().getClause() + "-" + each.getRuleId().getTestNumber());
                }
            }
            return (result.isCompliant() ? "PASSED" : "FAILED") + "\t" + String.join(" ", rules);
        } catch (Exception error) {
            return "FAILED\t" + error.getClass().getSimpleName();
        }
    }
}
