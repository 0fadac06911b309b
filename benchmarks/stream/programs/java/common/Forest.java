package peers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A LightGBM model of two classes with splits of numbers, read from its text: each tree as arrays. */
public final class Forest {
    private static final int DEFAULT_LEFT = 2;
    private static final int NAN_IS_MISSING = 2;
    private static final int ZERO_IS_MISSING = 1;

    private record Tree(int[] feature, double[] threshold, int[] decision, int[] left, int[] right, double[] leaf) {}

    private final Tree[] trees;

    public Forest(String file) {
        List<Tree> found = new ArrayList<>();
        int[] feature = null;
        int[] decision = null;
        int[] left = null;
        int[] right = null;
        double[] threshold = null;
        double[] leaf = null;
        try {
            for (String line : Files.readAllLines(Path.of(file))) {
                int end = Math.max(line.indexOf('='), 0);
                String[] values = line.substring(end == 0 ? 0 : end + 1).trim().split(" ");
                switch (line.substring(0, end)) {
                    case "split_feature" -> feature = integers(values);
                    case "threshold" -> threshold = numbers(values);
                    case "decision_type" -> decision = integers(values);
                    case "left_child" -> left = integers(values);
                    case "right_child" -> right = integers(values);
                    case "leaf_value" -> leaf = numbers(values);
                    case "shrinkage" -> found.add(new Tree(feature, threshold, decision, left, right, leaf));
                    default -> {}
                }
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        trees = found.toArray(Tree[]::new);
    }

    /** Probability of the second class. */
    public double probability(double[] features) {
        double sum = 0;
        for (Tree tree : trees) {
            int node = 0;
            while (node >= 0) {
                boolean left = goesLeft(features[tree.feature[node]], tree.threshold[node], tree.decision[node]);
                node = left ? tree.left[node] : tree.right[node];
            }
            sum += tree.leaf[~node];
        }
        return 1 / (1 + Math.exp(-sum));
    }

    private static boolean goesLeft(double value, double threshold, int decision) {
        int missing = (decision >> 2) & 3;
        boolean isNan = Double.isNaN(value);
        double known = isNan && missing != NAN_IS_MISSING ? 0 : value;
        boolean isMissing = missing == NAN_IS_MISSING ? isNan : missing == ZERO_IS_MISSING && Math.abs(known) <= 1e-35;
        return isMissing ? (decision & DEFAULT_LEFT) != 0 : known <= threshold;
    }

    private static int[] integers(String[] values) {
        int[] out = new int[values.length];
        for (int i = 0; i < out.length; i++) out[i] = Integer.parseInt(values[i]);
        return out;
    }

    private static double[] numbers(String[] values) {
        double[] out = new double[values.length];
        for (int i = 0; i < out.length; i++) {
            out[i] = Double.parseDouble(values[i].replace("inf", "Infinity"));
        }
        return out;
    }
}
