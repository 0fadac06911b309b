from .supervisor import NEEDS_A_PERSON as NEEDS_A_PERSON
from .supervisor import ProcessSpec as ProcessSpec
from .supervisor import ProcessState as ProcessState
from .supervisor import Supervisor as Supervisor
