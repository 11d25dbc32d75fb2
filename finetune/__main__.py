"""`python -m agentlm.finetune`: the same program, for launchers that start modules."""

import sys

from agentlm.cli import run_command

# DeepSpeed's launcher also passes each process's rank as an argument; the environment has it.
sys.exit(
    run_command("finetune", [word for word in sys.argv[1:] if not word.startswith("--local_rank=")])
)
