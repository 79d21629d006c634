from llmcore_testing.simulator import Charge as Charge
from llmcore_testing.simulator import Fault as Fault
from llmcore_testing.simulator import RecordedRequest as RecordedRequest
from llmcore_testing.simulator import Scripted as Scripted
from llmcore_testing.simulator import Simulator as Simulator
