package peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Kafka Streams: a store of each key's events with its changelog, a repartition topic, exactly once (v2). */
public final class StreamsProgram {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<byte[]> BYTES = Serdes.ByteArray();

    private static String set(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    /** What both stages do: the history of a key, before and after an event. */
    private abstract static class Stage implements Processor<String, byte[], String, byte[]> {
        private final String name;
        protected ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> store;

        Stage(String name) {
            this.name = name;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            store = context.getStateStore(name);
        }

        protected byte[] before(String key, Payment payment) {
            byte[] history = store.get(key);
            store.put(key, History.with(history, payment));
            return history;
        }
    }

    private static final class Customers extends Stage {
        Customers() {
            super("customers");
        }

        @Override
        public void process(Record<String, byte[]> record) {
            var at = context.recordMetadata().orElseThrow();
            Payment payment = Payment.parse(record.value(), at.topic() + "-" + at.partition() + "-" + at.offset());
            History.customer(before(payment.customer, payment), payment);
            context.forward(new Record<>(payment.terminal, packed(payment), record.timestamp()));
        }
    }

    private static final class Terminals extends Stage {
        private final Forest forest;

        Terminals(Forest forest) {
            super("terminals");
            this.forest = forest;
        }

        @Override
        public void process(Record<String, byte[]> record) {
            Payment payment = unpacked(record.value());
            History.terminal(before(record.key(), payment), payment);
            payment.derive();
            byte[] value = payment.prediction(forest.probability(payment.features));
            context.forward(new Record<>(payment.customer, value, record.timestamp()));
        }
    }

    private static byte[] packed(Payment payment) {
        byte[][] texts = {
            payment.id.getBytes(StandardCharsets.UTF_8),
            payment.transaction.getBytes(StandardCharsets.UTF_8),
            payment.customer.getBytes(StandardCharsets.UTF_8)
        };
        int size = 8 + 8 * Payment.BY_CUSTOMER;
        for (byte[] text : texts) size += 2 + text.length;
        ByteBuffer out = ByteBuffer.allocate(size);
        for (byte[] text : texts) out.putShort((short) text.length).put(text);
        out.putLong(payment.time);
        for (int i = 0; i < Payment.BY_CUSTOMER; i++) out.putDouble(payment.features[i]);
        return out.array();
    }

    private static Payment unpacked(byte[] value) {
        ByteBuffer in = ByteBuffer.wrap(value);
        Payment payment = new Payment();
        payment.id = text(in);
        payment.transaction = text(in);
        payment.customer = text(in);
        payment.time = in.getLong();
        for (int i = 0; i < Payment.BY_CUSTOMER; i++) payment.features[i] = in.getDouble();
        return payment;
    }

    private static String text(ByteBuffer in) {
        byte[] bytes = new byte[in.getShort()];
        in.get(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    public static void main(String[] arguments) throws InterruptedException {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Forest forest = new Forest(System.getenv("PEER_MODEL"));
        boolean inMemory = set("PEER_STORE", "rocksdb").equals("memory");
        StreamsBuilder builder = new StreamsBuilder();
        for (String name : new String[] {"customers", "terminals"}) {
            var supplier = inMemory ? Stores.inMemoryKeyValueStore(name) : Stores.persistentKeyValueStore(name);
            var store = Stores.keyValueStoreBuilder(supplier, TEXT, BYTES);
            builder.addStateStore(store.withLoggingEnabled(Map.of()).withCachingEnabled());
        }
        builder.stream(System.getenv("PEER_SOURCE"), Consumed.with(TEXT, BYTES))
            .process(Customers::new, "customers")
            .repartition(Repartitioned.with(TEXT, BYTES).withName("by-terminal").withNumberOfPartitions(4))
            .process(() -> new Terminals(forest), "terminals")
            .to(System.getenv("PEER_TARGET"), Produced.with(TEXT, BYTES));
        Properties p = new Properties();
        p.put("application.id", System.getenv("PEER_SOURCE") + "-streams");
        p.put("bootstrap.servers", System.getenv("PEER_BOOTSTRAP"));
        p.put("state.dir", System.getenv("PEER_STATE"));
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("num.stream.threads", set("PEER_THREADS", "2"));
        p.put("commit.interval.ms", set("PEER_COMMIT", "100"));
        p.put("statestore.cache.max.bytes", String.valueOf(64 << 20));
        p.put("replication.factor", "1");
        p.put("consumer.auto.offset.reset", "earliest");
        p.put("consumer.fetch.max.wait.ms", "100");
        p.put("producer.compression.type", "lz4");
        p.put("producer.linger.ms", "5");
        p.put("producer.batch.size", "65536");
        KafkaStreams streams = new KafkaStreams(builder.build(), p);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            ended.countDown();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(5));
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
