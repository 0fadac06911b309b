package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;

/** A payment with its features, in the order of pipelines/fraud.toml; missing ones are NaN. */
public final class Payment {
    public static final int OWN = 6;
    public static final int BY_CUSTOMER = 13;
    public static final int ALL = 23;
    private static final JsonFactory JSON = new JsonFactory();
    private static final String VERSION = System.getenv().getOrDefault("PEER_VERSION", "");

    public String id;
    public String transaction;
    public String customer;
    public String terminal;
    /** Microseconds since 1970. */
    public long time;
    public double[] features = new double[ALL];

    public Payment() {}

    /** Reads a raw record; sets the features that it tells by itself. */
    public static Payment parse(byte[] value, String id) {
        Payment payment = new Payment();
        payment.id = id;
        double[] f = payment.features;
        f[0] = f[5] = Double.NaN;
        try (JsonParser parser = JSON.createParser(value)) {
            parser.nextToken();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                parser.nextToken();
                switch (name) {
                    case "transaction_id" -> payment.transaction = parser.getText();
                    case "customer_id" -> payment.customer = parser.getText();
                    case "terminal_id" -> payment.terminal = parser.getText();
                    case "amount" -> f[0] = parser.getDoubleValue();
                    case "channel" -> f[5] = channel(parser.getText());
                    case "time" -> payment.at(Instant.parse(parser.getText()));
                    default -> parser.skipChildren();
                }
            }
        } catch (IOException error) {
            throw new IllegalArgumentException(error);
        }
        f[1] = Math.log1p(f[0]);
        return payment;
    }

    private void at(Instant moment) {
        time = moment.getEpochSecond() * 1_000_000 + moment.getNano() / 1_000;
        OffsetDateTime when = moment.atOffset(ZoneOffset.UTC);
        features[2] = when.getHour() + when.getMinute() / 60.0;
        features[3] = when.getDayOfWeek().getValue();
        features[4] = when.getHour() < 6 ? 1 : 0;
    }

    private static double channel(String name) {
        return switch (name) {
            case "chip" -> 0;
            case "contactless" -> 1;
            case "online" -> 2;
            case "stripe" -> 3;
            default -> Double.NaN;
        };
    }

    /** Sets what compares the payment with its windows. */
    public void derive() {
        double[] f = features;
        f[19] = ratio(f[0], f[9]);
        f[20] = ratio(f[0], f[11]);
        f[21] = ratio(f[0], f[17]);
        f[22] = f[14] / (f[16] + 1);
    }

    private static double ratio(double a, double b) {
        return b == 0 ? Double.NaN : a / b;
    }

    /** The record that goes out, as Tidemark's. */
    public byte[] prediction(double probability) {
        double other = 1 - probability;
        StringBuilder json = new StringBuilder(256);
        json.append("{\"event_id\":\"").append(id).append("\",\"business_id\":\"").append(transaction);
        json.append("\",\"key\":\"").append(customer).append("\",\"time\":").append(time);
        json.append(",\"probabilities\":[").append(other).append(',').append(probability);
        json.append("],\"uncertainty\":").append(1 - Math.abs(probability - other));
        json.append(",\"model\":\"").append(VERSION).append("\",\"late\":false}");
        return json.toString().getBytes(StandardCharsets.UTF_8);
    }
}
