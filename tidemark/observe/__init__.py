"""What a running pipeline is doing, read from Kafka alone (`tidemark status`, the demo's live view).

The names are imported on first use: what `status` prints is described here too, and needs no Kafka client.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
