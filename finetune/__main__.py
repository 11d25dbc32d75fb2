"""`python -m agentlm.finetune`: the same program, for launchers that start modules."""

import sys

from agentlm.cli import run

sys.exit(run("finetune", sys.argv[1:]))
