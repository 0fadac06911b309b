package peers;

import java.nio.ByteBuffer;

/** Earlier events of a key as bytes, 16 an event: its time (µs) and its amount, by time. */
public final class History {
    private static final int SIZE = 16;
    private static final long HOUR = 3_600_000_000L;
    private static final long DAY = 24 * HOUR;
    private static final long WEEK = 7 * DAY;
    private static final long KEPT = WEEK + 6 * HOUR;

    private int hour;
    private int day;
    private int week;
    private double ofDay;
    private double ofWeek;
    private double most = Double.NEGATIVE_INFINITY;
    private double squares;
    private double since = Double.NaN;

    /** The windows of a key as of a time. */
    private History(byte[] bytes, long time, boolean deviation) {
        if (bytes == null) return;
        ByteBuffer events = ByteBuffer.wrap(bytes);
        int newest = bytes.length / SIZE - 1;
        while (newest >= 0 && events.getLong(newest * SIZE) > time) newest--;
        int oldest = newest;
        for (; oldest >= 0; oldest--) {
            long age = time - events.getLong(oldest * SIZE);
            if (age >= WEEK) break;
            double amount = events.getDouble(oldest * SIZE + 8);
            if (week++ == 0) since = age / 1e6;
            ofWeek += amount;
            most = Math.max(most, amount);
            if (age >= DAY) continue;
            day++;
            ofDay += amount;
            if (age < HOUR) hour++;
        }
        if (!deviation || week < 2) return;
        double mean = ofWeek / week;
        for (int i = oldest + 1; i <= newest; i++) {
            double off = events.getDouble(i * SIZE + 8) - mean;
            squares += off * off;
        }
    }

    /** Sets the seven windows over the customer. */
    public static void customer(byte[] bytes, Payment payment) {
        History h = new History(bytes, payment.time, true);
        double[] f = payment.features;
        f[6] = h.hour;
        f[7] = h.day;
        f[8] = h.day > 0 ? h.ofDay / h.day : Double.NaN;
        f[9] = h.week > 0 ? h.ofWeek / h.week : Double.NaN;
        f[10] = h.week > 1 ? Math.sqrt(h.squares / (h.week - 1)) : Double.NaN;
        f[11] = h.week > 0 ? h.most : Double.NaN;
        f[12] = h.since;
    }

    /** Sets the six windows over the terminal. */
    public static void terminal(byte[] bytes, Payment payment) {
        History h = new History(bytes, payment.time, false);
        double[] f = payment.features;
        f[13] = h.hour;
        f[14] = h.day;
        f[15] = h.day > 0 ? h.ofDay / h.day : Double.NaN;
        f[16] = h.week;
        f[17] = h.week > 0 ? h.ofWeek / h.week : Double.NaN;
        f[18] = h.since;
    }

    /** The events with one more, without those that no window reaches any more. */
    public static byte[] with(byte[] bytes, Payment payment) {
        int count = bytes == null ? 0 : bytes.length / SIZE;
        byte[] before = bytes == null ? new byte[0] : bytes;
        ByteBuffer events = ByteBuffer.wrap(before);
        long newest = count == 0 ? payment.time : Math.max(payment.time, events.getLong((count - 1) * SIZE));
        int first = 0;
        while (first < count && events.getLong(first * SIZE) <= newest - KEPT) first++;
        int place = count;
        while (place > first && events.getLong((place - 1) * SIZE) > payment.time) place--;
        ByteBuffer after = ByteBuffer.allocate((count - first + 1) * SIZE);
        after.put(before, first * SIZE, (place - first) * SIZE);
        after.putLong(payment.time).putDouble(payment.features[0]);
        after.put(before, place * SIZE, (count - place) * SIZE);
        return after.array();
    }
}
