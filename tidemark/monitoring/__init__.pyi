from .options import Options as Options
from .processor import MonitorProcessor as MonitorProcessor
