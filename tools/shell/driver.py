"""The programs that run commands: a keeper that commands can't reach, and a bash for each command.

The keeper starts a bash, which waits for one command, evaluates it and ends; then the keeper tells
the command's number and how that bash ended, on a socket that nobody else holds. So an exit code is
the kernel's word on the process that ran the command: nothing that a command prints, writes or
calls can pass for one, nor come before its end, nor be taken for that of another command.

Both run a copy of bash that nobody may read: the kernel then closes their memory and descriptors to
all others of their user (`/proc/PID/mem`, `fd`). The keeper is the first process of its namespace,
so that no signal from inside ends or stops it.

What a shell keeps (variables, functions, aliases, options, directory, the last exit code) is saved
when a command has been evaluated to its end, in a file that has no name, and is there for the next.
It is taken off the file before it is used, so that nothing in it can fail twice. A bash that ended
without saving has ended the shell. Traps are a command's own; that of EXIT is run if it exits.
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

_ALL_TRAPS = " ".join(map(str, range(65))) + " DEBUG ERR RETURN"

# What is evaluated ahead of the command are values only. Then nothing but `builtin` is called whose
# name a function may have: nothing stands in for an assignment, nor for `exit`, `set` and `unset`
# while POSIXLY_CORRECT is set; so a function called `builtin` can be taken away, and what is called
# by it from then on is what it says. Traps and traces are off before anything is saved: what they
# print would be evaluated. Aliases count from the last of the saved lines on.
_EVALUATOR = """{
  {
    IFS= read -r -d '' AGENTLM_VALUES
    IFS= read -r -d '' AGENTLM_RULES
  } </dev/fd/4
  : >/dev/fd/4
  eval "unset AGENTLM_VALUES AGENTLM_EVALUATOR BASH_EXECUTION_STRING
    $AGENTLM_VALUES" 2>/dev/null 3<&- 4>&-
  until [[ ${AGENTLM_COMMAND-} == "$1" ]]; do
    mapfile -t -d '' -n 2 -u 3 AGENTLM_COMMAND
    [[ ${AGENTLM_COMMAND+read} ]] || exit
  done
  exec 3<&-
  set --
  eval "unset AGENTLM_RULES
    $AGENTLM_RULES" 2>/dev/null 4>&-
  builtin eval "${AGENTLM_COMMAND[1]}" 4>&-
  {
    AGENTLM_CODE=$? AGENTLM_OPTIONS=${BASHOPTS//:/ } POSIXLY_CORRECT=
    set -- "$AGENTLM_CODE" "$AGENTLM_OPTIONS" "$-" "${AGENTLM_CODE#0}"
    unset -f builtin || exit "$1"
    builtin trap - ALL_TRAPS
    builtin set +x
    unset -n AGENTLM_CODE AGENTLM_OPTIONS AGENTLM_COMMAND AGENTLM_VALUES AGENTLM_RULES
    unset -v AGENTLM_CODE AGENTLM_OPTIONS AGENTLM_COMMAND AGENTLM_VALUES AGENTLM_RULES &&
      unset -v POSIXLY_CORRECT || exit "$1"
    {
      builtin printf 'cd -- %q\\n' "$PWD" && builtin declare -p && builtin umask -p &&
        builtin printf '\\0shopt -s extglob\\n' && builtin set +o &&
        case $3 in *x*) builtin echo 'set -x' ;; esac &&
        builtin declare -f && builtin declare -Fx && builtin alias -p &&
        builtin echo 'builtin shopt -u ${BASHOPTS//:/ }' &&
        builtin echo "builtin shopt -s $2${4:+; (builtin exit $4) && :}"
    } >|/dev/fd/4 || : >|/dev/fd/4
    builtin exit "$1"
  } 2>/dev/null
}""".replace("ALL_TRAPS", _ALL_TRAPS)


INTRODUCTION = f"{_KEEPER}\0{_EVALUATOR}\0".encode()
"""The first input of a `driver`."""


def driver(bash: str, state: Path) -> list[str]:
    """The keeper's command line.

    After `INTRODUCTION` it reads numbers and commands, each of them ended by NUL, and tells on its
    error output: NUL when it is ready, then a line `NUMBER CODE` for each command. `state` is where
    the file of the shell's state is made before it loses its name.
    """
    return [bash, "--norc", "--noprofile", "-c", _START, "bash", str(state)]
