from .models import ActiveModel as ActiveModel
from .models import ModelSource as ModelSource
from .processor import StreamProcessor as StreamProcessor
