"""From labels to a champion: the training set, LightGBM, the gate, and the processor that ties them together."""
