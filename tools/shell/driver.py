"""The programs that run commands: a keeper that commands can't reach, and a bash for each command.

The keeper starts a bash, which waits for one command, evaluates it and ends; then the keeper tells
the command's number and how that bash ended, on a socket that nobody else holds. So an exit code is
the kernel's word on the process that ran the command: nothing that a command prints, writes or
calls can pass for one, nor come before its end, nor be taken for that of another command.

Both run a copy of bash that nobody may read: the kernel then closes their memory and descriptors to
all others of their user (`/proc/PID/mem`, `fd`). The keeper is the first process of its namespace,
so that no signal from inside ends or stops it.

What a shell keeps (variables, functions, aliases, options, directory) is saved when a command has
been evaluated to its end, in a file that has no name, and is there for the next. It is taken off
the file before it is used, so that nothing in it can fail twice. A bash that ended without saving
has ended the shell.
"""

from __future__ import annotations

from pathlib import Path

_START = """IFS= read -r -d '' KEEPER; IFS= read -r -d '' AGENTLM_EVALUATOR; eval "$KEEPER" """
"""What `ps` shows of the keeper; the rest comes as its first input."""

_KEEPER = """
export AGENTLM_EVALUATOR
exec 3<&0 4>&2 </dev/null 2>/dev/null
exec 5<>"$1" && rm "$1" || exit
NUMBER=0
printf '\\0' >&4
while :; do
  NUMBER=$((NUMBER + 1))
  "$BASH" --norc --noprofile -c 'eval "$AGENTLM_EVALUATOR"' bash "$NUMBER" 2>&1 4>&5 5>&-
  CODE=$?
  [ -s /dev/fd/5 ] || exit "$CODE"
  printf '%s %s\\n' "$NUMBER" "$CODE" >&4
done
"""

# The state, and the command after it, may define functions of any name. Nothing stands in for an
# assignment, nor for `exit`, `set` and `unset` while POSIXLY_CORRECT is set; so a function called
# `builtin` can be taken away, and what is called by it from then on is what it says.
_EVALUATOR = """{
  IFS= read -r -d '' AGENTLM_STATE </dev/fd/4
  : >/dev/fd/4
  until [[ ${AGENTLM_NUMBER-} == "$1" ]]; do
    IFS= read -r -d '' -u 3 AGENTLM_NUMBER || exit
    IFS= read -r -d '' -u 3 AGENTLM_COMMAND || exit
  done
  exec 3<&-
  set --
  unset AGENTLM_EVALUATOR
  eval "unset AGENTLM_STATE AGENTLM_NUMBER BASH_EXECUTION_STRING
    $AGENTLM_STATE" 2>/dev/null 4>&-
  builtin eval "$AGENTLM_COMMAND" 4>&-
  {
    AGENTLM_CODE=$? AGENTLM_OPTIONS=${BASHOPTS//:/ } POSIXLY_CORRECT=
    set -- "$AGENTLM_CODE" "$AGENTLM_OPTIONS"
    unset -f builtin
    unset AGENTLM_CODE AGENTLM_OPTIONS AGENTLM_COMMAND POSIXLY_CORRECT || exit
    {
      builtin printf 'shopt -u ${BASHOPTS//:/ }\\nshopt -s %s\\ncd -- %q\\n' "$2" "$PWD" &&
        builtin declare -p && builtin alias -p && builtin set +o && builtin umask -p &&
        builtin declare -f && builtin declare -Fx
    } >|/dev/fd/4 || : >|/dev/fd/4
    builtin exit "$1"
  } 2>/dev/null
}"""


INTRODUCTION = f"{_KEEPER}\0{_EVALUATOR}\0".encode()
"""The first input of a `driver`."""


def driver(bash: str, state: Path) -> list[str]:
    """The keeper's command line.

    After `INTRODUCTION` it reads numbers and commands, each of them ended by NUL, and tells on its
    error output: NUL when it is ready, then a line `NUMBER CODE` for each command. `state` is where
    the file of the shell's state is made before it loses its name.
    """
    return [bash, "--norc", "--noprofile", "-c", _START, "bash", str(state)]
