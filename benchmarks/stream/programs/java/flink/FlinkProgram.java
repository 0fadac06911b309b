package peers;

import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.SerializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.TransactionNamingStrategy;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/** Flink in one JVM: keyed state over two keys, events as they come, a transaction for each checkpoint. */
public final class FlinkProgram {
    private static final TypeInformation<byte[]> BYTES = PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
    private static final TypeInformation<Payment> PAYMENT = Types.POJO(Payment.class);

    private static String set(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    private static final class Reader implements KafkaRecordDeserializationSchema<Payment> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> r, Collector<Payment> out) {
            out.collect(Payment.parse(r.value(), r.topic() + "-" + r.partition() + "-" + r.offset()));
        }

        @Override
        public TypeInformation<Payment> getProducedType() {
            return PAYMENT;
        }
    }

    /** What both stages do: the history of a key, before and after an event. */
    private abstract static class Stage<T> extends KeyedProcessFunction<String, Payment, T> {
        private transient ValueState<byte[]> state;

        @Override
        public void open(OpenContext context) throws Exception {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("history", BYTES));
        }

        @Override
        public void processElement(Payment payment, Context context, Collector<T> out) throws Exception {
            byte[] before = state.value();
            state.update(History.with(before, payment));
            handle(payment, before, out);
        }

        abstract void handle(Payment payment, byte[] before, Collector<T> out);
    }

    private static final class Customers extends Stage<Payment> {
        @Override
        void handle(Payment payment, byte[] before, Collector<Payment> out) {
            History.customer(before, payment);
            out.collect(payment);
        }
    }

    private static final class Terminals extends Stage<Tuple2<byte[], byte[]>> {
        private final String model;
        private transient Forest forest;

        Terminals(String model) {
            this.model = model;
        }

        @Override
        public void open(OpenContext context) throws Exception {
            super.open(context);
            forest = new Forest(model);
        }

        @Override
        void handle(Payment payment, byte[] before, Collector<Tuple2<byte[], byte[]>> out) {
            History.terminal(before, payment);
            payment.derive();
            byte[] value = payment.prediction(forest.probability(payment.features));
            out.collect(Tuple2.of(payment.customer.getBytes(StandardCharsets.UTF_8), value));
        }
    }

    private static final class Part implements SerializationSchema<Tuple2<byte[], byte[]>> {
        private final boolean key;

        Part(boolean key) {
            this.key = key;
        }

        @Override
        public byte[] serialize(Tuple2<byte[], byte[]> record) {
            return key ? record.f0 : record.f1;
        }
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        Configuration c = new Configuration();
        c.setString("execution.checkpointing.interval", set("PEER_COMMIT", "1000") + "ms");
        c.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        c.setString("execution.checkpointing.dir", "file://" + System.getenv("PEER_STATE"));
        c.setString("state.backend.type", "hashmap");
        c.setString("pipeline.object-reuse", "true");
        c.setString("pipeline.auto-watermark-interval", "20ms");
        c.setString("taskmanager.memory.network.min", "128mb");
        c.setString("taskmanager.memory.network.max", "128mb");
        c.setString("taskmanager.memory.managed.size", "256mb");
        c.setString("rest.port", "0");
        int parallelism = Integer.parseInt(set("PEER_PARALLELISM", "2"));
        StreamExecutionEnvironment flow = StreamExecutionEnvironment.createLocalEnvironment(parallelism, c);
        String bootstrap = System.getenv("PEER_BOOTSTRAP");
        String group = System.getenv("PEER_SOURCE") + "-flink";
        KafkaSource<Payment> source = KafkaSource.<Payment>builder()
            .setBootstrapServers(bootstrap)
            .setTopics(System.getenv("PEER_SOURCE"))
            .setGroupId(group)
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setProperty("isolation.level", "read_committed")
            .setProperty("fetch.max.wait.ms", "100")
            .setProperty("max.poll.records", "2000")
            .setDeserializer(new Reader())
            .build();
        Properties p = new Properties();
        p.put("transaction.timeout.ms", "60000");
        p.put("compression.type", "lz4");
        p.put("linger.ms", "5");
        p.put("batch.size", "65536");
        KafkaSink<Tuple2<byte[], byte[]>> sink = KafkaSink.<Tuple2<byte[], byte[]>>builder()
            .setBootstrapServers(bootstrap)
            .setKafkaProducerConfig(p)
            .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
            .setTransactionalIdPrefix(group)
            .setTransactionNamingStrategy(TransactionNamingStrategy.POOLING)
            .setRecordSerializer(KafkaRecordSerializationSchema.<Tuple2<byte[], byte[]>>builder()
                .setTopic(System.getenv("PEER_TARGET"))
                .setKeySerializationSchema(new Part(true))
                .setValueSerializationSchema(new Part(false))
                .build())
            .build();
        flow.fromSource(source, WatermarkStrategy.noWatermarks(), "payments")
            .keyBy(payment -> payment.customer, Types.STRING)
            .process(new Customers(), PAYMENT)
            .keyBy(payment -> payment.terminal, Types.STRING)
            .process(new Terminals(System.getenv("PEER_MODEL")), Types.TUPLE(BYTES, BYTES))
            .sinkTo(sink);
        flow.execute("peer");
    }
}
