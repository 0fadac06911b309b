from .processor import SelectProcessor as SelectProcessor
